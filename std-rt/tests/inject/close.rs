//! The end of a descriptor: the order of its calls, each made once.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use crate::common::*;
use crate::support::*;
use netpoll_rt::internal::sys::Call;
use netpoll_rt::internal::sys::inject::{Entry, Errno, Rule, Table};
use netpoll_rt::net::TcpStream;
use netpoll_rt::{Handle, spawn};

/// Returns a connection whose numbers have not been lent, and the number of this end, found by its address.
async fn end() -> (TcpStream, TcpStream, i32) {
    let listener = listener().await;
    let installed = Table::new(0).log().install();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let log = installed.end_with_log();
    let opened = log.iter().rfind(|entry| entry.call == Call::Connect).expect("connect(2) was made").fd;
    let (peer, _) = listener.accept().await.unwrap();
    (stream, peer, opened)
}

// Case C19.
#[test]
fn the_poller_forgets_then_the_number_goes_then_the_slot() {
    each(async || {
        let (stream, _peer, fd) = end().await;
        let stream = Arc::new(stream);
        let reader = reader(&stream);
        parked(1).await;
        let handle = Handle::try_current().unwrap();
        let slots = handle.metrics().descriptors;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let watch = {
            let (seen, handle) = (seen.clone(), handle.clone());
            move |entry: &Entry| {
                if entry.fd == fd && matches!(entry.call, Call::PollerClose | Call::Close) {
                    seen.lock().unwrap().push((entry.call, handle.metrics().descriptors));
                }
            }
        };
        let installed = Table::new(0).watch(watch).install();
        stream.close().await.unwrap();
        assert_closed(reader.await.unwrap());
        assert_eq!(handle.metrics().descriptors, slots, "the slot goes with the value");
        drop(stream);
        until("the slot is free", || handle.metrics().descriptors == slots - 1).await;
        drop(installed);
        assert_eq!(*seen.lock().unwrap(), [(Call::PollerClose, slots), (Call::Close, slots)]);
    });
}

// Case C19.
#[test]
fn a_dropped_stream_keeps_the_order() {
    each(async || {
        let (stream, _peer, fd) = end().await;
        let installed = Table::new(0).log().install();
        drop(stream);
        let log = installed.end_with_log();
        let order: Vec<_> = log.iter().filter(|entry| entry.fd == fd).map(|entry| entry.call).collect();
        assert_eq!(order, [Call::PollerClose, Call::Close]);
    });
}

#[test]
fn a_close_that_fails_is_never_made_again() {
    each(async || {
        for errno in [Errno::INTR, Errno::IO, Errno::NOSPC] {
            let (stream, peer, fd) = end().await;
            let rules =
                [Rule::error(Call::Close, errno).on(fd), Rule::error(Call::PollerClose, Errno::NOENT).on(fd)];
            let installed = rules.into_iter().fold(Table::new(0).log(), Table::rule).install();
            let closed = stream.close().await;
            match errno {
                Errno::INTR => closed.unwrap(),
                errno => assert_errno(closed, errno),
            }
            assert_closed(stream.close().await);
            drop(stream);
            assert_eq!(count(&installed.log(), Call::Close, fd), 1, "close(2) of {fd}");
            let made = |entry: &&Entry| (entry.call, entry.fd, entry.error) == (Call::PollerClose, fd, None);
            assert_eq!(installed.log().iter().filter(made).count(), 1);
            // It is gone nevertheless: the other side sees the end.
            assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 0);
            assert!(!open_descriptors().contains_key(&fd.to_string()), "{fd} is still there");
        }
    });
}

#[test]
fn a_close_that_fails_under_readers_is_made_once() {
    each(async || {
        let (stream, _peer, fd) = end().await;
        let stream = Arc::new(stream);
        let readers: Vec<_> = (0..8).map(|_| reader(&stream)).collect();
        parked(1).await;
        let installed = Table::new(0).log().rule(Rule::error(Call::Close, Errno::IO).on(fd)).install();
        let closers: Vec<_> = (0..4)
            .map(|_| {
                let stream = stream.clone();
                spawn(async move { stream.close().await })
            })
            .collect();
        let mut closed = 0;
        for closer in closers {
            // The last owner made the call, reader or closer; only one closer does not find it closed.
            let result = closer.await.unwrap();
            closed += usize::from(!result.is_err_and(|error| netpoll_rt::is_closed(&error)));
        }
        assert_eq!(closed, 1);
        for reader in readers {
            assert_closed(reader.await.unwrap());
        }
        assert_eq!(count(&installed.log(), Call::Close, fd), 1);
        drop(installed);
    });
}

#[test]
fn the_number_is_the_one_that_connect_used() {
    each(async || {
        let (stream, _peer, fd) = end().await;
        assert_eq!(std::os::fd::AsFd::as_fd(&stream).as_raw_fd(), fd);
    });
}
