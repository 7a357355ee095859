//! Connections of bytes between processes of one machine.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use crate::common::*;
use crate::unix_support::*;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use netpoll_rt::net::{UnixListener, UnixStream};
use netpoll_rt::{Handle, JoinHandle, spawn};

/// Returns a task that makes one read.
fn reading(stream: &Arc<UnixStream>) -> JoinHandle<std::io::Result<Vec<u8>>> {
    let stream = stream.clone();
    spawn(async move { read(&stream).await })
}

/// Sends a megabyte there and back, both directions at once.
async fn echo(client: UnixStream, server: UnixStream) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    let echoing = spawn(async move {
        let mut buffer = vec![0; 10_000];
        loop {
            match server.read(&mut buffer).await.unwrap() {
                0 => return server.shutdown(Shutdown::Write).unwrap(),
                n => server.write_all(&buffer[..n]).await.unwrap(),
            }
        }
    });
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let sending = spawn({
        let (client, sent) = (client.clone(), sent.clone());
        async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut got = vec![0; sent.len()];
    client.read_exact(&mut got).await.unwrap();
    assert!(got == sent, "the bytes are not those that were sent");
    assert_eq!(client.read(&mut got).await.unwrap(), 0);
    sending.await.unwrap();
    echoing.await.unwrap();
}

#[test]
fn echo_over_a_path_an_abstract_name_and_a_pair() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert!(peer.is_unnamed(), "{peer:?}");
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
        assert!(client.local_addr().unwrap().is_unnamed());
        assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path));
        echo(client, server).await;

        let listener = UnixListener::bind_addr(&own_name()).unwrap();
        let (client, server) = through(&listener).await;
        echo(client, server).await;

        let (client, server) = UnixStream::pair().unwrap();
        assert!(client.local_addr().unwrap().is_unnamed() && client.peer_addr().unwrap().is_unnamed());
        echo(client, server).await;
    });
}

