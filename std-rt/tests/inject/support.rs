//! The support of the tests that inject faults.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use futures_lite::future;
use netpoll_rt::internal::sys::Call;
use netpoll_rt::internal::sys::inject::{Entry, Errno, Rule, Table};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Handle, OpError};

use crate::common::*;

/// Returns the error number of an error, also of a wrapped one.
pub fn errno(error: &io::Error) -> Option<i32> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    inner.map_or(error.raw_os_error(), OpError::raw_os_error)
}

/// Asserts that the result is this error.
#[track_caller]
pub fn assert_errno<T: std::fmt::Debug>(result: io::Result<T>, expected: Errno) {
    let error = result.unwrap_err();
    assert_eq!(errno(&error), Some(expected.raw_os_error()), "{error}");
}

/// Returns the number of a stream, for a rule.
pub fn number(stream: &impl AsFd) -> RawFd {
    stream.as_fd().as_raw_fd()
}

/// Returns the number of calls of a kind on a descriptor in the log.
pub fn count(log: &[Entry], call: Call, fd: RawFd) -> usize {
    log.iter().filter(|entry| entry.call == call && entry.fd == fd).count()
}

/// The resources that must be the same before and after a fault.
#[derive(PartialEq, Eq, Debug)]
pub struct Held {
    table: BTreeMap<String, String>,
    slots: usize,
    timers: usize,
    waiters: usize,
    tasks: usize,
}

impl Held {
    /// Returns what this thread's runtime and the process hold now.
    pub fn now() -> Held {
        let metrics = Handle::try_current().unwrap().metrics();
        Held {
            table: open_descriptors(),
            slots: metrics.descriptors,
            timers: metrics.timers,
            waiters: metrics.waiters,
            tasks: metrics.tasks,
        }
    }

    /// Returns once all of it is held again and nothing else. Tasks that were told to end may still be ending.
    pub async fn again(&self, after: &str) {
        until(&format!("all is as before, after {after}"), || Held::now() == *self).await;
    }
}

/// Listens, connects, accepts, sends a message each way, and closes.
pub async fn life() -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    // The accept starts first, so that it really waits.
    let connecting = TcpStream::connect(listener.local_addr()?);
    let ((server, _), client) = future::try_zip(listener.accept(), connecting).await?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let mut buffer = [0; 5];
        future::try_zip(to.read_exact(&mut buffer), from.write_all(b"hello")).await?;
        assert_eq!(&buffer, b"hello");
    }
    server.close().await?;
    client.close().await?;
    listener.close().await
}

/// Sends one byte there and one back, this many times.
pub async fn ping_pong(a: &Arc<TcpStream>, b: &Arc<TcpStream>, rounds: usize) {
    let echo = {
        let b = b.clone();
        netpoll_rt::spawn(async move {
            for round in 0..rounds {
                assert_eq!(read_once(&b).await.unwrap(), [round as u8]);
                b.write_all(&[!(round as u8)]).await.unwrap();
            }
        })
    };
    for round in 0..rounds {
        a.write_all(&[round as u8]).await.unwrap();
        assert_eq!(read_once(a).await.unwrap(), [!(round as u8)]);
    }
    echo.await.unwrap();
}

/// More calls of one kind than any way makes.
pub const MANY: usize = 64;

/// The result that the user gets after a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The error itself.
    Error,
    /// The error has no effect: the library knows better.
    Nothing,
    /// One or the other, depending on which of several calls of the kind failed.
    Either,
}

/// A call, its errors in turn, and the effect that they must have.
pub type Row = (Call, &'static [Errno], Told);

/// No room.
pub const FULL: &[Errno] = &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// Fails a call at its first, second, third... place on `way`, until the way no longer reaches the fault; after each all
/// is as before, and the way is open again. Gives the number of places.
pub async fn sweep(
    rule: impl Fn(usize) -> Rule,
    what: &str,
    told: Told,
    way: impl AsyncFn() -> io::Result<()>,
) -> usize {
    for n in 1..MANY {
        let after = format!("{what}, number {n}");
        let before = Held::now();
        let installed = Table::new(0).rule(rule(n)).install();
        let result = way().await;
        let hits = installed.end()[0];
        before.again(&after).await;
        if hits == 0 {
            result.unwrap_or_else(|error| panic!("{after} was not reached, and yet: {error}"));
            return n - 1;
        }
        match told {
            Told::Error => assert!(result.is_err(), "{after} went unnoticed"),
            Told::Nothing => result.unwrap_or_else(|error| panic!("{after} was told: {error}")),
            Told::Either => {}
        }
        way().await.unwrap_or_else(|error| panic!("{after} has left something behind: {error}"));
        before.again(&after).await;
    }
    panic!("{what} was still reached after {MANY} calls");
}
