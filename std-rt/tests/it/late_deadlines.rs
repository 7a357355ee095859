//! Deadlines of a late process: a task computes, or the whole process was stopped, so that no thread polls.

use std::any::Any;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::net::pipe::pipe;
use netpoll_rt::net::{AsyncFd, Interest, TcpStream, UdpSocket, UnixStream};
use netpoll_rt::spawn;

const MS: Duration = Duration::from_millis(1);

/// Later than any machine takes to let the operations begin.
const SOON: Duration = Duration::from_millis(300);

/// Blocks the worker, so that on a runtime of one worker no thread polls meanwhile.
fn stop_for(time: Duration) {
    thread::sleep(time); // time is tested
}

#[test]
fn a_deadline_that_is_set_in_the_past_counts_at_once_however_late_the_poller_is() {
    each(async || {
        let (stream, peer) = pair().await;
        peer.write_all(b"data").await.unwrap();
        stream.readable().await.unwrap();
        let listener = listener().await;
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let soon = Some(Instant::now() + 120 * MS);
        stream.set_deadline(soon).unwrap();
        listener.set_deadline(soon).unwrap();
        stop_for(400 * MS);
        // Long after the last poll, and later than the deadline before.
        let past = Some(Instant::now() - 50 * MS);
        stream.set_deadline(past).unwrap();
        listener.set_deadline(past).unwrap();
        assert_timed_out(stream.read(&mut [0; 8]).await);
        assert_timed_out(stream.write(b"x").await);
        assert_timed_out(stream.readable().await);
        assert_timed_out(listener.accept().await.map(drop));
    });
}

type Waits = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Lets an operation continue; the caller keeps its result.
type Wake = Box<dyn FnOnce() -> Box<dyn Any>>;

fn wake<T: Any>(by: impl FnOnce() -> T + 'static) -> Wake {
    Box::new(move || Box::new(by()))
}

/// Operations that will wait, with a deadline that passes soon, and the event that wakes each.
async fn operations() -> Vec<(&'static str, Waits, Wake)> {
    let mut all: Vec<(&str, Waits, Wake)> = Vec::new();
    let soon = Some(Instant::now() + SOON);
    for name in ["read", "readable", "with_io"] {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_deadline(soon).unwrap();
        let wake = wake(move || {
            peer.write_all(b"x").unwrap();
            peer
        });
        all.push((name, Box::pin(async move { read_as(name, &stream).await }), wake));
    }
    let listener = listener().await;
    let to = listener.local_addr().unwrap();
    listener.set_deadline(soon).unwrap();
    let connects = wake(move || std::net::TcpStream::connect(to).unwrap());
    all.push(("accept", Box::pin(async move { listener.accept().await.map(drop) }), connects));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = socket.local_addr().unwrap();
    socket.set_read_deadline(soon).unwrap();
    let sends = wake(move || std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", to).unwrap());
    let receive = async move { socket.recv(&mut [0]).await.map(|n| assert_eq!(n, 1)) };
    all.push(("recv", Box::pin(receive), sends));
    let (reader, writer) = pipe().unwrap();
    let half = 64 * 1024;
    writer.set_write_deadline(soon).unwrap();
    let mut reader = std::fs::File::from(reader.into_blocking().unwrap());
    let drains = wake(move || {
        reader.read_exact(&mut vec![0; half]).unwrap();
        reader
    });
    all.push(("write_all", Box::pin(async move { writer.write_all(&vec![0; 2 * half]).await }), drains));
    all
}

async fn read_as(name: &str, stream: &TcpStream) -> io::Result<()> {
    match name {
        "read" => stream.read(&mut [0]).await.map(drop),
        "readable" => stream.readable().await,
        _ => {
            let read =
                |fd: BorrowedFd<'_>| std::fs::File::from(fd.try_clone_to_owned()?).read(&mut [0]).map(drop);
            stream.with_io(Interest::Read, read).await
        }
    }
}

#[test]
fn bytes_in_time_are_not_lost_to_a_deadline_that_passed_between_polls() {
    each(async || {
        let mut tasks = Vec::new();
        let mut wakes = Vec::new();
        for (name, waits, wake) in operations().await {
            tasks.push((name, spawn(waits)));
            wakes.push(wake);
        }
        parked(tasks.len()).await;
        let _kept: Vec<_> = wakes.into_iter().map(|wake| wake()).collect();
        stop_for(SOON + 30 * MS);
        for (name, task) in tasks {
            task.await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    });
}

#[test]
fn what_begins_after_the_deadline_fails_all_the_same() {
    each(async || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_deadline(Some(Instant::now() + 5 * MS)).unwrap();
        assert_timed_out(ours.read(&mut [0]).await);
        theirs.write_all(b"x").await.unwrap();
        assert_timed_out(ours.read(&mut [0]).await);
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours = AsyncFd::new(ours).unwrap();
        ours.set_read_deadline(Some(Instant::now() + 5 * MS)).unwrap();
        assert_timed_out(ours.readable().await);
    });
}