#[test]
fn every_way_to_read_and_write() {
    each(async || {
        let (one, other) = ends();
        assert_eq!(one.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.write(b"abcd").await.unwrap(), 4);
        assert_eq!(one.writev(&[IoSlice::new(b"ef"), IoSlice::new(b"gh")]).await.unwrap(), 4);
        assert_eq!(one.try_write(b"ij").unwrap(), 2);
        other.readable().await.unwrap();
        let mut buffer = [0; 4];
        assert_eq!(other.peek(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"abcd");
        let (mut a, mut b) = ([0; 1], [0; 3]);
        let mut slices = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(other.readv(&mut slices).await.unwrap(), 4);
        assert_eq!((&a, &b), (b"a", b"bcd"));
        assert_eq!(other.try_read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"efgh");
        other.read_exact(&mut buffer[..2]).await.unwrap();
        assert_eq!(&buffer[..2], b"ij");
        other.writable().await.unwrap();
        one.set_send_buffer_size(10_000).unwrap();
        assert!(one.send_buffer_size().unwrap() >= 10_000);
    });
}

#[test]
fn a_short_read_is_no_hint() {
    each(async || {
        let (one, other) = ends();
        // A read stops at descriptors with bytes behind them, of which no edge tells.
        one.write_all(b"first").await.unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send_all(&one, b"second", &[file.as_fd()]).await;
        one.write_all(b"third").await.unwrap();
        let mut got = Vec::new();
        while got.len() < 16 {
            got.extend(read(&other).await.unwrap());
        }
        assert_eq!(got, b"firstsecondthird");
    });
}

#[test]
fn queued_readers_are_served_in_order() {
    each(async || {
        let (one, other) = ends();
        let two = async || {
            let mut buffer = [0; 2];
            other.read_exact(&mut buffer).await.map(|()| buffer)
        };
        let probes: Vec<_> = (0..5).map(|_| Probe::new()).collect();
        let mut readers: Vec<_> = (0..5).map(|_| Box::pin(two())).collect();
        for (probe, reader) in probes.iter().zip(&mut readers) {
            assert!(probe.poll(reader.as_mut()).is_pending());
        }
        for (number, reader) in readers.into_iter().enumerate() {
            let number = number as u8;
            one.write_all(&[number, number]).await.unwrap();
            assert_eq!(reader.await.unwrap(), [number, number]);
            assert!(probes.iter().skip(usize::from(number) + 2).all(|later| later.wakes.get() == 0));
        }
    });
}

// Case D01.
#[test]
fn after_shutdown_of_reading_a_read_does_not_park() {
    each(async || {
        let (one, other) = ends();
        let parked_read = reading(&one);
        parked(1).await;
        one.shutdown(Shutdown::Read).unwrap();
        assert_eq!(parked_read.await.unwrap().unwrap(), b"");
        assert_eq!(read(&one).await.unwrap(), b"");
        one.write_all(b"the other half").await.unwrap();
        assert_eq!(read(&other).await.unwrap(), b"the other half");
        assert_eq!(other.write(b"nobody reads").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

// Case D02.
#[test]
fn shutdown_of_writing_leaves_the_other_half() {
    each(async || {
        let (one, other) = ends();
        let waiting = reading(&other);
        parked(1).await;
        assert!(!other.peer_closed());
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), b"", "D04: the end wakes a reader");
        assert!(other.peer_closed());
        other.write_all(b"answer").await.unwrap();
        assert_eq!(read(&one).await.unwrap(), b"answer");
        let error = one.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    });
}

// Case D06.
#[test]
fn a_read_of_no_bytes_is_at_once_and_takes_nothing() {
    each(async || {
        let (one, other) = ends();
        assert_eq!(one.read(&mut []).await.unwrap(), 0, "on an idle connection");
        assert_eq!(one.peek(&mut []).await.unwrap(), 0);
        assert_eq!(one.recv_fds(&mut [], 1).await.unwrap().0, 0);
        other.write_all(b"bytes").await.unwrap();
        assert_eq!(one.read(&mut []).await.unwrap(), 0);
        assert_eq!(read(&one).await.unwrap(), b"bytes");
        assert_eq!(one.write(&[]).await.unwrap(), 0);
    });
}

// Case D09.
#[test]
fn every_way_to_read_gives_the_end_and_no_error() {
    each(async || {
        let (one, other) = ends();
        drop(other);
        let mut buffer = [0; 8];
        assert_eq!(one.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(one.readv(&mut [IoSliceMut::new(&mut buffer)]).await.unwrap(), 0);
        assert_eq!(one.peek(&mut buffer).await.unwrap(), 0);
        assert_eq!(one.try_read(&mut buffer).unwrap(), 0);
        let (n, fds) = one.recv_fds(&mut buffer, 4).await.unwrap();
        assert_eq!((n, fds.len()), (0, 0));
        let mut polled: &UnixStream = &one;
        assert_eq!(AsyncReadExt::read(&mut polled, &mut buffer).await.unwrap(), 0);
        let error = one.read_exact(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn peer_credentials_name_the_process_and_the_user() {
    each(async || {
        let listener = UnixListener::bind_addr(&own_name()).unwrap();
        let (client, server) = through(&listener).await;
        let (one, _other) = UnixStream::pair().unwrap();
        let mine = kernel::user_and_group();
        for stream in [client, server, one] {
            let peer = stream.peer_cred().unwrap();
            // Only Linux tells the process.
            assert_eq!(peer.pid(), kernel::has_proc().then_some(std::process::id() as i32));
            assert_eq!((peer.uid(), peer.gid()), mine);
        }
    });
}

#[test]
fn the_traits_of_futures_io() {
    each(async || {
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(b"question").await.unwrap();
        let mut buffer = [0; 8];
        AsyncReadExt::read_exact(&mut &other, &mut buffer).await.unwrap();
        assert_eq!(&buffer, b"question");
        AsyncWriteExt::write_all(&mut &other, b"answer").await.unwrap();
        AsyncWriteExt::close(&mut &other).await.unwrap();
        let mut got = Vec::new();
        AsyncReadExt::read_to_end(&mut one, &mut got).await.unwrap();
        assert_eq!(got, b"answer");
        AsyncWriteExt::write_all(&mut one, b"still open").await.unwrap();
        assert_eq!(read(&other).await.unwrap(), b"still open");
    });
}

#[test]
fn to_and_from_std() {
    each(async || {
        let (std, mut peer) = StdStream::pair().unwrap();
        let number = std.as_raw_fd();
        let stream = Arc::new(UnixStream::from_std(std).unwrap());
        for _ in 0..20 {
            let reading = reading(&stream);
            parked(1).await;
            peer.write_all(b"bytes").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), b"bytes");
        }
        let descriptors = || Handle::try_current().unwrap().metrics().descriptors;
        let before = descriptors();
        let mut std = Arc::into_inner(stream).unwrap().into_std().unwrap();
        assert_eq!((std.as_raw_fd(), descriptors()), (number, before - 1));
        let nothing = uninterrupted(|| std.read(&mut [0; 4])).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        std.set_nonblocking(false).unwrap();
        peer.write_all(b"more").unwrap();
        let mut buffer = [0; 4];
        std.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"more");

        let (closed, _peer) = UnixStream::pair().unwrap();
        closed.close().await.unwrap();
        assert_closed(closed.into_std());
    });
}

#[test]
fn a_second_handle() {
    each(async || {
        let (one, other) = ends();
        let twin = Arc::new(one.dup().unwrap());
        let waiting = reading(&twin);
        parked(1).await;
        one.close().await.unwrap();
        assert!(!other.peer_closed());
        other.write_all(b"to the twin").await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), b"to the twin");
        twin.set_read_deadline(past()).unwrap();
        assert_timed_out(read(&twin).await);
        let at_the_end = reading(&other);
        parked(1).await;
        drop(twin);
        assert_eq!(at_the_end.await.unwrap().unwrap(), b"");
    });
}

#[test]
fn what_was_not_read_resets_the_peer() {
    each(async || {
        let (one, other) = ends();
        other.write_all(b"never read").await.unwrap();
        drop(one);
        let error = read(&other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert_eq!(read(&other).await.unwrap(), b"");
    });
}
