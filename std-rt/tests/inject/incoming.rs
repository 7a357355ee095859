//! Accepting when the poller has no room for a connection that was accepted already.

use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use crate::common::*;
use crate::support::*;
use futures_core::Stream;
use netpoll_rt::internal::sys::Call;
use netpoll_rt::internal::sys::inject::{Errno, Rule, Table};
use netpoll_rt::time::timeout;

/// The connection is neither lost nor told as an error: it comes once there is room.
#[test]
fn a_connection_that_cannot_be_watched_yet_is_kept() {
    each(async || {
        for errno in [Errno::NOMEM, Errno::NOBUFS, Errno::NFILE] {
            for as_stream in [false, true] {
                let listener = listener().await;
                let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                client.write_all(b"hello").unwrap();
                let installed = Table::new(0).rule(Rule::error(Call::PollerOpen, errno).nth(1)).install();
                let mut incoming = listener.incoming();
                let next = async {
                    match as_stream {
                        false => incoming.next().await,
                        true => poll_fn(|cx| Pin::new(&mut incoming).poll_next(cx)).await.expect("no end"),
                    }
                };
                let (stream, peer) = timeout(Duration::from_secs(10), next).await.expect("it comes").unwrap();
                assert_eq!(installed.end()[0], 1, "the fault was met");
                assert_eq!((peer, incoming.exhausted_count()), (client.local_addr().unwrap(), 1));
                assert_eq!(read_once(&stream).await.unwrap(), b"hello");
            }
        }
    });
}

/// A permanent error is returned, and the loop may go on.
#[test]
fn a_connection_that_cannot_be_watched_at_all_is_an_error() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let _first = std::net::TcpStream::connect(address).unwrap();
        let installed = Table::new(0).rule(Rule::error(Call::PollerOpen, Errno::PERM).nth(1)).install();
        let mut incoming = listener.incoming();
        assert_errno(incoming.next().await, Errno::PERM);
        assert_eq!(installed.end()[0], 1, "the fault was met");
        let second = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(incoming.next().await.unwrap().1, second.local_addr().unwrap());
    });
}
