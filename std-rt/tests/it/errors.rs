//! The text of an error: the event, the address or descriptor, and the remedy.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::common::*;
use netpoll_rt::net::{TcpListener, TcpSocket, TcpStream};
use netpoll_rt::{Address, OpError, is_closed};

const ECONNRESET: i32 = 104;

fn inner(error: &io::Error) -> &OpError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    inner.unwrap_or_else(|| panic!("no OpError in {error:?}"))
}

fn ip(address: Option<&Address>) -> Option<SocketAddr> {
    address.and_then(Address::ip)
}

/// Asserts that the error is one of `op` and names the peer, in its fields and in its text.
#[track_caller]
fn assert_names<T: std::fmt::Debug>(result: io::Result<T>, op: &str, peer: SocketAddr) -> io::Error {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert_eq!((inner(&error).op(), ip(inner(&error).peer())), (op, Some(peer)), "{text}");
    assert!(text.starts_with(op) && text.contains(&peer.to_string()), "{text}");
    assert!(text.contains(&format!("(fd {})", inner(&error).fd().unwrap())), "{text}");
    let source = inner(&error).source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!((source.kind(), source.raw_os_error()), (error.kind(), inner(&error).raw_os_error()));
    error
}

fn loopback() -> [SocketAddr; 2] {
    ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap())
}

