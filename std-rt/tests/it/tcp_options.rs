//! The options of TCP: set and read back, inherited by accepted connections, refused with a reason, and their effects.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::internal::sys::sockopt;
use netpoll_rt::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use netpoll_rt::{OpError, spawn};

const DEFAULT: Keepalive =
    Keepalive { idle: Duration::from_secs(15), interval: Duration::from_secs(15), count: 9 };

const OTHER: Keepalive =
    Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(7), count: 3 };

/// Returns a port of its own in each family.
fn loopback() -> [SocketAddr; 2] {
    ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap())
}

fn socket(family: &SocketAddr) -> TcpSocket {
    if family.is_ipv4() { TcpSocket::new_v4().unwrap() } else { TcpSocket::new_v6().unwrap() }
}

/// Returns the accepted and the connected stream of a connection through a listener.
async fn through(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

/// Sets each option that sockets, listeners and streams have to two values, and reads it back.
macro_rules! set_and_read_back {
    ($socket:expr) => {{
        let socket = &$socket;
        for on in [false, true] {
            socket.set_nodelay(on).unwrap();
            assert_eq!(socket.nodelay().unwrap(), on);
        }
        for keepalive in [Some(OTHER), None, Some(DEFAULT)] {
            socket.set_keepalive(keepalive).unwrap();
            assert_eq!(socket.keepalive().unwrap(), keepalive);
        }
        for linger in [Some(Duration::ZERO), None] {
            socket.set_linger(linger).unwrap();
            assert_eq!(socket.linger().unwrap(), linger);
        }
        for timeout in [Some(Duration::from_millis(1)), Some(Duration::from_millis(0x7fff_ffff)), None] {
            socket.set_user_timeout(timeout).unwrap();
            assert_eq!(socket.user_timeout().unwrap(), timeout);
        }
        for bytes in [16 << 10, 64 << 10] {
            socket.set_recv_buffer_size(bytes).unwrap();
            assert_eq!(socket.recv_buffer_size().unwrap(), 2 * bytes, "Linux doubles it");
            socket.set_send_buffer_size(bytes).unwrap();
            assert_eq!(socket.send_buffer_size().unwrap(), 2 * bytes, "Linux doubles it");
        }
        for hops in [1, 255, 64] {
            socket.set_ttl(hops).unwrap();
            assert_eq!(socket.ttl().unwrap(), hops);
        }
        for class in [0xb8, 0] {
            socket.set_traffic_class(class).unwrap();
            assert_eq!(socket.traffic_class().unwrap(), class);
        }
    }};
}

#[test]
fn every_option_is_set_and_read_back_on_both_families() {
    each(async || {
        for address in loopback() {
            let socket = socket(&address);
            set_and_read_back!(socket);
            for on in [true, false] {
                socket.set_reuseaddr(on).unwrap();
                assert_eq!(socket.reuseaddr().unwrap(), on);
                socket.set_reuseport(on).unwrap();
                assert_eq!(socket.reuseport().unwrap(), on);
                if fastopen_allowed() & 1 == 1 {
                    socket.set_fastopen_connect(on).unwrap();
                    assert_eq!(socket.fastopen_connect().unwrap(), on);
                }
                if address.is_ipv6() {
                    socket.set_v6only(on).unwrap();
                    assert_eq!(socket.v6only().unwrap(), on);
                }
            }
            assert_eq!(socket.device().unwrap(), None);
            socket.bind_device(Some("lo")).unwrap();
            assert_eq!(socket.device().unwrap().as_deref(), Some("lo"));
            socket.bind(address).unwrap();
            assert_ne!(socket.local_addr().unwrap().port(), 0);
            let listener = socket.listen(5).unwrap();
            set_and_read_back!(listener);
            for queue in [7, 0] {
                listener.set_fastopen(queue).unwrap();
                assert_eq!(listener.fastopen().unwrap(), queue);
            }
            assert_eq!(listener.v6only().is_ok(), address.is_ipv6());
            let (accepted, connected) = through(&listener).await;
            for stream in [accepted, connected] {
                set_and_read_back!(stream);
                for on in [false, true] {
                    // A segment that arrives in between changes the mode: tcp(7) calls it not permanent.
                    let mut reads_back = (0..100).map(|_| {
                        stream.set_quickack(on).unwrap();
                        stream.quickack().unwrap() == on
                    });
                    assert!(reads_back.any(|same| same), "{on}");
                }
            }
        }
    });
}

#[test]
fn a_connection_has_nodelay_and_keepalive_from_the_start() {
    each(async || {
        for address in loopback() {
            let listener = TcpListener::bind(address).await.unwrap();
            assert_eq!((listener.nodelay().unwrap(), listener.keepalive().unwrap()), (true, Some(DEFAULT)));
            assert_eq!(Keepalive::default(), DEFAULT);
            let (accepted, connected) = through(&listener).await;
            for stream in [&accepted, &connected] {
                assert!(stream.nodelay().unwrap());
                assert_eq!(stream.keepalive().unwrap(), Some(DEFAULT));
                assert_eq!((stream.linger().unwrap(), stream.user_timeout().unwrap()), (None, None));
            }
        }
    });
}

#[test]
fn what_is_set_on_a_listener_is_handed_on() {
    each(async || {
        for address in loopback() {
            let socket = socket(&address);
            socket.bind_device(Some("lo")).unwrap();
            socket.bind(address).unwrap();
            let listener = socket.listen(8).unwrap();
            listener.set_nodelay(false).unwrap();
            listener.set_keepalive(Some(OTHER)).unwrap();
            listener.set_linger(Some(Duration::ZERO)).unwrap();
            listener.set_user_timeout(Some(Duration::from_secs(9))).unwrap();
            listener.set_recv_buffer_size(20_000).unwrap();
            listener.set_send_buffer_size(30_000).unwrap();
            listener.set_ttl(33).unwrap();
            listener.set_traffic_class(0x28).unwrap();
            let (stream, client) = through(&listener).await;
            assert!(!stream.nodelay().unwrap());
            assert_eq!(stream.keepalive().unwrap(), Some(OTHER));
            assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));
            assert_eq!(stream.user_timeout().unwrap(), Some(Duration::from_secs(9)));
            assert_eq!(stream.recv_buffer_size().unwrap(), 40_000);
            assert_eq!(stream.send_buffer_size().unwrap(), 60_000);
            assert_eq!((stream.ttl().unwrap(), stream.traffic_class().unwrap()), (33, 0x28));
            assert_eq!(sockopt::device(stream.as_fd()).unwrap(), b"lo");
            assert!(client.nodelay().unwrap(), "the other side has its own");
            listener.set_keepalive(None).unwrap();
            assert_eq!(stream.keepalive().unwrap(), Some(OTHER), "only for those to come");
            assert_eq!(through(&listener).await.0.keepalive().unwrap(), None);
        }
    });
}

