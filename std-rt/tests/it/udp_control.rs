//! The values of a datagram's header: its addresses of this host, its interface, its traffic class with ECN.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::common::*;
use netpoll_rt::net::{Datagram, RecvBatch, UdpConfig, UdpSocket};

/// "Congestion experienced", with a DSCP.
const CLASS: u8 = 0x2b;

/// Returns a socket that reports all, or `None` where the system does not.
async fn reporting(address: &str) -> Option<UdpSocket> {
    let socket = UdpConfig::new().v6only(false).bind(address).await.unwrap();
    match socket.set_recv_packet_info(true) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert_eq!(socket.set_recv_traffic_class(true).unwrap_err().kind(), ErrorKind::Unsupported);
            socket.set_recv_packet_info(false).unwrap();
            return None;
        }
        Ok(()) => socket.set_recv_traffic_class(true).unwrap(),
    }
    Some(socket)
}

fn at(address: impl Into<IpAddr>, socket: &UdpSocket) -> SocketAddr {
    (address.into(), socket.local_addr().unwrap().port()).into()
}

#[test]
fn what_is_not_asked_for_is_not_told() {
    each(async || {
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        here.send_to(b"x", there.local_addr().unwrap()).await.unwrap();
        let mut batch = RecvBatch::new(2, 16);
        there.recv_batch(&mut batch).await.unwrap();
        let got = batch.get(0).unwrap();
        assert_eq!((got.destination(), got.interface(), got.traffic_class()), (None, None, None));
    });
}

#[test]
fn destination_interface_and_class_of_both_families() {
    each(async || {
        let v4 = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)].map(IpAddr::from);
        for (bound, client, targets) in [
            ("0.0.0.0:0", "127.0.0.1:0", &v4[..]),
            ("[::]:0", "[::1]:0", &[IpAddr::from(Ipv6Addr::LOCALHOST)]),
            // An IPv6 socket that carries IPv4.
            ("[::]:0", "127.0.0.1:0", &v4[..1]),
        ] {
            let Some(server) = reporting(bound).await else { return };
            let client = UdpSocket::bind(client).await.unwrap();
            let mut batch = RecvBatch::new(4, 16);
            for target in targets {
                let to = at(*target, &server);
                let sent = [Datagram::to(b"classed", to).traffic_class(CLASS), Datagram::to(b"plain", to)];
                assert_eq!(client.send_batch(&sent).await.unwrap(), 2);
                let mut seen = Vec::new();
                while seen.len() < 2 {
                    server.recv_batch(&mut batch).await.unwrap();
                    for got in &batch {
                        assert_eq!(got.destination().unwrap().to_canonical(), *target);
                        assert!(got.interface().unwrap() > 0);
                        seen.push((got.bytes().to_vec(), got.traffic_class().unwrap(), got.from()));
                    }
                }
                let classes: Vec<u8> = seen.iter().map(|(_, class, _)| *class).collect();
                assert_eq!(classes, [CLASS, 0], "{bound} from {target}");
                // The answer comes from the address that was asked.
                let answer = Datagram::to(b"answer", seen[0].2)
                    .from_address(batch.get(0).unwrap().destination().unwrap())
                    .traffic_class(1);
                assert_eq!(server.send_batch(&[answer]).await.unwrap(), 1);
                let (n, from) = client.recv_from(&mut [0; 16]).await.unwrap();
                assert_eq!((n, from), (6, to));
            }
        }
    });
}

#[test]
fn a_connected_socket_and_an_interface() {
    each(async || {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Some(server) = reporting(address).await else { return };
            let client = UdpSocket::bind(address).await.unwrap();
            client.connect(server.local_addr().unwrap()).await.unwrap();
            client.send_batch(&[Datagram::new(b"x").traffic_class(CLASS)]).await.unwrap();
            let mut batch = RecvBatch::new(1, 16);
            poll_fn(|cx| server.poll_recv_batch(cx, &mut batch)).await.unwrap();
            assert_eq!(batch.get(0).unwrap().traffic_class(), Some(CLASS));
            let interface = batch.get(0).unwrap().interface().unwrap();
            let through = [Datagram::new(b"y").from_interface(interface)];
            assert_eq!(poll_fn(|cx| client.poll_send_batch(cx, &through)).await.unwrap(), 1);
            server.recv_batch(&mut batch).await.unwrap();
            assert_eq!(batch.get(0).unwrap().bytes(), b"y");
            // No such interface, and an address of another host.
            let nowhere = client.send_batch(&[Datagram::new(b"z").from_interface(u32::MAX / 2)]).await;
            nowhere.unwrap_err();
            let foreign: IpAddr = if address.starts_with('[') {
                "2001:db8::1".parse().unwrap()
            } else {
                Ipv4Addr::new(192, 0, 2, 1).into()
            };
            client.send_batch(&[Datagram::new(b"z").from_address(foreign)]).await.unwrap_err();
        }
    });
}

#[test]
fn a_system_without_control_messages_refuses_them() {
    each(async || {
        if reporting("127.0.0.1:0").await.is_some() {
            return;
        }
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = client.local_addr().unwrap();
        let error = client.send_batch(&[Datagram::to(b"x", to).traffic_class(1)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        client.send_batch(&[Datagram::to(b"x", to)]).await.unwrap();
    });
}

#[test]
fn joined_segments_have_a_class_too() {
    each(async || {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Some(server) = reporting(address).await else { return };
            if server.set_gro(true).is_err() {
                return;
            }
            let client = UdpSocket::bind(address).await.unwrap();
            client.set_traffic_class(CLASS).unwrap();
            client.send_segments(&[7; 4000], 1000, Some(server.local_addr().unwrap())).await.unwrap();
            let mut batch = RecvBatch::new(4, 65_535);
            let mut count = 0;
            while count < 4 {
                server.recv_batch(&mut batch).await.unwrap();
                for got in &batch {
                    assert_eq!(got.traffic_class(), Some(CLASS));
                    assert_eq!(got.destination(), Some(server.local_addr().unwrap().ip()));
                    count += got.segments().count();
                }
            }
            assert_eq!(count, 4);
        }
    });
}

#[test]
fn a_device() {
    each(async || {
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        match here.bind_device(Some("lo")) {
            Err(error) if error.kind() == ErrorKind::Unsupported => return,
            bound => bound.unwrap(),
        }
        assert_eq!(here.device().unwrap().as_deref(), Some("lo"));
        here.send_to(b"x", there.local_addr().unwrap()).await.unwrap();
        assert_eq!(there.recv(&mut [0; 4]).await.unwrap(), 1);
        assert!(here.bind_device(Some("no-such-device0")).is_err());
    });
}

/// A datagram that cannot be sent is the next call's, also if its header is at fault.
#[test]
fn a_batch_ends_before_a_datagram_without_a_destination() {
    each(async || {
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        if here.set_recv_packet_info(true).is_err() {
            return;
        }
        let to = there.local_addr().unwrap();
        let batch = [Datagram::to(b"sent", to), Datagram::new(b"lost").traffic_class(CLASS)];
        assert_eq!(here.send_batch(&batch).await.unwrap(), 1);
        let mut buffer = [0; 8];
        assert_eq!(there.recv(&mut buffer).await.unwrap(), 4);
        assert!(here.send_batch(&batch[1..]).await.is_err());
    });
}
