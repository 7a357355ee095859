//! Accept and connect: refusals of the machine, futures that are dropped, and the texts of errors.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::own_process::with_few_descriptors;
use crate::common::*;
use netpoll_rt::net::{TcpListener, TcpSocket, TcpStream, accept, unix};
use netpoll_rt::{OpError, is_closed};

const EMFILE: i32 = 24;

// Case E03.
#[test]
fn no_descriptors_left_and_the_edge_is_kept() {
    with_few_descriptors(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let probe = Probe::new();
        let mut waiting = Box::pin(listener.accept());
        assert!(probe.poll(waiting.as_mut()).is_pending());
        let _clients: Vec<_> = (0..3).map(|_| StdStream::connect(address).unwrap()).collect();
        probe.woken(1).await;
        let mut fill = Vec::new();
        let refused = loop {
            match File::open("/dev/null") {
                Ok(file) => fill.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.raw_os_error(), Some(EMFILE));
        let Poll::Ready(result) = probe.poll(waiting.as_mut()) else { panic!("still pending") };
        assert_emfile(result.map(drop));
        for _ in 0..5 {
            assert_emfile(listener.accept().await.map(drop));
        }
        assert_emfile(TcpStream::connect(address).await.map(drop));
        assert_emfile(TcpListener::bind("127.0.0.1:0").await.map(drop));
        assert_emfile(netpoll_rt::Runtime::new().map(drop));
        // One more than there are clients: the kernel takes a number before it looks into the queue.
        fill.truncate(fill.len() - 4);
        // No new edge comes, and none is needed.
        let accepted = [listener.accept().await, listener.accept().await, listener.accept().await];
        assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
        let mut more = Box::pin(listener.accept());
        assert!(probe.poll(more.as_mut()).is_pending(), "these were all");
    });
}

#[track_caller]
fn assert_emfile(result: io::Result<()>) {
    let error = result.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    let number = inner.map_or(error.raw_os_error(), OpError::raw_os_error);
    assert_eq!(number, Some(EMFILE), "{error}");
    // A runtime's own descriptors are no operation of anybody's.
    if inner.is_some() {
        assert!(error.to_string().ends_with("raise `ulimit -n`"), "{error}");
    }
}

// Case E07.
#[test]
fn one_connection_wakes_one_of_ten_acceptors() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let probes: Vec<_> = (0..10).map(|_| Probe::new()).collect();
        let mut accepts: Vec<_> = (0..10).map(|_| Box::pin(listener.accept())).collect();
        for (probe, accept) in probes.iter().zip(&mut accepts) {
            assert!(probe.poll(accept.as_mut()).is_pending());
        }
        parked(1).await;
        for round in 0..10 {
            let client = StdStream::connect(address).unwrap();
            // All but the first were woken once before, when the lock came to them.
            probes[round].woken(1 + usize::from(round > 0)).await;
            let polled = probes[round].poll(accepts[round].as_mut());
            let Poll::Ready(Ok((_, peer))) = polled else { panic!("{polled:?}") };
            assert_eq!(peer, client.local_addr().unwrap());
            let later = |probe: &Arc<Probe>| probe.wakes.get();
            let woken: usize = probes[round + 1..].iter().map(later).sum();
            assert_eq!(woken, usize::from(round < 9), "the next has the lock, and nobody else was disturbed");
            if round < 9 {
                assert!(probes[round + 1].poll(accepts[round + 1].as_mut()).is_pending());
            }
        }
    });
}

