//! UDP: one datagram at a time.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use crate::common::*;
use netpoll_rt::net::{AddressErrors, UdpSocket};
use netpoll_rt::{Handle, OpError, spawn};

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Returns two sockets, each the other's peer.
async fn connected() -> (Arc<UdpSocket>, Arc<UdpSocket>) {
    let (a, b) = (socket().await, socket().await);
    a.connect(b.local_addr().unwrap()).await.unwrap();
    b.connect(a.local_addr().unwrap()).await.unwrap();
    (Arc::new(a), Arc::new(b))
}

async fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer).await.unwrap();
    buffer[..n].to_vec()
}

#[test]
fn there_and_back_with_addresses() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let mut buffer = [0; 64];
        assert_eq!(here.send_to(b"ping", there.local_addr().unwrap()).await.unwrap(), 4);
        let (n, from) = there.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..n], from), (&b"ping"[..], here.local_addr().unwrap()));
        assert_eq!(there.send_to(b"pong!", from).await.unwrap(), 5);
        let (n, from) = here.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..n], from), (&b"pong!"[..], there.local_addr().unwrap()));
    });
}

#[test]
fn the_sixth_version() {
    each(async || {
        let (here, there) =
            (UdpSocket::bind("[::1]:0").await.unwrap(), UdpSocket::bind(("::1", 0)).await.unwrap());
        let to = there.local_addr().unwrap();
        assert!(to.is_ipv6());
        here.send_to(b"six", to).await.unwrap();
        let mut buffer = [0; 64];
        let (n, from) = there.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..n], from), (&b"six"[..], here.local_addr().unwrap()));
        there.connect(from).await.unwrap();
        there.send(b"back").await.unwrap();
        assert_eq!(received(&here).await, b"back");
    });
}