#[test]
fn values_out_of_range_are_refused_with_the_range_and_change_nothing() {
    each(async || {
        let (stream, _peer) = pair().await;
        let refused = |result: std::io::Result<()>, op: &str, range: &str| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let (text, peer) = (error.to_string(), stream.peer_addr().unwrap());
            assert!(text.starts_with(op) && text.ends_with(range), "{text}");
            assert!(text.contains(&format!("->{peer} (fd ")), "{text}");
        };
        let (zero, hours) = (Duration::ZERO, Duration::from_secs(32_768));
        for keepalive in [
            Keepalive { idle: zero, ..DEFAULT },
            Keepalive { idle: hours, ..DEFAULT },
            Keepalive { interval: zero, ..OTHER },
            Keepalive { interval: Duration::MAX, ..OTHER },
        ] {
            refused(stream.set_keepalive(Some(keepalive)), "set_keepalive", "within 1 s to 32767 s");
        }
        for count in [0, 128, u32::MAX] {
            refused(
                stream.set_keepalive(Some(Keepalive { count, ..OTHER })),
                "set_keepalive",
                "within 1 to 127",
            );
        }
        assert_eq!(stream.keepalive().unwrap(), Some(DEFAULT));
        let extremes =
            Keepalive { idle: hours - Duration::from_secs(1), interval: Duration::from_nanos(1), count: 127 };
        stream.set_keepalive(Some(extremes)).unwrap();
        let rounded_up = Keepalive { interval: Duration::from_secs(1), ..extremes };
        assert_eq!(stream.keepalive().unwrap(), Some(rounded_up));
        for timeout in [zero, Duration::from_millis(1 << 31), Duration::MAX] {
            refused(
                stream.set_user_timeout(Some(timeout)),
                "set_user_timeout",
                "within 1 ms to 2147483647 ms",
            );
        }
        for hops in [0, 256, u32::MAX] {
            refused(stream.set_ttl(hops), "set_ttl", "within 1 to 255");
        }
        refused(stream.set_linger(Some(Duration::from_secs(1))), "set_linger", "read to the end instead");
        assert_eq!(stream.linger().unwrap(), None);
    });
}

