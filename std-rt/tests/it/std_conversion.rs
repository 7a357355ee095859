//! Sockets of std, taken over and given away.

use std::io::{Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use crate::common::*;
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Handle, spawn};

fn std_pair() -> (StdStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let one = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Returns whether the number is open in this process and refers to the same socket.
fn is_open(number: &str, target: &str) -> bool {
    open_descriptors().get(number).is_some_and(|now| now == target)
}

#[test]
fn a_listener_of_std() {
    each(async || {
        let std = StdListener::bind("127.0.0.1:0").unwrap();
        let (address, number) = (std.local_addr().unwrap(), std.as_raw_fd());
        let listener = TcpListener::from_std(std).unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        let connecting = spawn(async move { TcpStream::connect(address).await });
        let (server, _) = listener.accept().await.unwrap();
        let client = connecting.await.unwrap().unwrap();
        client.write_all(b"bytes").await.unwrap();
        assert_eq!(read_once(&server).await.unwrap(), b"bytes");

        let std = listener.into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number, "the very same number");
        assert_eq!(std.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "still non-blocking");
        std.set_nonblocking(false).unwrap();
        let client = StdStream::connect(address).unwrap();
        std.accept().unwrap();
        drop(client);
    });
}

#[test]
fn a_stream_of_std_and_back() {
    each(async || {
        let descriptors = || Handle::try_current().unwrap().metrics().descriptors;
        let (std, mut peer) = std_pair();
        let before = descriptors();
        let stream = Arc::new(TcpStream::from_std(std).unwrap());
        for _ in 0..20 {
            let read = reader(&stream);
            parked(1).await;
            peer.write_all(b"bytes").unwrap();
            assert_eq!(read.await.unwrap().unwrap(), b"bytes");
        }
        stream.write_all(b"back").await.unwrap();
        let stream = Arc::into_inner(stream).unwrap();
        let mut std = stream.into_std().unwrap();
        assert_eq!(descriptors(), before, "the poller has forgotten it");
        let mut buffer = [0; 4];
        peer.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"back");
        let nothing = uninterrupted(|| std.read(&mut buffer)).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        std.set_nonblocking(false).unwrap();
        peer.write_all(b"more").unwrap();
        std.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"more");
        // Around once more, with bytes that lie there already.
        peer.write_all(b"bytes").unwrap();
        let stream = TcpStream::from_std(std).unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"bytes");
    });
}

#[test]
fn a_connection_of_ours_given_away_with_its_deadline_and_a_dropped_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_deadline(in_ms(3_600_000)).unwrap();
        let probe = Probe::new();
        let mut read = Box::pin(read_once(&stream));
        assert!(probe.poll(read.as_mut()).is_pending());
        drop(read);
        let std = Arc::into_inner(stream).unwrap().into_std().unwrap();
        let metrics = Handle::try_current().unwrap().metrics();
        assert_eq!((metrics.timers, metrics.waiters), (0, 0));
        peer.write_all(b"bytes").unwrap();
        let (mut std, mut buffer) = (std, [0; 5]);
        std.set_nonblocking(false).unwrap();
        std.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"bytes");
    });
}

#[test]
fn what_was_closed_cannot_be_given_away() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.close().await.unwrap();
        assert_closed(Arc::into_inner(stream).unwrap().into_std());
        let listener = listener().await;
        listener.close().await.unwrap();
        assert_closed(listener.into_std());
    });
}

#[test]
fn a_borrowed_number_stays_open_through_close() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let fd = stream.as_fd();
        let number = fd.as_raw_fd().to_string();
        let target = open_descriptors()[&number].clone();
        let read = reader(&stream);
        parked(1).await;
        stream.close().await.unwrap();
        assert_closed(read.await.unwrap());
        assert!(is_open(&number, &target), "{number} was lent");
        assert_eq!(stream.as_fd().as_raw_fd(), fd.as_raw_fd());
        drop(stream);
        assert!(!is_open(&number, &target));
        assert_eq!(uninterrupted(|| peer.read(&mut [0; 8])).unwrap(), 0);
    });
}

#[test]
fn a_borrowed_number_is_closed_with_its_value_or_given_away() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.as_fd();
        drop(stream);
        assert_eq!(uninterrupted(|| peer.read(&mut [0; 8])).unwrap(), 0);

        let (stream, mut peer) = pair_with_std().await;
        let number = stream.as_fd().as_raw_fd();
        let mut std = Arc::into_inner(stream).unwrap().into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number);
        std.write_all(b"alive").unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();

        let listener = listener().await;
        // A duplicate keeps the port.
        let twin: OwnedFd = listener.as_fd().try_clone_to_owned().unwrap();
        let address = listener.local_addr().unwrap();
        listener.close().await.unwrap();
        drop(listener);
        StdListener::bind(address).unwrap_err();
        drop(twin);
    });
}

#[test]
fn a_closed_stream_has_no_number_to_lend() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.close().await.unwrap();
        let asked = spawn(async move {
            stream.as_fd();
        });
        assert!(asked.await.unwrap_err().is_panic());
    });
}
