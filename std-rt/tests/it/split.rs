//! The owned halves of a connection: the operations of the stream, the end that a drop means, and the way back.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::{fmt::Debug, future::poll_fn};

use crate::common::*;
use futures_io::{AsyncRead, AsyncWrite};
use netpoll_rt::net::{OwnedReadHalf, OwnedWriteHalf, Split, TcpStream, UnixStream};
use netpoll_rt::{Handle, io, spawn};

/// Returns two ends of a TCP connection that nothing shares.
async fn tcp() -> (TcpStream, TcpStream) {
    let (one, other) = pair().await;
    (Arc::into_inner(one).unwrap(), Arc::into_inner(other).unwrap())
}

type Halves<S> = (OwnedReadHalf<S>, OwnedWriteHalf<S>);

/// Sends and receives by every method of the halves.
async fn every_operation<S: Split + Debug + Send + Sync + 'static>(one: Halves<S>, other: Halves<S>) {
    let ((reader, writer), (other_reader, other_writer)) = (one, other);
    writer.writable().await.unwrap();
    writer.write_all(b"write_all,").await.unwrap();
    assert_eq!(writer.write(b"write,").await.unwrap(), 6);
    assert_eq!(writer.writev(&[IoSlice::new(b"wri"), IoSlice::new(b"tev,")]).await.unwrap(), 7);
    assert_eq!(writer.try_write(b"try_write").unwrap(), 9);
    let mut got = [0; 32];
    other_reader.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"write_all,write,writev,try_write");
    let none = other_reader.try_read(&mut got).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);

    other_writer.write_all(b"answer").await.unwrap();
    reader.readable().await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(reader.peek(&mut buffer).await.unwrap(), 6);
    assert_eq!(reader.try_read(&mut buffer[..1]).unwrap(), 1);
    assert_eq!(reader.read(&mut buffer[..1]).await.unwrap(), 1);
    assert_eq!(reader.readv(&mut [IoSliceMut::new(&mut buffer[..1])]).await.unwrap(), 1);
    let mut rest = Vec::with_capacity(8);
    assert_eq!(reader.read_buf(&mut rest).await.unwrap(), 3);
    assert_eq!(rest, b"wer");
}

#[test]
fn the_operations_of_the_stream() {
    each(async || {
        let (one, other) = tcp().await;
        every_operation(one.into_split(), other.into_split()).await;
        let (one, other) = UnixStream::pair().unwrap();
        every_operation(one.into_split(), other.into_split()).await;
    });
}

#[test]
fn addresses_are_those_of_the_stream() {
    each(async || {
        let (one, other) = tcp().await;
        let (local, peer) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let (reader, writer) = one.into_split();
        assert_eq!((reader.local_addr().unwrap(), reader.peer_addr().unwrap()), (local, peer));
        assert_eq!((writer.local_addr().unwrap(), writer.peer_addr().unwrap()), (local, peer));
        writer.as_ref().close().await.unwrap();
        let error = reader.read(&mut [0]).await.unwrap_err();
        assert!(error.to_string().contains(&peer.to_string()), "{error}");
        assert_closed(Err::<(), _>(error));
        assert_closed(writer.write(b"late").await);
        assert_closed(writer.shutdown().await);
        assert_closed(reader.local_addr());
    });
}

#[test]
fn dropping_the_writing_half_is_the_end_for_the_peer() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (reader, writer) = Arc::into_inner(stream).unwrap().into_split();
        writer.write_all(b"last words").await.unwrap();
        drop(writer);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"last words");
        peer.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        drop(peer);
        assert_eq!(reader.read(&mut answer).await.unwrap(), 0);
        until("the end is reported", || reader.peer_closed()).await;
    });
}

#[test]
fn dropping_the_writing_half_wakes_no_reader() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (reader, writer) = Arc::into_inner(stream).unwrap().into_split();
        let read = spawn(async move {
            let mut buffer = [0; 8];
            let n = reader.read(&mut buffer).await.unwrap();
            buffer[..n].to_vec()
        });
        parked(1).await;
        drop(writer);
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0);
        peer.write_all(b"later").unwrap();
        assert_eq!(read.await.unwrap(), b"later");
    });
}