#[test]
fn an_interface_that_is_not_there() {
    each(async || {
        let socket = TcpSocket::new_v4().unwrap();
        for name in ["", "a-name-of-16-byte", "lo\0", "\0"] {
            assert_eq!(socket.bind_device(Some(name)).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let error = socket.bind_device(Some("no-such-device")).unwrap_err();
        assert!(error.to_string().starts_with("bind_device (fd "), "{error}");
        assert_eq!(socket.device().unwrap(), None);
    });
}

#[test]
fn a_linger_of_zero_resets() {
    each(async || {
        for linger in [None, Some(Duration::ZERO)] {
            let (stream, mut peer) = pair_with_std().await;
            stream.set_linger(linger).unwrap();
            stream.close().await.unwrap();
            match (linger, uninterrupted(|| peer.read(&mut [0]))) {
                (None, Ok(0)) => {}
                (Some(_), Err(error)) if error.kind() == ErrorKind::ConnectionReset => {}
                (_, read) => panic!("{linger:?}: {read:?}"),
            }
        }
    });
}

#[test]
fn the_user_timeout_ends_a_connection_whose_peer_takes_nothing() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        stream.set_user_timeout(Some(Duration::from_millis(300))).unwrap();
        let start = Instant::now();
        // The peer's kernel answers that its buffer is full, for longer than that.
        let (_, error) = writer(&stream).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(290)); // time is tested
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        // No deadline: the kernel's own.
        assert!(
            error
                .to_string()
                .ends_with("the peer takes nothing any more: it, its host or the network is stuck")
        );
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the connection is gone");
        drop(peer);
    });
}

#[test]
fn reuseport_shares_a_port_and_v6only_leaves_ipv4_to_another() {
    each(async || {
        let bound = |address: SocketAddr, prepare: &dyn Fn(&TcpSocket)| {
            let socket = socket(&address);
            prepare(&socket);
            socket.bind(address)?;
            socket.listen(8)
        };
        let share = |socket: &TcpSocket| socket.set_reuseport(true).unwrap();
        let one = bound(own_address(), &share).unwrap();
        let address = one.local_addr().unwrap();
        let two = bound(address, &share).unwrap();
        assert_eq!(bound(address, &|_| {}).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(two.local_addr().unwrap(), address);
        let only = |socket: &TcpSocket| socket.set_v6only(true).unwrap();
        let six = bound("[::]:0".parse().unwrap(), &only).unwrap();
        assert!(six.v6only().unwrap());
        let port = six.local_addr().unwrap().port();
        let refused = TcpStream::connect(("127.0.0.1", port)).await;
        assert!(refused.is_err(), "{refused:?}");
        TcpStream::connect(("::1", port)).await.unwrap();
        let both = |socket: &TcpSocket| socket.set_v6only(false).unwrap();
        let both = bound("[::]:0".parse().unwrap(), &both).unwrap();
        both.set_ttl(77).unwrap();
        let four = StdStream::connect(("127.0.0.1", both.local_addr().unwrap().port())).unwrap();
        let (stream, peer) = both.accept().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), peer, "an address of IPv4 inside one of IPv6");
        let own = four.local_addr().unwrap();
        assert_eq!((peer.ip().to_canonical(), peer.port()), (own.ip(), own.port()));
        let std = stream.into_std().unwrap();
        assert_eq!(std.ttl().unwrap(), 77, "IPv4 through a socket of IPv6 has it too");
    });
}

