//! `ConnectConfig`: the options and times of the attempts. And Multipath TCP.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Hanging;
use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::OpError;
use netpoll_rt::net::{ConnectConfig, TcpListener, TcpSocket, TcpStream};

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Returns an address at which no socket listens.
async fn refusing(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    listener.local_addr().unwrap()
}

fn addr(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

async fn exchange(client: &TcpStream, listener: &TcpListener) -> TcpStream {
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    client.write_all(b"there").await.unwrap();
    assert_eq!(read_once(&server).await.unwrap(), b"there");
    server.write_all(b"back").await.unwrap();
    assert_eq!(read_once(client).await.unwrap(), b"back");
    server
}

#[test]
fn local_addresses_of_both_families() {
    each(async || {
        let config = ConnectConfig::new().local_addr(addr(LOOPBACKS[0])).local_addr(addr(LOOPBACKS[1]));
        for address in LOOPBACKS {
            let listener = TcpListener::bind(address).await.unwrap();
            let stream = config.connect(listener.local_addr().unwrap()).await.unwrap();
            assert_eq!(stream.local_addr().unwrap().ip(), addr(address).ip());
            exchange(&stream, &listener).await;
        }
        // A given port, which another attempt has bound as well.
        let listener = TcpListener::bind(LOOPBACKS[0]).await.unwrap();
        let port = refusing(LOOPBACKS[0]).await;
        let config = ConnectConfig::new().local_addr(port);
        let targets = [refusing(LOOPBACKS[0]).await, listener.local_addr().unwrap()];
        let stream = config.connect(targets).await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), port);
        exchange(&stream, &listener).await;
    });
}

#[test]
fn a_peer_of_a_family_without_a_local_address_is_not_tried() {
    each(async || {
        let listeners =
            [TcpListener::bind(LOOPBACKS[0]).await.unwrap(), TcpListener::bind(LOOPBACKS[1]).await.unwrap()];
        let both: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        for local in LOOPBACKS {
            let config = ConnectConfig::new().local_addr(addr(local));
            let stream = config.connect(&both[..]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().is_ipv4(), addr(local).is_ipv4());
            let other = both.iter().find(|address| address.is_ipv4() != addr(local).is_ipv4()).unwrap();
            let error = config.connect(*other).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(&other.to_string()), "{error}");
        }
        // An address that is not of this host.
        let config = ConnectConfig::new().local_addr((Ipv4Addr::new(192, 0, 2, 1), 0).into());
        let error = config.connect(both[0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable, "{error}");
    });
}

#[test]
fn the_hook_sees_each_socket_before_it_connects() {
    each(async || {
        let listener = listener().await;
        let to = listener.local_addr().unwrap();
        let (seen, refused) = (Arc::new(Mutex::new(Vec::new())), refusing("127.0.0.1:0").await);
        let config = {
            let seen = seen.clone();
            ConnectConfig::new().on_socket(move |socket, address| {
                seen.lock().unwrap().push(address);
                socket.set_ttl(77)
            })
        };
        let stream = config.clone().connect([refused, to]).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [refused, to]);
        assert_eq!(stream.ttl().unwrap(), 77);
        let vetoed = config.on_socket(move |_, address| match address == to {
            true => Ok(()),
            false => Err(std::io::Error::other("this address is not wanted")),
        });
        assert_eq!(vetoed.connect([refused, to]).await.unwrap().peer_addr().unwrap(), to);
        let error = vetoed.connect(refused).await.unwrap_err();
        assert!(error.to_string().contains("not wanted"), "{error}");
        assert!(format!("{vetoed:?}").contains("has_hook: true"));
    });
}