#[test]
fn an_address_in_every_form() {
    each(async || {
        let (here, there) = (socket().await, socket().await);
        let to = there.local_addr().unwrap();
        here.send_to(b"text", to.to_string()).await.unwrap();
        here.send_to(b"parts", (to.ip(), to.port())).await.unwrap();
        here.send_to(b"parts of text", ("127.0.0.1", to.port())).await.unwrap();
        for expected in [&b"text"[..], b"parts", b"parts of text"] {
            assert_eq!(received(&there).await, expected);
        }
        let error = here.send_to(b"x", "127.0.0.1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let error = here.send_to(b"x", Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    });
}

/// Stands in for [`each`]: a thread of the pool lets go of the task that it woke a moment after that has gone on, and a runtime's
/// descriptors are closed with the last reference to a task.
#[test]
fn a_name_is_looked_up() {
    let _alone = alone();
    for workers in [1, 4] {
        let before = open_descriptors();
        runtime(workers).block_on(async {
            let (here, there) = (socket().await, socket().await);
            // Its first address may be one of IPv6, which this socket could not send to.
            here.send_to(b"name", ("localhost", there.local_addr().unwrap().port())).await.unwrap();
            assert_eq!(received(&there).await, b"name");
        });
        until_blocking("the pool has let go", || open_descriptors() == before);
    }
}

#[test]
fn only_the_peer_is_heard() {
    each(async || {
        let (a, b) = connected().await;
        assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
        let stranger = socket().await;
        stranger.send_to(b"stranger", a.local_addr().unwrap()).await.unwrap();
        b.send(b"peer").await.unwrap();
        assert_eq!(received(&a).await, b"peer");
        assert_eq!(a.try_recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
        // A new peer.
        a.connect(stranger.local_addr().unwrap()).await.unwrap();
        stranger.send_to(b"heard", a.local_addr().unwrap()).await.unwrap();
        assert_eq!(received(&a).await, b"heard");
        assert_eq!(stranger.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn what_never_waits() {
    each(async || {
        let (a, b) = connected().await;
        let mut buffer = [0; 64];
        assert_eq!(b.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(b.try_recv_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(a.try_send(b"one").unwrap(), 3);
        assert_eq!(a.try_send_to(b"three", b.local_addr().unwrap()).unwrap(), 5);
        b.readable().await.unwrap();
        assert_eq!(b.try_recv(&mut buffer).unwrap(), 3);
        b.readable().await.unwrap();
        assert_eq!(b.try_recv_from(&mut buffer).unwrap(), (5, a.local_addr().unwrap()));
        a.writable().await.unwrap();
        let waits = spawn({
            let b = b.clone();
            async move { b.readable().await }
        });
        parked(1).await;
        a.send(b"wakes").await.unwrap();
        waits.await.unwrap().unwrap();
        assert_eq!(b.try_recv(&mut buffer).unwrap(), 5);
    });
}

#[test]
fn a_look_leaves_it_there() {
    each(async || {
        let (a, b) = connected().await;
        let look = spawn({
            let b = b.clone();
            async move { b.peek(&mut [0; 4]).await }
        });
        parked(1).await;
        a.send(b"whole").await.unwrap();
        assert_eq!(look.await.unwrap().unwrap(), 4, "what there was room for");
        let mut buffer = [0; 64];
        assert_eq!(b.peek_from(&mut buffer).await.unwrap(), (5, a.local_addr().unwrap()));
        assert_eq!(received(&b).await, b"whole");
        assert_eq!(b.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn what_is_longer_than_the_buffer_is_cut() {
    each(async || {
        let (a, b) = connected().await;
        a.send(b"longer").await.unwrap();
        a.send(b"next").await.unwrap();
        let mut buffer = [0; 4];
        assert_eq!(b.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"long");
        assert_eq!(received(&b).await, b"next", "the rest is lost");
        let error = a.send(&[0; 70_000]).await.unwrap_err();
        assert_eq!(error.raw_os_error().or(inner(&error).raw_os_error()), Some(90), "EMSGSIZE: {error}");
    });
}

// Case D07.
#[test]
fn empty_datagram() {
    each(async || {
        let (a, b) = connected().await;
        for _ in 0..2 {
            a.send(b"").await.unwrap();
            a.send(b"next").await.unwrap();
            assert_eq!(received(&b).await, b"");
            assert_eq!(received(&b).await, b"next");
        }
        // For one that waits already.
        let waits = spawn({
            let b = b.clone();
            async move { received(&b).await }
        });
        parked(1).await;
        a.send(b"").await.unwrap();
        assert_eq!(waits.await.unwrap(), b"");
    });
}

// Case D07.
#[test]
fn empty_buffer() {
    each(async || {
        let (a, b) = connected().await;
        let waits = spawn({
            let b = b.clone();
            async move { b.recv(&mut []).await }
        });
        // Unlike a stream it waits: it takes one datagram.
        parked(1).await;
        a.send(b"taken").await.unwrap();
        assert_eq!(waits.await.unwrap().unwrap(), 0);
        a.send(b"next").await.unwrap();
        assert_eq!(received(&b).await, b"next");
    });
}

// Case D08.
#[test]
fn nothing_is_not_the_end() {
    each(async || {
        let (a, b) = connected().await;
        for round in 0..3 {
            a.send(b"").await.unwrap();
            assert_eq!(received(&b).await, b"", "round {round}");
        }
        let waits = spawn({
            let b = b.clone();
            async move { received(&b).await }
        });
        parked(1).await;
        a.send(b"still open").await.unwrap();
        assert_eq!(waits.await.unwrap(), b"still open");
    });
}

fn inner(error: &std::io::Error) -> &OpError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of an operation")
}

#[test]
fn an_unbound_port_is_reported_once() {
    each(async || {
        let a = Arc::new(UdpSocket::bind(own_address()).await.unwrap());
        let gone = UdpSocket::bind(own_address()).await.unwrap();
        let nobody = gone.local_addr().unwrap();
        gone.close().await.unwrap();
        a.connect(nobody).await.unwrap();
        // The next call, whichever.
        a.send(b"into the void").await.unwrap();
        let error = a.recv(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let told = inner(&error);
        assert_eq!((told.op(), told.peer().and_then(|peer| peer.ip())), ("recv", Some(nobody)));
        assert_eq!(a.try_recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock, "once");
        a.send(b"again").await.unwrap();
        assert_eq!(a.send(b"told").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        a.send(b"again").await.unwrap();
        let queued = a.take_error().unwrap().expect("an error waits");
        assert_eq!(queued.kind(), ErrorKind::ConnectionRefused);
        // One that waits.
        let waits = spawn({
            let a = a.clone();
            async move { a.recv(&mut [0; 64]).await }
        });
        parked(1).await;
        a.send(b"again").await.unwrap();
        assert_eq!(waits.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // The socket is as good as before.
        let late = UdpSocket::bind(nobody).await.unwrap();
        a.send(b"somebody").await.unwrap();
        assert_eq!(received(&late).await, b"somebody");
    });
}

#[test]
fn errors_say_where_to() {
    each(async || {
        let here = socket().await;
        let local = here.local_addr().unwrap();
        let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for error in
            [here.send_to(b"x", nowhere).await.unwrap_err(), here.try_send_to(b"x", nowhere).unwrap_err()]
        {
            let told = inner(&error);
            assert_eq!(told.op(), "send_to");
            assert_eq!(told.local().and_then(|a| a.ip()), Some(local));
            assert_eq!(told.peer().and_then(|a| a.ip()), Some(nowhere));
            assert_eq!(told.fd(), Some(here.as_fd().as_raw_fd()));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        let error = here.send(b"x").await.unwrap_err();
        assert_eq!((inner(&error).op(), inner(&error).raw_os_error()), ("send", Some(89)), "EDESTADDRREQ");
        let six: SocketAddr = "[::1]:9".parse().unwrap();
        let error = here.connect(six).await.unwrap_err();
        assert_eq!(inner(&error).peer().and_then(|a| a.ip()), Some(six), "{error}");
    });
}

#[test]
fn bind_tries_each_address() {
    each(async || {
        let first = UdpSocket::bind(own_address()).await.unwrap();
        let taken = first.local_addr().unwrap();
        let error = UdpSocket::bind(taken).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!((inner(&error).op(), inner(&error).local().unwrap().ip()), ("bind", Some(taken)));
        let second = UdpSocket::bind([taken, own_address()]).await.unwrap();
        assert_ne!(second.local_addr().unwrap(), taken);
        let error = UdpSocket::bind([taken, second.local_addr().unwrap()]).await.unwrap_err();
        let all = AddressErrors::of(&error).expect("there were two");
        assert_eq!(
            all.iter().map(|(address, _)| address).collect::<Vec<_>>(),
            [taken, second.local_addr().unwrap()]
        );
    });
}

#[test]
fn a_socket_of_std_and_back() {
    each(async || {
        let std = StdSocket::bind("127.0.0.1:0").unwrap();
        let (address, number) = (std.local_addr().unwrap(), std.as_raw_fd());
        let before = Handle::try_current().unwrap().metrics().descriptors;
        let ours = UdpSocket::from_std(std).unwrap();
        assert_eq!(ours.local_addr().unwrap(), address);
        let other = StdSocket::bind("127.0.0.1:0").unwrap();
        uninterrupted(|| other.send_to(b"to ours", address)).unwrap();
        assert_eq!(received(&ours).await, b"to ours");
        let std = ours.into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number, "the very same number");
        assert_eq!(Handle::try_current().unwrap().metrics().descriptors, before);
        let nothing = uninterrupted(|| std.recv(&mut [0])).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "still non-blocking");
        std.set_nonblocking(false).unwrap();
        uninterrupted(|| other.send_to(b"to std", address)).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(uninterrupted(|| std.recv(&mut buffer)).unwrap(), 6);

        let ours = UdpSocket::from_std(std).unwrap();
        ours.close().await.unwrap();
        assert_closed(ours.into_std());
    });
}

#[test]
fn a_second_descriptor_for_the_same_port() {
    each(async || {
        let (a, b) = connected().await;
        let second = Arc::new(b.dup().unwrap());
        assert_eq!(second.local_addr().unwrap(), b.local_addr().unwrap());
        b.set_read_deadline(past()).unwrap();
        assert_timed_out(b.recv(&mut [0]).await);
        let waits = spawn({
            let second = second.clone();
            async move { received(&second).await }
        });
        parked(1).await;
        b.close().await.unwrap();
        a.send(b"still there").await.unwrap();
        assert_eq!(waits.await.unwrap(), b"still there");
        assert_closed(b.dup());
    });
}