#[test]
fn a_forgotten_half_ends_nothing() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (reader, writer) = Arc::into_inner(stream).unwrap().into_split();
        writer.forget();
        peer.set_nonblocking(true).unwrap();
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.set_nonblocking(false).unwrap();
        drop(reader);
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0);
    });
}

#[test]
fn shutdown_ends_the_stream_and_may_be_repeated() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (_reader, writer) = Arc::into_inner(stream).unwrap().into_split();
        writer.shutdown().await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0);
        assert_eq!(writer.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn reunited_they_are_the_stream_again() {
    each(async || {
        let (one, other) = tcp().await;
        let (reader, writer) = one.into_split();
        reader.set_read_deadline(past()).unwrap();
        let one = reader.reunite(writer).unwrap();
        assert_timed_out(one.read(&mut [0]).await);
        one.write_all(b"not ended").await.unwrap();
        let (reader, writer) = other.into_split();
        let other = writer.reunite(reader).unwrap();
        assert_eq!(read_once(&other).await.unwrap(), b"not ended");
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_once(&other).await.unwrap(), b"");
    });
}

#[test]
fn halves_of_two_streams_are_given_back() {
    each(async || {
        let (one, other) = tcp().await;
        let ((reader, writer), (other_reader, other_writer)) = (one.into_split(), other.into_split());
        let error = reader.reunite(other_writer).unwrap_err();
        assert!(error.to_string().contains("not of the same stream"), "{error}");
        let (reader, other_writer) = (error.0, error.1);
        other_writer.write_all(b"works").await.unwrap();
        let mut buffer = [0; 5];
        reader.read_exact(&mut buffer).await.unwrap();
        reader.reunite(writer).unwrap();
        other_reader.reunite(other_writer).unwrap();
    });
}

#[test]
fn each_half_has_its_deadline() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let (reader, writer) = Arc::into_inner(stream).unwrap().into_split();
        reader.set_read_deadline_after(std::time::Duration::from_millis(5)).unwrap();
        assert_timed_out(reader.read(&mut [0]).await);
        writer.write_all(b"in time").await.unwrap();
        writer.set_write_deadline(past()).unwrap();
        assert_timed_out(writer.write(b"late").await);
    });
}

#[test]
fn a_half_is_an_end_of_a_copy() {
    each(async || {
        let (one, other) = tcp().await;
        let (reader, writer) = one.into_split();
        let echo = spawn(async move { io::copy(&reader, &writer).await });
        let (reader, writer) = other.into_split();
        writer.write_all(b"there and back").await.unwrap();
        drop(writer);
        let mut got = Vec::new();
        while reader.read_buf(&mut got).await.unwrap() > 0 {}
        assert_eq!(got, b"there and back");
        assert_eq!(echo.await.unwrap().unwrap(), 14);
    });
}

#[test]
fn the_traits_of_futures_io() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let (mut reader, mut writer) = Arc::into_inner(stream).unwrap().into_split();
        assert_eq!(poll_fn(|cx| Pin::new(&mut writer).poll_write(cx, b"polled")).await.unwrap(), 6);
        poll_fn(|cx| Pin::new(&mut writer).poll_close(cx)).await.unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        peer.write_all(&got).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut buffer)).await.unwrap(), 6);
        let mut shared = &reader;
        drop(peer);
        assert_eq!(poll_fn(|cx| Pin::new(&mut shared).poll_read(cx, &mut buffer)).await.unwrap(), 0);
    });
}

#[test]
fn a_reset_is_no_error_of_the_close_nor_of_the_drop() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let (reader, mut writer) = Arc::into_inner(stream).unwrap().into_split();
        writer.write_all(b"never read").await.unwrap();
        // Closed with unread input: the kernel resets the connection.
        drop(peer);
        let error = reader.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        poll_fn(|cx| Pin::new(&mut writer).poll_close(cx)).await.unwrap();
        writer.shutdown().await.unwrap();
        drop(writer);
        drop(reader);
        let handle = Handle::try_current().unwrap();
        until("the descriptor is closed", || handle.metrics().descriptors == 0).await;
    });
}