// Case E09.
#[test]
fn a_port_without_a_listener_fails_fast() {
    each(async || {
        let address = closed_port();
        let start = Instant::now();
        for _ in 0..5 {
            let error = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

/// Returns a port of this machine that was free a moment ago.
fn closed_port() -> SocketAddr {
    StdListener::bind(own_address()).unwrap().local_addr().unwrap()
}

// Case E10.
#[test]
fn connects_that_are_dropped_leave_nothing() {
    each(async || {
        let listener = TcpListener::bind(own_address()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let before = open_descriptors();
        let probe = Probe::new();
        for round in 0..500 {
            let mut connect = Box::pin(TcpStream::connect(address));
            for _ in 0..round % 3 {
                if probe.poll(connect.as_mut()).is_ready() {
                    break;
                }
                netpoll_rt::yield_now().await;
            }
            drop(connect);
            // The connections that reached the backlog are taken out, so that it does not fill.
            listener.set_deadline(Some(Instant::now() + Duration::from_micros(50))).unwrap();
            let accepted = listener.accept().await;
            assert!(accepted.is_ok() || accepted.is_err_and(|error| error.kind() == ErrorKind::TimedOut));
        }
        assert_eq!(open_descriptors(), before);
        listener.close().await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    });
}

// Case E10.
#[test]
fn a_connect_that_cannot_end_is_given_up() {
    each(async || {
        // A backlog that is full: the kernel drops the handshake and tries again for minutes.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _fill: Vec<_> = (0..2)
            .map(|_| {
                let socket = TcpSocket::new_v4().unwrap();
                let probe = Probe::new();
                let mut connect = Box::pin(socket.connect(address));
                let _ = probe.poll(connect.as_mut());
                connect
            })
            .collect();
        let before = open_descriptors();
        let connect = TcpSocket::new_v4().unwrap().connect(address);
        let result = netpoll_rt::time::timeout(Duration::from_millis(20), connect).await;
        assert_timed_out(result.map(drop));
        assert_eq!(open_descriptors(), before);
    });
}

/// Returns the operation's name, and whether the error names each address.
fn told(error: &io::Error) -> (&'static str, bool, bool) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    let inner = inner.unwrap_or_else(|| panic!("no OpError in {error:?}"));
    assert!(error.to_string().starts_with(inner.op()), "{error}");
    for address in [inner.local(), inner.peer()].into_iter().flatten() {
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    let source = inner.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), error.kind(), "the kind is kept");
    assert_eq!(source.raw_os_error(), inner.raw_os_error());
    (inner.op(), inner.local().is_some(), inner.peer().is_some())
}

// Case E11.
#[test]
fn errors_name_the_operation_and_the_addresses() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_deadline(past()).unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(told(&error), ("read", true, true));
        let text = error.to_string();
        let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        assert!(text.starts_with(&format!("read {local}->{peer} (fd ")), "{text}");
        assert!(text.ends_with(": the deadline has passed"), "{text}");
        assert_eq!(told(&stream.peek(&mut [0]).await.unwrap_err()), ("peek", true, true));
        assert_eq!(told(&stream.write(b"x").await.unwrap_err()), ("write", true, true));
        let listener = listener().await;
        listener.set_deadline(past()).unwrap();
        assert_eq!(told(&listener.accept().await.unwrap_err()), ("accept", true, false));
        let error = TcpStream::connect(closed_port()).await.unwrap_err();
        assert_eq!(told(&error), ("connect", false, true));
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

// Case E11.
#[test]
fn a_port_in_use_is_named() {
    each(async || {
        let first = listener().await;
        let address = first.local_addr().unwrap();
        // Two listeners with SO_REUSEADDR on one port are still refused.
        let error = TcpListener::bind(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let (op, ..) = told(&error);
        assert!(["bind", "listen"].contains(&op), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        let nowhere = TcpListener::bind("192.0.2.1:0").await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::AddrNotAvailable, "{nowhere}");
    });
}

// Case E11.
#[test]
fn closed_is_no_timeout_and_no_end() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"unread").unwrap();
        stream.set_deadline(past()).unwrap();
        stream.close().await.unwrap();
        for error in [stream.read(&mut [0]).await.unwrap_err(), stream.write(b"x").await.unwrap_err()] {
            assert!(is_closed(&error));
            assert!(error.to_string().ends_with("closed by this program"), "{error}");
            assert!(["read", "write"].contains(&told(&error).0));
        }
        assert!(!is_closed(&io::Error::from(ErrorKind::NotConnected)), "the kernel's is another");
    });
}

// Case E12.
#[test]
fn addresses_of_a_connection_agree_on_both_sides() {
    each(async || {
        let (a, b) = pair().await;
        assert_eq!(a.local_addr().unwrap(), b.peer_addr().unwrap());
        assert_eq!(b.local_addr().unwrap(), a.peer_addr().unwrap());
        let ports: BTreeSet<_> = [&a, &b].map(|end| end.local_addr().unwrap().port()).into();
        assert_eq!(ports.len(), 2);
    });
}

#[test]
fn a_listener_that_is_watched_elsewhere_accepts_connections_that_do_not_block() {
    let _alone = alone();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(accept(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut connection, peer) = accept(&listener).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(uninterrupted(|| connection.read(&mut [0])).unwrap_err().kind(), ErrorKind::WouldBlock);

    let path = std::env::temp_dir().join(format!("netpoll-accept-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(unix::accept(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (mut connection, peer) = unix::accept(&listener).unwrap();
    assert!(peer.is_unnamed());
    assert_eq!(uninterrupted(|| connection.read(&mut [0])).unwrap_err().kind(), ErrorKind::WouldBlock);
}