/// Returns two ends of a connection, of either family.
async fn pair_on(address: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn reset(stream: TcpStream) {
    stream.set_linger(Some(Duration::ZERO)).unwrap();
    stream.close().await.unwrap();
}

// Case E11.
#[test]
fn after_a_reset_the_peer_is_still_named() {
    each(async || {
        for address in loopback() {
            for connected in [true, false] {
                let (client, server) = pair_on(address).await;
                let (stream, other) = if connected { (client, server) } else { (server, client) };
                let (local, peer) = (stream.local_addr().unwrap(), other.local_addr().unwrap());
                reset(other).await;
                let error = assert_names(stream.read(&mut [0]).await, "read", peer);
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                assert_eq!(inner(&error).raw_os_error(), Some(ECONNRESET));
                assert_eq!(ip(inner(&error).local()), Some(local));
                assert!(
                    error
                        .to_string()
                        .ends_with("; the peer aborted, or closed before it had read everything")
                );
                let error = assert_names(stream.write(b"x").await, "write", peer);
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert!(
                    inner(&error).hint().unwrap().starts_with("the stream has no reader any more"),
                    "{error}"
                );
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the error was told once");
                assert_names(stream.read_exact(&mut [0]).await, "read_exact", peer);
                assert_eq!(stream.peer_addr().unwrap(), peer);
                // The kernel has forgotten it.
                let name = netpoll_rt::internal::sys::socket::peer_name(stream.as_fd());
                assert_eq!(name.unwrap_err().kind(), ErrorKind::NotConnected);
            }
        }
    });
}

// Case E11.
#[test]
fn after_a_deadline_and_after_a_close() {
    each(async || {
        for address in loopback() {
            let (stream, other) = pair_on(address).await;
            let peer = other.local_addr().unwrap();
            stream.set_deadline(past()).unwrap();
            for (op, error) in [
                ("read", stream.read(&mut [0]).await.unwrap_err()),
                ("write", stream.write(b"x").await.unwrap_err()),
                ("writable", stream.writable().await.unwrap_err()),
            ] {
                let error = assert_names(Err::<(), _>(error), op, peer);
                assert_eq!((error.kind(), inner(&error).raw_os_error()), (ErrorKind::TimedOut, None));
                assert_eq!(inner(&error).hint(), None);
                assert!(error.to_string().ends_with("): the deadline has passed"), "{error}");
                assert!(!is_closed(&error));
            }
            stream.close().await.unwrap();
            for (op, result) in [
                ("read", stream.read(&mut [0]).await.map(drop)),
                ("write", stream.write_all(b"x").await),
                ("set_nodelay", stream.set_nodelay(true)),
                ("keepalive", stream.keepalive().map(drop)),
                ("local_addr", stream.local_addr().map(drop)),
                ("dup", stream.dup().map(drop)),
                ("close", stream.close().await),
            ] {
                let error = assert_names(result, op, peer);
                assert!(is_closed(&error), "{error}");
                assert!(error.to_string().ends_with("): closed by this program"), "{error}");
            }
        }
    });
}

// Case E11.
#[test]
fn listening_and_connecting() {
    each(async || {
        for address in loopback() {
            let listener = TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            listener.set_deadline(past()).unwrap();
            let error = listener.accept().await.unwrap_err();
            assert_eq!((inner(&error).op(), ip(inner(&error).local())), ("accept", Some(address)));
            assert!(inner(&error).peer().is_none(), "{error}");
            listener.close().await.unwrap();
            assert!(listener.accept().await.unwrap_err().to_string().starts_with("accept (fd "));

            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let error = assert_names(socket.unwrap().connect(address).await, "connect", address);
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(error.to_string().ends_with("; no socket listens there"), "{error}");
        }
    });
}

// Case E11.
#[test]
fn an_address_that_is_taken_is_named_by_bind_and_by_listen() {
    each(async || {
        let address = own_address();
        let one = TcpSocket::new_v4().unwrap();
        one.set_reuseaddr(true).unwrap();
        one.bind(address).unwrap();
        let address = one.local_addr().unwrap();
        let two = TcpSocket::new_v4().unwrap();
        let error = two.bind(address).unwrap_err();
        assert_taken(&error, "bind", address);
        // Both may bind, and only one may listen.
        two.set_reuseaddr(true).unwrap();
        two.bind(address).unwrap();
        let _listener = one.listen(1).unwrap();
        assert_taken(&two.listen(1).unwrap_err(), "listen", address);
        let error = TcpSocket::new_v4().unwrap().bind("192.0.2.1:80".parse().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("bind 192.0.2.1:80 (fd "), "{error}");
        assert!(error.to_string().ends_with("; no interface of this host has this address"), "{error}");
    });
}

#[track_caller]
fn assert_taken(error: &io::Error, op: &str, address: SocketAddr) {
    assert_eq!((error.kind(), ip(inner(error).local())), (ErrorKind::AddrInUse, Some(address)), "{error}");
    assert!(error.to_string().starts_with(&format!("{op} {address} (fd ")), "{error}");
    assert!(error.to_string().ends_with("`ss -anp` shows whose; port 0 takes a free one"), "{error}");
}

// Case E11.
#[test]
fn an_adopted_stream_knows_its_peer_once_it_has_one() {
    each(async || {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let std = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        let peer = other.local_addr().unwrap();
        let stream = TcpStream::from_std(std).unwrap();
        let other = TcpStream::from_std(other).unwrap();
        reset(other).await;
        assert_names(stream.read(&mut [0]).await, "read", peer);
        assert_eq!(stream.peer_addr().unwrap(), peer);
        // One that was never connected: there is none to be named.
        let fresh = StdStream::from(std::os::fd::OwnedFd::from(TcpSocket::new_v4().unwrap()));
        let fresh = TcpStream::from_std(fresh).unwrap();
        let error = fresh.peer_addr().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        assert!(inner(&error).peer().is_none() && !is_closed(&error));
    });
}

// Case E11.
#[test]
fn the_peer_of_an_unspecified_address_is_this_host() {
    each(async || {
        for (any, own) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
            let listener = TcpListener::bind(any.parse::<SocketAddr>().unwrap()).await.unwrap();
            let to = listener.local_addr().unwrap();
            let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let stream = socket.unwrap().connect(to).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), SocketAddr::new(own.parse().unwrap(), to.port()));
        }
    });
}

/// An error that `main` returns is printed as the same sentence, and no more.
#[test]
fn the_sentence_is_what_people_see() {
    each(async || {
        let (stream, _peer) = pair().await;
        stream.set_read_deadline(past()).unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(format!("{:?}", inner(&error)), error.to_string());
        assert!(!error.to_string().contains('\n'));
    });
}
