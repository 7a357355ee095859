//! Bytes that were written before a close, and the results of a close on connections that are already gone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::common::*;
use futures_lite::AsyncWriteExt;
use netpoll_rt::internal::sys::sockopt;
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::spawn;

/// More than the receive buffer of a peer that does not read, so that a part is still unsent when the stream is closed.
const ANSWER: usize = 3_000_000;

/// Reads to the end of the stream; returns how many bytes that were, and the error that came in its place.
fn read_all(peer: &mut StdStream) -> (usize, Option<io::Error>) {
    let (mut total, mut buffer) = (0, vec![0; 10_000]);
    loop {
        match uninterrupted(|| peer.read(&mut buffer)) {
            Ok(0) => return (total, None),
            Ok(n) => total += n,
            Err(error) => return (total, Some(error)),
        }
    }
}

/// Returns a connection whose peer has sent a request that is never read, and gets a long answer.
async fn answered() -> (TcpStream, StdStream) {
    let listener = listener().await;
    let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer.write_all(&[1; 30_000]).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_send_buffer_size(2 * ANSWER).unwrap();
    stream.write_all(&vec![7; ANSWER]).await.unwrap();
    (stream, peer)
}

#[test]
fn a_lingering_close_delivers_every_byte() {
    each(async || {
        let (stream, mut peer) = answered().await;
        let reading = netpoll_rt::spawn_blocking(move || {
            let read = read_all(&mut peer);
            // It says more after the end of the answer.
            peer.write_all(&[2; 10_000]).unwrap();
            (read.0, read.1.map(|error| error.kind()))
        });
        assert!(stream.close_lingering(LIMIT, 40_000).await.unwrap(), "the peer has ended its stream");
        assert_eq!(reading.await.unwrap(), (ANSWER, None));
        assert_closed(stream.close_lingering(LIMIT, 40_000).await);
    });
}

#[test]
fn a_close_with_unread_input_resets() {
    // The documentation of the type says so, and a lingering close is the remedy.
    each(async || {
        for dropped in [false, true] {
            let (stream, mut peer) = answered().await;
            if !dropped {
                stream.close().await.unwrap();
            }
            drop(stream);
            let (total, error) = read_all(&mut peer);
            assert!(total < ANSWER, "{total}");
            assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_lingering_close_ends_at_its_limits() {
    each(async || {
        let (stream, silent) = pair_with_std().await;
        let begun = Instant::now();
        let time = Duration::from_millis(30);
        assert!(!stream.close_lingering(time, u64::MAX).await.unwrap());
        assert!(begun.elapsed() >= time);
        assert_closed(stream.read(&mut [0]).await);
        drop(silent);

        let (stream, peer) = pair().await;
        let talking = writer(&peer);
        assert!(!stream.close_lingering(LIMIT, 100_000).await.unwrap());
        let (written, error) = talking.await.unwrap();
        assert!(written > 100_000, "{written}");
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");

        // No byte at all, but the end may come.
        for (says, ends) in [(false, true), (true, false)] {
            let (stream, mut peer) = pair_with_std().await;
            if says {
                peer.write_all(b"x").unwrap();
            }
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.close_lingering(LIMIT, 0).await.unwrap(), ends);
        }
    });
}

#[test]
fn a_lingering_close_goes_past_a_read_deadline() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        stream.set_read_deadline(past()).unwrap();
        assert_timed_out(stream.read(&mut [0]).await);
        let closing = spawn(async move { stream.close_lingering(LIMIT, 0).await });
        parked(1).await;
        drop(peer);
        assert!(closing.await.unwrap().unwrap());
    });
}

#[test]
fn a_lingering_close_of_what_is_reset_or_closed_meanwhile() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let closing = spawn({
            let stream = stream.clone();
            async move { stream.close_lingering(LIMIT, 0).await }
        });
        parked(1).await;
        reset(peer);
        assert!(!closing.await.unwrap().unwrap(), "nobody is there to be waited for");
        assert_closed(stream.read(&mut [0]).await);

        let (stream, _peer) = pair_with_std().await;
        let closing = spawn({
            let stream = stream.clone();
            async move { stream.close_lingering(LIMIT, 0).await }
        });
        parked(1).await;
        stream.close().await.unwrap();
        assert_closed(closing.await.unwrap());
    });
}

#[test]
fn a_dropped_lingering_close_leaves_the_stream_open() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let probe = Probe::new();
        let mut closing = Box::pin(stream.close_lingering(LIMIT, 100));
        assert!(probe.poll(closing.as_mut()).is_pending());
        drop(closing);
        assert_eq!(uninterrupted(|| peer.read(&mut [0])).unwrap(), 0, "the writing half is shut down");
        peer.write_all(b"more").unwrap();
        assert_eq!(read_once(&stream).await.unwrap(), b"more");
        drop(peer);
        assert!(stream.close_lingering(LIMIT, 100).await.unwrap());
    });
}

#[test]
fn a_close_of_a_unix_stream_loses_nothing_whatever_is_unread() {
    each(async || {
        let (stream, peer) = UnixStream::pair().unwrap();
        peer.write_all(b"nobody reads this").await.unwrap();
        stream.set_write_deadline(in_ms(50)).unwrap();
        let mut written = 0;
        // Until there is no room.
        while let Ok(n) = stream.write(&[7; 1000]).await {
            written += n;
        }
        drop(stream);
        let (mut total, mut buffer) = (0, vec![0; 10_000]);
        while total < written {
            total += peer.read(&mut buffer).await.unwrap();
        }
        assert_eq!(total, written);
        // Where there is no such error, the end comes in its place.
        if cfg!(target_os = "linux") {
            assert_eq!(peer.read(&mut buffer).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(peer.read(&mut buffer).await.unwrap(), 0);
    });
}

fn reset(peer: StdStream) {
    sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
}

#[test]
fn poll_close_after_a_reset_is_no_error() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        let waiting = reader(&stream);
        parked(1).await;
        reset(peer);
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(stream.shutdown(Shutdown::Write).unwrap_err().kind(), ErrorKind::NotConnected);
        AsyncWriteExt::close(&mut &*stream).await.unwrap();
        AsyncWriteExt::close(&mut &*stream).await.unwrap();

        // After a close on this side there is nothing that could be ended.
        stream.close().await.unwrap();
        assert_closed(AsyncWriteExt::close(&mut &*stream).await);

        let (unix, peer) = UnixStream::pair().unwrap();
        unix.write_all(b"unread").await.unwrap();
        drop(peer);
        AsyncWriteExt::close(&mut &unix).await.unwrap();
    });
}
