//! Half-closed connections: shutdown on either side, and reads of no bytes, which are not the end of the stream.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use crate::common::*;
use netpoll_rt::Handle;

// Case D01.
#[test]
fn after_shutdown_of_reading_a_read_does_not_park() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"seen").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"seen");
        stream.shutdown(Shutdown::Read).unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"");
        parked(0).await;
        stream.write_all(b"the other half").await.unwrap();
        peer.read_exact(&mut [0; 14]).unwrap();
    });
}

// Case D01.
#[test]
fn shutdown_of_reading_wakes_the_parked_reader() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let read = reader(&stream);
        parked(1).await;
        stream.shutdown(Shutdown::Read).unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"");
    });
}

// Case D02.
#[test]
fn shutdown_of_writing_leaves_the_other_half() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.write_all(b"last words").await.unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"last words");
        let read = reader(&stream);
        parked(1).await;
        peer.write_all(b"answer").unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"answer");
        let error = stream.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        assert!(!netpoll_rt::is_closed(&error));
    });
}

// Case D02.
#[test]
fn shutdown_of_writing_wakes_a_parked_writer() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let write = writer(&stream);
        parked(1).await;
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(write.await.unwrap().1.kind(), ErrorKind::BrokenPipe);
    });
}

// Case D04.
#[test]
fn the_peers_shutdown_of_writing_wakes_a_reader() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let read = reader(&stream);
        parked(1).await;
        assert!(!stream.peer_closed());
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"");
        assert!(stream.peer_closed());
        stream.write_all(b"still open").await.unwrap();
        let mut got = [0; 10];
        (&peer).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"still open");
    });
}

// Case D06.
#[test]
fn a_read_of_no_bytes_is_at_once_and_takes_nothing() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        assert_eq!(stream.read(&mut []).await.unwrap(), 0, "on an idle connection");
        assert_eq!(stream.peek(&mut []).await.unwrap(), 0);
        peer.write_all(b"ab").unwrap();
        let mut one = [0];
        assert_eq!(stream.read(&mut one).await.unwrap(), 1);
        assert_eq!(stream.read(&mut []).await.unwrap(), 0, "with bytes there");
        assert_eq!(read_once(&stream).await.unwrap(), b"b");
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        stream.write_all(&[]).await.unwrap();
    });
}

// Case D06.
#[test]
fn a_read_of_no_bytes_after_a_short_read() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let handle = Handle::try_current().unwrap();
        for _ in 0..20 {
            peer.write_all(b"short").unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"short");
            // Nothing is there now, and that is known without asking the kernel.
            assert_eq!(stream.read(&mut []).await.unwrap(), 0);
            let events = handle.metrics().events;
            peer.write_all(b"next").unwrap();
            reported(events).await;
            assert_eq!(stream.read(&mut []).await.unwrap(), 0);
            assert_eq!(read_once(&stream).await.unwrap(), b"next", "its edge was not dropped");
        }
    });
}

// Case D06.
#[test]
fn a_read_of_no_bytes_at_the_end_of_the_stream() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        drop(peer);
        assert_eq!(read_once(&stream).await.unwrap(), b"");
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        assert_eq!(read_once(&stream).await.unwrap(), b"");
    });
}