#[test]
fn attempts_start_after_the_delay_and_end_with_the_timeout() {
    each(async || {
        let (one, other) = (Hanging::new(), Hanging::new());
        let silent = [one.address, other.address];
        let started = Arc::new(Counter::new());
        let count = started.clone();
        let config = ConnectConfig::new().on_socket(move |_, _| {
            count.inc();
            Ok(())
        });
        let start = Instant::now();
        let limit = Duration::from_millis(60);
        let late = config
            .clone()
            .attempt_delay(Duration::MAX)
            .timeout(limit)
            .connect(&silent[..])
            .await
            .unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut, "{late}");
        assert!(start.elapsed() >= limit);
        assert_eq!(started.get(), 1, "the second attempt would start after the delay");
        let before = started.get();
        let soon =
            config.attempt_delay(Duration::ZERO).timeout(limit).connect(&silent[..]).await.unwrap_err();
        assert_eq!(started.get() - before, 2, "{soon}");
        let none = ConnectConfig::new().timeout(Duration::ZERO);
        let listener = listener().await;
        assert_timed_out(none.connect(listener.local_addr().unwrap()).await);
        drop(
            ConnectConfig::new()
                .timeout(Duration::MAX)
                .connect(listener.local_addr().unwrap())
                .await
                .unwrap(),
        );
    });
}

#[test]
fn a_dropped_connect_leaves_no_socket() {
    each(async || {
        let silent = Hanging::new();
        let config = ConnectConfig::new();
        for _ in 0..10 {
            let mut connect = Box::pin(config.connect(silent.address));
            assert!(Probe::new().poll(connect.as_mut()).is_pending());
        }
    });
}

#[test]
fn a_device_that_does_not_exist() {
    each(async || {
        let listener = listener().await;
        let config = ConnectConfig::new().bind_device("no-such-device0");
        let error = config.connect(listener.local_addr().unwrap()).await.unwrap_err();
        let what = error.get_ref().and_then(|error| error.downcast_ref::<OpError>()).expect("described");
        let no_device = what.raw_os_error() == Some(19);
        assert!(no_device || error.kind() == ErrorKind::Unsupported, "{error}");
    });
}

#[test]
fn bind_without_a_port() {
    each(async || {
        let socket = TcpSocket::new_v4().unwrap();
        match socket.set_bind_address_no_port(true) {
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Unsupported),
            Ok(()) => assert!(socket.bind_address_no_port().unwrap()),
        }
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0);
        let listener = listener().await;
        let stream = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        assert_ne!(stream.local_addr().unwrap().port(), 0);
        let socket = TcpSocket::new_v6().unwrap();
        socket.set_bind_address_no_port(true).unwrap();
        socket.bind((Ipv6Addr::LOCALHOST, 0).into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0);
    });
}

#[test]
fn multipath_on_both_sides_one_side_or_none() {
    each(async || {
        let has_it = std::fs::read_to_string("/proc/sys/net/mptcp/enabled").is_ok_and(|on| on.trim() == "1");
        for address in LOOPBACKS {
            let new = if addr(address).is_ipv4() { TcpSocket::new_v4_mptcp } else { TcpSocket::new_v6_mptcp };
            for (client, server) in [(true, true), (true, false), (false, true), (false, false)] {
                let listener = if server {
                    let socket = new().unwrap();
                    socket.bind(addr(address)).unwrap();
                    socket.listen(16).unwrap()
                } else {
                    TcpListener::bind(address).await.unwrap()
                };
                let config = ConnectConfig::new().mptcp(client).local_addr(addr(address));
                let stream = config.connect(listener.local_addr().unwrap()).await.unwrap();
                let accepted = exchange(&stream, &listener).await;
                let both = client && server && has_it;
                assert_eq!(stream.is_mptcp().unwrap(), both, "client {client}, server {server}");
                assert_eq!(accepted.is_mptcp().unwrap(), both, "client {client}, server {server}");
                // Short reads, the end, and bytes in pieces.
                let sent: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
                let expected = sent.clone();
                let writer = netpoll_rt::spawn(async move {
                    for piece in sent.chunks(777) {
                        stream.write_all(piece).await.unwrap();
                    }
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    stream
                });
                let mut all = Vec::new();
                while accepted.read_buf(&mut all).await.unwrap() > 0 {}
                assert!(all == expected);
                drop(accepted);
                let stream = writer.await.unwrap();
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
        }
    });
}
