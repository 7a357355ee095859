//! Copies that end before their source does, and their results: deadlines, closing, resets, a future that is dropped.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use netpoll_rt::fs::File;
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::sockopt;
use netpoll_rt::io::{CopyError, Side, copy, copy_bidirectional};
use netpoll_rt::net::pipe::pipe;
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::{JoinHandle, OpError, is_closed, spawn};

/// Gives the count and the side of a copy's error, and that side's own.
#[track_caller]
fn parts<T: std::fmt::Debug>(result: io::Result<T>) -> (u64, Side, io::Error) {
    let error = result.expect_err("the copy was to fail");
    let copy = CopyError::of(&error).expect("a CopyError");
    assert_eq!(copy.cause().kind(), error.kind());
    (copy.copied(), copy.side(), error)
}

fn op_of(error: &io::Error) -> &OpError {
    CopyError::of(error).unwrap().cause().get_ref().unwrap().downcast_ref().unwrap()
}

fn copying(from: &Arc<TcpStream>, to: &Arc<TcpStream>) -> JoinHandle<io::Result<u64>> {
    let (from, to) = (from.clone(), to.clone());
    spawn(async move { copy(&from, &to).await })
}

#[test]
fn read_deadline_of_the_source() {
    each(async || {
        let ((from, feeder), (to, sink)) = (pair().await, pair().await);
        feeder.write_all(b"bytes").await.unwrap();
        from.set_read_deadline(in_ms(20)).unwrap();
        let (copied, side, error) = parts(copy(&from, &to).await);
        assert_eq!((copied, side, error.kind()), (5, Side::First, ErrorKind::TimedOut));
        assert_eq!(op_of(&error).op(), "copy from");
        let text = error.to_string();
        let source = from.local_addr().unwrap().to_string();
        assert!(text.contains("after 5 bytes") && text.contains(&source), "{text}");
        // With another deadline it goes on where it was, for nothing was on the way.
        from.set_read_deadline(None).unwrap();
        feeder.write_all(b" and more").await.unwrap();
        feeder.shutdown(Shutdown::Write).unwrap();
        assert_eq!(copy(&from, &to).await.unwrap(), 9);
        let mut all = [0; 14];
        sink.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"bytes and more");
    });
}

#[test]
fn write_deadline_of_the_sink() {
    each(async || {
        let ((from, feeder), (to, sink)) = (pair().await, pair().await);
        let feeding = spawn(async move { fill(&feeder).await });
        to.set_write_deadline(in_ms(100)).unwrap();
        let (copied, side, error) = parts(copy(&from, &to).await);
        assert_eq!((side, error.kind()), (Side::Second, ErrorKind::TimedOut));
        assert_eq!(op_of(&error).op(), "copy to");
        feeding.await.unwrap();
        // The count is exactly the number of bytes that the sink has taken.
        to.shutdown(Shutdown::Write).unwrap();
        let (mut got, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            match sink.read(&mut buffer).await.unwrap() {
                0 => break,
                n => got += n as u64,
            }
        }
        assert_eq!(got, copied);
    });
}

#[test]
fn closed_on_either_side() {
    each(async || {
        let ((from, feeder), (to, _sink)) = (pair().await, pair().await);
        let waiting = copying(&from, &to);
        parked(1).await;
        from.close().await.unwrap();
        let (copied, side, error) = parts(waiting.await.unwrap());
        assert_eq!((copied, side), (0, Side::First));
        assert!(is_closed(&error), "{error}");
        drop(feeder);

        let (from, feeder) = pair().await;
        let full = copying(&from, &to);
        fill(&feeder).await;
        parked(1).await;
        to.close().await.unwrap();
        let (copied, side, error) = parts(full.await.unwrap());
        assert_eq!(side, Side::Second);
        assert!(is_closed(&error) && copied > 0, "{error}");
        let (_, side, error) = parts(copy(&from, &to).await);
        assert!(is_closed(&error) && side == Side::Second, "{error}");
    });
}

