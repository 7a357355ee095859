//! UDP: options, groups and broadcast.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::common::*;
use netpoll_rt::OpError;
use netpoll_rt::net::{UdpConfig, UdpSocket};

async fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer).await.unwrap();
    buffer[..n].to_vec()
}

#[test]
fn what_is_set_is_told() {
    each(async || {
        let four = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for on in [true, false] {
            four.set_broadcast(on).unwrap();
            four.set_multicast_loop_v4(on).unwrap();
            assert_eq!((four.broadcast().unwrap(), four.multicast_loop_v4().unwrap()), (on, on));
        }
        four.set_ttl(7).unwrap();
        four.set_multicast_ttl_v4(8).unwrap();
        four.set_traffic_class(0xb8).unwrap();
        assert_eq!((four.ttl().unwrap(), four.multicast_ttl_v4().unwrap()), (7, 8));
        assert_eq!(four.traffic_class().unwrap(), 0xb8);
        four.set_multicast_if_v4(Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(four.multicast_if_v4().unwrap(), Ipv4Addr::LOCALHOST);
        four.set_recv_buffer_size(1 << 16).unwrap();
        four.set_send_buffer_size(1 << 15).unwrap();
        assert!(four.recv_buffer_size().unwrap() >= 1 << 16);
        assert!(four.send_buffer_size().unwrap() >= 1 << 15);

        let six = UdpSocket::bind("[::1]:0").await.unwrap();
        for on in [false, true] {
            six.set_multicast_loop_v6(on).unwrap();
            assert_eq!(six.multicast_loop_v6().unwrap(), on);
        }
        six.set_multicast_hops_v6(9).unwrap();
        six.set_multicast_if_v6(1).unwrap();
        six.set_ttl(10).unwrap();
        six.set_traffic_class(0x20).unwrap();
        assert_eq!((six.multicast_hops_v6().unwrap(), six.multicast_if_v6().unwrap()), (9, 1));
        assert_eq!((six.ttl().unwrap(), six.traffic_class().unwrap()), (10, 0x20));
        assert!(four.take_error().unwrap().is_none());
    });
}

#[test]
fn a_value_that_the_kernel_does_not_take() {
    each(async || {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let error = socket.set_multicast_ttl_v4(256).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let told: &OpError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!(told.op(), "set_multicast_ttl_v4");
        assert_eq!(told.local().unwrap().ip(), Some(socket.local_addr().unwrap()));
        // No group.
        let error = socket.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn sockets_that_share_a_port() {
    each(async || {
        let shared = UdpConfig::new().reuseport(true);
        let one = shared.bind("127.0.0.1:0").await.unwrap();
        let address = one.local_addr().unwrap();
        let two = shared.bind(address).await.unwrap();
        assert_eq!(two.local_addr().unwrap(), address);
        let error = UdpSocket::bind(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "one that does not share");
        // Each sender has one of the two to itself.
        let (mut at_one, mut at_two) = (0, 0);
        for _ in 0..64 {
            let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            sender.send_to(b"x", address).await.unwrap();
            match one.try_recv(&mut [0]) {
                Ok(_) => at_one += 1,
                Err(_) => at_two += two.recv(&mut [0]).await.unwrap(),
            }
        }
        assert!(at_one > 0 && at_two > 0, "{at_one} and {at_two}");
    });
}

#[test]
fn buffers_from_the_start() {
    each(async || {
        let plain = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config = UdpConfig::new().recv_buffer_size(1 << 14).send_buffer_size(1 << 14);
        let small = config.bind("127.0.0.1:0").await.unwrap();
        assert!(small.recv_buffer_size().unwrap() < plain.recv_buffer_size().unwrap());
        assert!(small.send_buffer_size().unwrap() < plain.send_buffer_size().unwrap());
    });
}

#[test]
fn the_sixth_version_with_the_fourth_and_without() {
    each(async || {
        let both = UdpConfig::new().v6only(false).bind("[::]:0").await.unwrap();
        assert!(!both.v6only().unwrap());
        let port = both.local_addr().unwrap().port();
        let four = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        four.send_to(b"from four", ("127.0.0.1", port)).await.unwrap();
        let mut buffer = [0; 64];
        let (n, from) = both.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..n], b"from four");
        let mapped =
            SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), four.local_addr().unwrap().port());
        assert_eq!(from, mapped);
        both.send_to(b"back", from).await.unwrap();
        assert_eq!(received(&four).await, b"back");
        // Alone it leaves the port to a socket of IPv4.
        let six = UdpConfig::new().v6only(true).bind("[::]:0").await.unwrap();
        assert!(six.v6only().unwrap());
        UdpSocket::bind(("0.0.0.0", six.local_addr().unwrap().port())).await.unwrap();
    });
}

#[test]
fn broadcast_needs_leave() {
    each(async || {
        let here = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let everybody = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let to = SocketAddr::from(([127, 255, 255, 255], everybody.local_addr().unwrap().port()));
        let error = here.send_to(b"to all", to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        here.set_broadcast(true).unwrap();
        here.send_to(b"to all", to).await.unwrap();
        assert_eq!(received(&everybody).await, b"to all");
    });
}

#[test]
fn a_group_of_the_fourth_version() {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 88);
    each(async || {
        let lo = Ipv4Addr::LOCALHOST;
        let config = UdpConfig::new().reuseaddr(true);
        let first = config.bind((GROUP, 0)).await.unwrap();
        let to = SocketAddr::new(GROUP.into(), first.local_addr().unwrap().port());
        let second = config.bind(to).await.unwrap();
        first.join_multicast_v4(&GROUP, &lo).unwrap();
        second.join_multicast_v4(&GROUP, &lo).unwrap();
        assert_eq!(first.join_multicast_v4(&GROUP, &lo).unwrap_err().kind(), ErrorKind::AddrInUse);
        let here = UdpSocket::bind((lo, 0)).await.unwrap();
        here.set_multicast_if_v4(lo).unwrap();
        here.send_to(b"to both", to).await.unwrap();
        assert_eq!(received(&first).await, b"to both");
        assert_eq!(received(&second).await, b"to both");
        first.leave_multicast_v4(&GROUP, &lo).unwrap();
        assert_eq!(first.leave_multicast_v4(&GROUP, &lo).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        here.send_to(b"again", to).await.unwrap();
        assert_eq!(received(&second).await, b"again", "who stayed");
    });
}

#[test]
fn a_group_of_the_sixth_version() {
    /// Stays on the interface; that of `lo` is the first.
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x77, 0x88);
    each(async || {
        let there = UdpSocket::bind("[::]:0").await.unwrap();
        there.join_multicast_v6(&GROUP, 1).unwrap();
        let here = UdpSocket::bind("[::1]:0").await.unwrap();
        here.set_multicast_if_v6(1).unwrap();
        match here.send_to(b"to six", (GROUP, there.local_addr().unwrap().port())).await {
            Ok(_) => assert_eq!(received(&there).await, b"to six"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
                println!(
                    "nothing was sent: this host has no route for groups on its first interface: {error}"
                );
            }
        }
        assert_eq!(there.join_multicast_v6(&GROUP, 1).unwrap_err().kind(), ErrorKind::AddrInUse);
        there.leave_multicast_v6(&GROUP, 1).unwrap();
        assert_eq!(there.leave_multicast_v6(&GROUP, 1).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    });
}