#[test]
fn an_adopted_socket_keeps_its_options_and_does_not_block() {
    each(async || {
        let target = StdListener::bind(own_address()).unwrap();
        let made = OwnedFd::from(TcpSocket::new_v4().unwrap());
        netpoll_rt::internal::sys::socket::set_nonblocking(made.as_fd(), false).unwrap();
        let socket = TcpSocket::from_fd(made).unwrap();
        assert!(socket.nodelay().unwrap());
        let stream = socket.connect(target.local_addr().unwrap()).await.unwrap();
        let probe = Probe::new();
        let mut read = Box::pin(read_once(&stream));
        assert!(probe.poll(read.as_mut()).is_pending(), "it is not blocking");
    });
}

/// The kernel says the same of a socket that has a peer already as of one that has just been connected.
#[test]
fn an_adopted_socket_with_another_peer_is_not_connected_to_the_one_that_is_asked_for() {
    each(async || {
        let [first, second] = [(); 2].map(|()| StdListener::bind(own_address()).unwrap());
        let [to_first, to_second] = [&first, &second].map(|target| target.local_addr().unwrap());
        let cause = |error: &std::io::Error| {
            let told: &OpError = error.get_ref()?.downcast_ref()?;
            told.raw_os_error()
        };
        let made = || std::net::TcpStream::connect(to_first).unwrap();
        let other = TcpSocket::from_fd(made().into()).unwrap().connect(to_second).await.unwrap_err();
        assert_eq!(cause(&other), netpoll_rt::internal::sys::socket::already_connected().raw_os_error());
        let listening = TcpSocket::from_fd(first.try_clone().unwrap().into()).unwrap();
        let listens = listening.connect(to_second).await.unwrap_err();
        assert_eq!(cause(&listens), netpoll_rt::internal::sys::socket::already_connected().raw_os_error());

        let stream = TcpSocket::from_fd(made().into()).unwrap().connect(to_first).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), to_first, "it was connected to that one");
    });
}

/// Returns the value of `net.ipv4.tcp_fastopen`: 1 allows the client's side, 2 the server's.
fn fastopen_allowed() -> u32 {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap().trim().parse().unwrap()
}

/// Returns the number of connections that came with data in the first packet: a field of TcpExt, whose names are one line
/// and whose numbers the next.
fn fast_opened() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("TcpExt:")).collect();
    let [names, numbers] = lines[..] else { panic!("{text}") };
    let place = names.split(' ').position(|name| name == "TCPFastOpenPassive").unwrap();
    numbers.split(' ').nth(place).unwrap().parse().unwrap()
}

#[test]
fn fast_open_or_a_connection_as_ever() {
    each(async || {
        for (address, peer_allows) in
            loopback().into_iter().flat_map(|address| [(address, false), (address, true)])
        {
            let listener = TcpListener::bind(address).await.unwrap();
            listener.set_fastopen(if peer_allows { 16 } else { 0 }).unwrap();
            let (to, before) = (listener.local_addr().unwrap(), fast_opened());
            // The first asks for the cookie, the others have it.
            for _ in 0..3 {
                let socket = socket(&to);
                assert_eq!(socket.set_fastopen_connect(true).is_ok(), fastopen_allowed() & 1 == 1);
                let client = socket.connect(to).await.unwrap();
                assert_eq!(client.peer_addr().unwrap(), to, "known before the handshake");
                let echo = spawn(async move {
                    client.write_all(b"request").await?;
                    read_once(&client).await
                });
                let (server, _) = listener.accept().await.unwrap();
                assert_eq!(read_once(&server).await.unwrap(), b"request");
                server.write_all(b"answer").await.unwrap();
                assert_eq!(echo.await.unwrap().unwrap(), b"answer");
            }
            let opened = fast_opened() - before;
            match fastopen_allowed() & 3 {
                3 if peer_allows => assert!(opened >= 2, "{opened} of 3 came with data"),
                3 => assert_eq!(opened, 0),
                allowed => println!("net.ipv4.tcp_fastopen is {allowed}: the connection is an ordinary one"),
            }
        }
    });
}
