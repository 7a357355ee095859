//! Futures polled by hand: between the wake and the next poll nothing happens that a scene has not requested.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use netpoll_rt::net::pipe::pipe;
use netpoll_rt::{Handle, is_closed, spawn, yield_now};

use super::scene::{Got, Kind, Later};
use crate::common::{Probe, until};

/// An operation that is polled by hand.
pub struct Running {
    probe: Arc<Probe>,
    seen: usize,
    future: Later<'static, io::Result<Got>>,
}

impl Running {
    pub fn new(future: Later<'static, io::Result<Got>>) -> Self {
        Self { probe: Probe::new(), seen: 0, future }
    }

    pub fn poll(&mut self) -> Poll<io::Result<Got>> {
        self.seen = self.probe.wakes.get();
        self.probe.poll(self.future.as_mut())
    }

    /// Returns the result of an operation that need not wait.
    #[track_caller]
    pub fn now(mut self) -> io::Result<Got> {
        match self.poll() {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("it waits"),
        }
    }

    /// Asserts that the operation is pending and parked.
    pub async fn waits<K: Kind>(self) -> Self {
        let handle = Handle::try_current().unwrap();
        // The number falls later than the counted tasks go on. Space that was freed meanwhile has woken this one.
        let waits = || if K::PARKS == 0 { timers() > 0 } else { handle.waiters() == K::PARKS };
        until("it is parked", || waits() || self.probe.wakes.get() > 0).await;
        self
    }

    pub async fn woken(&mut self) {
        until("it is woken", || self.probe.wakes.get() > self.seen).await;
    }

    /// Polls it whenever it is woken.
    pub async fn end(mut self) -> io::Result<Got> {
        loop {
            if let Poll::Ready(result) = self.poll() {
                return result;
            }
            self.woken().await;
        }
    }
}

pub fn timers() -> usize {
    Handle::try_current().unwrap().metrics().timers
}

/// Returns once all that the kernel has had to tell has been told: the kernel keeps the order.
pub async fn settled() {
    let (reader, writer) = pipe().unwrap();
    let read = spawn(async move { reader.read(&mut [0; 1]).await });
    yield_now().await;
    writer.write(b"x").await.unwrap();
    assert_eq!(read.await.unwrap().unwrap(), 1);
}

/// Returns the word of the table for a result.
pub fn word(result: io::Result<Got>) -> String {
    match result {
        Ok(Got::Bytes(0)) => "Ok(0)".to_owned(),
        Ok(Got::Bytes(_)) => "Ok(n)".to_owned(),
        Ok(Got::Ready) => "Ok(())".to_owned(),
        Ok(Got::Connection) => "a connection".to_owned(),
        Err(error) if is_closed(&error) => "closed".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}
