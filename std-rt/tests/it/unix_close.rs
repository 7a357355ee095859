//! Closing and deadlines of connections within one machine.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;

use crate::common::*;
use crate::unix_support::*;
use netpoll_rt::net::{UnixListener, UnixSeqpacket, UnixStream};
use netpoll_rt::{Handle, JoinHandle, OpError, spawn};

fn reading(stream: &Arc<UnixStream>) -> JoinHandle<io::Result<Vec<u8>>> {
    let stream = stream.clone();
    spawn(async move { read(&stream).await })
}

/// Writes until a write fails; gives the bytes written and the error.
fn writing(stream: &Arc<UnixStream>) -> JoinHandle<(usize, io::Error)> {
    let stream = stream.clone();
    spawn(async move {
        let mut written = 0;
        loop {
            match stream.write(&[7; 1024]).await {
                Ok(n) => written += n,
                Err(error) => return (written, error),
            }
        }
    })
}

/// Reads as many bytes, and then the end.
async fn drain(stream: &UnixStream, bytes: usize) {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "bytes that nobody was told of");
}

// Case C01.
#[test]
fn close_and_what_comes_after() {
    each(async || {
        let (one, _other) = ends();
        one.close().await.unwrap();
        assert_closed(one.close().await);
        assert_closed(read(&one).await);
        assert_closed(one.peek(&mut [0; 8]).await);
        assert_closed(one.write(b"x").await);
        assert_closed(one.write_all(b"x").await);
        assert_closed(one.readable().await);
        assert_closed(one.set_deadline(None));
        assert_closed(one.set_read_deadline(past()));
        assert_closed(one.shutdown(Shutdown::Both));
        assert_closed(one.local_addr());
        assert_closed(one.peer_cred());
        assert_closed(one.dup());

        let (one, _other) = UnixSeqpacket::pair().unwrap();
        one.close().await.unwrap();
        assert_closed(one.recv(&mut [0; 8]).await);
        assert_closed(one.send(b"x").await);
        assert_closed(one.try_recv(&mut [0; 8]));
        assert_closed(one.is_at_end());
        assert_closed(one.recv_fds(&mut [0; 8], 1).await);
        assert_closed(one.into_owned_fd());
    });
}

// Case C04.
#[test]
fn the_peers_close_wakes_a_reader() {
    each(async || {
        let (one, other) = ends();
        let waiting = reading(&one);
        parked(1).await;
        drop(other);
        assert_eq!(waiting.await.unwrap().unwrap(), b"");
        assert!(one.peer_closed());
    });
}

// Case C05.
#[test]
fn close_wakes_a_reader_and_those_behind_it() {
    each(async || {
        let (one, _other) = ends();
        let waiting: Vec<_> = (0..5).map(|_| reading(&one)).collect();
        parked(1).await;
        one.close().await.unwrap();
        for reader in waiting {
            assert_closed(reader.await.unwrap());
        }
        let (one, other) = UnixSeqpacket::pair().unwrap();
        let one = Arc::new(one);
        let receiving = spawn({
            let one = one.clone();
            async move { one.recv(&mut [0; 8]).await }
        });
        parked(1).await;
        one.close().await.unwrap();
        assert_closed(receiving.await.unwrap());
        assert_eq!(other.recv(&mut [0; 8]).await.unwrap(), 0);
    });
}

// Cases C10, C20.
#[test]
fn close_wakes_both_directions() {
    each(async || {
        let (one, other) = ends();
        let (waiting, blocked) = (reading(&one), writing(&one));
        parked(2).await;
        one.close().await.unwrap();
        assert_closed(waiting.await.unwrap());
        let (written, error) = blocked.await.unwrap();
        assert_closed(Err::<(), _>(error));
        parked(0).await;
        drain(&other, written).await;
    });
}

// Case C13.
#[test]
fn dropped_futures_leave_nothing() {
    each(async || {
        let (one, other) = ends();
        let before = Handle::try_current().unwrap().metrics();
        let probe = Probe::new();
        for _ in 0..10 {
            let mut buffer = [0; 8];
            let mut read_one = Box::pin(one.read(&mut buffer));
            assert!(probe.poll(read_one.as_mut()).is_pending());
            drop(read_one);
            let mut readable = Box::pin(one.readable());
            assert!(probe.poll(readable.as_mut()).is_pending());
        }
        let after = Handle::try_current().unwrap().metrics();
        assert_eq!((after.waiters, after.descriptors), (before.waiters, before.descriptors));
        other.write_all(b"for the next").await.unwrap();
        let mut buffer = [0; 12];
        one.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"for the next");
        assert_eq!(probe.wakes.get(), 0, "nobody wakes who is gone");
    });
}

// Case C18.
#[test]
fn writing_to_a_dead_peer() {
    each(async || {
        let (one, other) = ends();
        let blocked = writing(&one);
        parked(1).await;
        drop(other);
        let (_, error) = blocked.await.unwrap();
        // Linux returns the one to the first caller and the other from then on.
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        assert_eq!(one.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

// Cases B05, B24.
#[test]
fn a_deadline_in_the_past_beats_what_is_there() {
    each(async || {
        let (one, other) = ends();
        other.write_all(b"ready").await.unwrap();
        one.set_read_deadline(past()).unwrap();
        for _ in 0..2 {
            assert_timed_out(read(&one).await);
            assert_timed_out(one.try_read(&mut [0; 8]));
        }
        one.write_all(b"the other way").await.unwrap();
        one.set_read_deadline(None).unwrap();
        assert_eq!(read(&one).await.unwrap(), b"ready");

        let (one, other) = UnixSeqpacket::pair().unwrap();
        other.send(b"ready").await.unwrap();
        one.set_read_deadline(past()).unwrap();
        assert_timed_out(one.recv(&mut [0; 8]).await);
        assert_timed_out(one.recv_fds(&mut [0; 8], 1).await);
        one.set_deadline(None).unwrap();
        assert_eq!(one.recv(&mut [0; 8]).await.unwrap(), 5);
    });
}

// Cases B06, B17.
#[test]
fn a_deadline_ends_the_wait_and_stays() {
    each(async || {
        let (one, _other) = ends();
        one.set_read_deadline(in_ms(20)).unwrap();
        assert_timed_out(read(&one).await);
        assert_timed_out(read(&one).await);
        one.set_read_deadline(None).unwrap();
        let waiting = reading(&one);
        parked(1).await;
        one.set_read_deadline(past()).unwrap();
        assert_timed_out(waiting.await.unwrap());
        assert_timed_out(one.readable().await);
    });
}

// Case B23.
#[test]
fn a_write_that_runs_into_its_deadline() {
    each(async || {
        let (one, other) = ends();
        one.set_write_deadline(in_ms(200)).unwrap();
        let (written, error) = writing(&one).await.unwrap();
        assert_timed_out(Err::<(), _>(error));
        assert!(written > 0);
        one.shutdown(Shutdown::Write).unwrap();
        drain(&other, written).await;
    });
}

// Case E11.
#[test]
fn errors_say_where() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("the-server");
        let listener = UnixListener::bind(&path).unwrap();
        let (client, server) = through(&listener).await;
        server.set_read_deadline(past()).unwrap();
        let error = read(&server).await.unwrap_err();
        assert!(error.to_string().contains("the-server"), "{error}");
        drop(server);
        let error = client.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert!(op.op() == "write" && op.fd().is_some() && op.raw_os_error().is_some(), "{error}");
        listener.set_deadline(past()).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert!(error.to_string().contains("accept") && error.to_string().contains("the-server"), "{error}");
    });
}