fn reset(peer: StdStream) {
    sockopt::set_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
}

#[test]
fn the_sink_is_reset() {
    each(async || {
        let ((from, feeder), (to, peer)) = (pair().await, pair_with_std().await);
        let full = copying(&from, &to);
        fill(&feeder).await;
        parked(1).await;
        reset(peer);
        let (copied, side, error) = parts(full.await.unwrap());
        assert!(copied > 0 && side == Side::Second);
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        assert!(op_of(&error).raw_os_error().is_some());
    });
}

#[test]
fn the_source_is_reset_which_is_no_end() {
    each(async || {
        let ((from, mut peer), (to, _sink)) = (pair_with_std().await, pair().await);
        let waiting = copying(&from, &to);
        parked(1).await;
        peer.write_all(b"bytes").unwrap();
        let netpoll = Netpoll::current().unwrap();
        until("they are copied", || netpoll.pipes().buffered.get() == 5).await;
        reset(peer);
        let (copied, side, error) = parts(waiting.await.unwrap());
        assert_eq!((copied, side, error.kind()), (5, Side::First, ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_pipe_whose_reader_is_dropped() {
    each(async || {
        let ((from, feeder), (reader, to)) = (pair().await, pipe().unwrap());
        feeder.write_all(b"bytes").await.unwrap();
        drop(reader);
        let (copied, side, error) = parts(copy(&from, &to).await);
        assert_eq!((copied, side, error.kind()), (0, Side::Second, ErrorKind::BrokenPipe));
    });
}

#[test]
fn dropped_while_it_waits_for_either_side() {
    each(async || {
        let netpoll = Netpoll::current().unwrap();
        let ((from, feeder), (to, sink)) = (pair().await, pair().await);
        let probe = Probe::new();
        let mut waiting = Box::pin(copy(&from, &to));
        assert!(probe.poll(waiting.as_mut()).is_pending());
        parked(1).await;
        drop(waiting);
        parked(0).await;
        assert_eq!(netpoll.pipes().made.get(), 0, "while it waits it has no pipe");
        // It has taken nothing with it.
        feeder.write_all(b"bytes").await.unwrap();
        assert_eq!(read_once(&from).await.unwrap(), b"bytes");

        let full = copying(&from, &to);
        fill(&feeder).await;
        parked(1).await;
        full.abort();
        assert!(full.await.unwrap_err().is_cancelled());
        parked(0).await;
        // Both can be used on.
        let mut buffer = vec![0; 1 << 16];
        until_quiet(&sink, &mut buffer).await;
        to.write_all(b"on").await.unwrap();
        sink.read_exact(&mut [0; 2]).await.unwrap();
    });
}

/// Reads all there is until nothing comes for a while.
async fn until_quiet(stream: &TcpStream, buffer: &mut [u8]) {
    loop {
        stream.set_read_deadline(in_ms(100)).unwrap();
        if let Err(error) = stream.read(buffer).await {
            assert_timed_out(Err::<(), _>(error));
            return stream.set_read_deadline(None).unwrap();
        }
    }
}

#[test]
fn an_urgent_mark_does_not_stop_it() {
    each(async || {
        for parks_first in [false, true] {
            let ((from, peer), (to, mut sink)) = (pair_with_std().await, pair_with_std().await);
            let mut waiting = None;
            if parks_first {
                waiting = Some(copying(&from, &to));
                parked(1).await;
            }
            (&peer).write_all(b"before").unwrap();
            kernel::send_urgent(peer.as_fd(), b'!').unwrap();
            (&peer).write_all(b"behind").unwrap();
            let waiting = waiting.unwrap_or_else(|| copying(&from, &to));
            let mut got = [0; 12];
            // Without the end of the stream, which would be one more edge.
            netpoll_rt::spawn_blocking(move || {
                sink.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"beforebehind");
            })
            .await
            .unwrap();
            drop(peer);
            assert_eq!(waiting.await.unwrap().unwrap(), 12);
        }
    });
}

struct Temporary(PathBuf);

impl Temporary {
    fn of(name: &str, length: usize) -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-{}-{name}", std::process::id()));
        std::fs::write(&path, vec![7; length]).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_file_to_a_sink_that_takes_no_more() {
    each(async || {
        let file = Temporary::of("no-more", 64 << 20);
        let (to, sink) = pair().await;
        let source = File::open(&file.0).await.unwrap();
        to.set_write_deadline(in_ms(100)).unwrap();
        let (copied, side, error) = parts(copy(&source, &to).await);
        assert_eq!((side, error.kind()), (Side::Second, ErrorKind::TimedOut));
        assert!(copied > 0);
        let at = source.seek(io::SeekFrom::Current(0)).await.unwrap();
        assert_eq!(at, copied, "the cursor stands behind what was sent: it can go on");

        // A deadline that has passed sends nothing, though there is room.
        let mut buffer = vec![0; 1 << 20];
        until_quiet(&sink, &mut buffer).await;
        assert_timed_out(copy(&source, &to).await);
        assert_eq!(source.seek(io::SeekFrom::Current(0)).await.unwrap(), copied);

        to.set_write_deadline(None).unwrap();
        let going_on = spawn({
            let to = to.clone();
            async move { copy(&source, &to).await }
        });
        parked(1).await;
        to.close().await.unwrap();
        let (_, side, error) = parts(going_on.await.unwrap());
        assert!(is_closed(&error) && side == Side::Second, "{error}");
    });
}

#[test]
fn a_file_to_a_peer_that_is_gone() {
    each(async || {
        let file = Temporary::of("gone", 1 << 20);
        let (to, sink) = UnixStream::pair().unwrap();
        drop(sink);
        let source = File::open(&file.0).await.unwrap();
        let (copied, side, error) = parts(copy(&source, &to).await);
        assert_eq!((copied, side, error.kind()), (0, Side::Second, ErrorKind::BrokenPipe));
    });
}

#[test]
fn what_the_file_says() {
    each(async || {
        let (to, sink) = UnixStream::pair().unwrap();
        let folder = File::open("/").await.unwrap();
        let (_, side, error) = parts(copy(&folder, &to).await);
        assert_eq!((side, error.kind()), (Side::First, ErrorKind::IsADirectory), "{error}");
        to.write_all(b"bytes").await.unwrap();
        let read_only = File::open("/etc/passwd").await.unwrap();
        let (copied, side, error) = parts(copy(&sink, &read_only).await);
        assert_eq!((copied, side, op_of(&error).op()), (0, Side::Second, "write"));
    });
}

#[test]
fn both_ways_and_one_is_reset() {
    each(async || {
        let ((a, client), (b, server)) = (pair().await, pair().await);
        let forwarding = spawn(async move { copy_bidirectional(&a, &b).await });
        client.write_all(b"request").await.unwrap();
        assert_eq!(read_once(&server).await.unwrap(), b"request");
        server.write_all(b"answer").await.unwrap();
        client.read_exact(&mut [0; 6]).await.unwrap();
        parked(2).await;
        sockopt::set_linger(client.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(client);
        let error = forwarding.await.unwrap().unwrap_err();
        let copy = CopyError::of(&error).unwrap();
        assert_eq!((copy.copied(), copy.copied_back()), (7, Some(6)));
        assert_eq!((copy.side(), error.kind()), (Side::First, ErrorKind::ConnectionReset));
        // Both have been dropped with the task: the server is told.
        assert!(matches!(read_once(&server).await, Ok(bytes) if bytes.is_empty()));
    });
}

#[test]
fn both_ways_and_the_second_is_late() {
    each(async || {
        let ((a, _client), (b, _server)) = (pair().await, pair().await);
        b.set_read_deadline(in_ms(10)).unwrap();
        let error = copy_bidirectional(&*a, &&*b).await.unwrap_err();
        let copy = CopyError::of(&error).unwrap();
        assert_eq!((copy.side(), error.kind()), (Side::Second, ErrorKind::TimedOut));
        parked(0).await;
    });
}
