//! Addresses in all forms that users write, and the errors for texts that are not addresses.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::common::*;
use netpoll_rt::net::{TcpListener, TcpStream, ToSocketAddrs};
use netpoll_rt::{OpError, spawn};

/// Runs a test as [`each`] does, for look-ups: a thread of the pool lets go of the task that it woke a moment after that has gone on, and
/// its runtime's descriptors are closed with the last reference to a task.
fn each_with_pool(body: impl AsyncFn()) {
    let _alone = alone();
    for workers in [1, 4] {
        let before = open_descriptors();
        let runtime = runtime(workers);
        let watch = Watch::over(runtime.handle().clone());
        runtime.block_on(body());
        drop(runtime);
        drop(watch);
        until_blocking("the pool has let go", || open_descriptors() == before);
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

async fn resolves(target: impl ToSocketAddrs, expected: &[SocketAddr]) {
    assert_eq!(target.to_socket_addrs().await.unwrap(), expected);
}

#[test]
fn numbers_are_read_where_they_are() {
    each(async || {
        let (v4, v6) = (address("127.0.0.1:80"), address("[::1]:80"));
        resolves(v4, &[v4]).await;
        resolves(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80), &[v4]).await;
        resolves(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0), &[v6]).await;
        resolves((IpAddr::V6(Ipv6Addr::LOCALHOST), 80), &[v6]).await;
        resolves((Ipv4Addr::LOCALHOST, 80), &[v4]).await;
        resolves((Ipv6Addr::LOCALHOST, 80), &[v6]).await;
        resolves("127.0.0.1:80", &[v4]).await;
        resolves("[::1]:80", &[v6]).await;
        resolves(String::from("[::1]:80"), &[v6]).await;
        resolves(("::1", 80), &[v6]).await;
        resolves((String::from("127.0.0.1"), 80), &[v4]).await;
    });
}

#[test]
fn several_addresses_keep_their_order() {
    each(async || {
        let several = [address("127.0.0.1:1"), address("[::1]:2"), address("127.0.0.1:1")];
        resolves(several, &several).await;
        resolves(&several, &several).await;
        resolves(&several[..], &several).await;
        resolves(several.to_vec(), &several).await;
        resolves(&several.to_vec(), &several).await;
        resolves([], &[]).await;
    });
}

#[test]
fn references_do_as_well() {
    each(async || {
        let v4 = address("127.0.0.1:80");
        resolves(&v4, &[v4]).await;
        resolves(&"127.0.0.1:80", &[v4]).await;
        resolves(&String::from("127.0.0.1:80"), &[v4]).await;
        resolves(&(String::from("127.0.0.1"), 80), &[v4]).await;
        resolves(&&(Ipv4Addr::LOCALHOST, 80), &[v4]).await;
    });
}

#[test]
fn a_name_is_looked_up_on_another_thread() {
    each_with_pool(async || {
        for target in ["localhost:80", "LOCALHOST:80"] {
            let found = target.to_socket_addrs().await.unwrap();
            assert!(!found.is_empty());
            assert!(
                found.iter().all(|address| address.ip().is_loopback() && address.port() == 80),
                "{found:?}"
            );
            let in_parts = ("localhost", 80).to_socket_addrs().await.unwrap();
            assert_eq!(found, in_parts);
        }
    });
}

#[test]
fn the_scope_of_a_link_local_address_is_kept() {
    each_with_pool(async || {
        let scoped = |port| SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, 1));
        resolves(scoped(80), &[scoped(80)]).await;
        resolves("[fe80::1%1]:80", &[scoped(80)]).await;
        // The first interface is the loopback one, on Linux.
        resolves("[fe80::1%lo]:81", &[scoped(81)]).await;
        resolves(("fe80::1%lo", 82), &[scoped(82)]).await;
        resolves((String::from("fe80::1%1"), 83), &[scoped(83)]).await;
        // It goes as far as the kernel, which knows that no such address is on that interface.
        let error = TcpStream::connect("[fe80::1%1]:80").await.unwrap_err();
        assert!(error.to_string().contains("[fe80::1%1]:80"), "{error}");
    });
}

/// Returns the message for a text that is no address.
async fn refused(text: &str) -> String {
    let error = text.to_socket_addrs().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let message = error.to_string();
    assert!(message.starts_with("resolve: ") && message.contains(text), "{message}");
    message
}

#[test]
fn a_text_that_is_no_address_is_told_what_is_missing() {
    each(async || {
        for text in ["", "example.org", "127.0.0.1", "[::1]", "[::1%lo]"] {
            assert!(refused(text).await.ends_with("the port is missing: write host:port"));
        }
        for text in ["example.org:", "example.org:http", "127.0.0.1:65536", "127.0.0.1:-1", "[::1]:x"] {
            assert!(refused(text).await.ends_with("the port is not a number from 0 to 65535"));
        }
        for text in [":80", "[]:80"] {
            assert!(refused(text).await.ends_with("the host is missing: write host:port"));
        }
        for text in ["::1:80", "fe80::1%lo:80"] {
            assert!(refused(text).await.ends_with("the host has colons: write [address]:port"));
        }
        // Every function that takes an address returns the same error.
        let error = TcpStream::connect("example.org").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = TcpListener::bind("example.org").await.unwrap_err();
        assert!(error.to_string().contains("the port is missing"), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

/// Returns the operation of an error, and whether the resolver's own words are its cause.
fn told(error: &io::Error) -> &'static str {
    let op = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>()).unwrap();
    assert!(op.source().is_some());
    op.op()
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    each_with_pool(async || {
        // No resolver is asked about a scope that no interface has, nor about a name with a null in it.
        for (host, port) in [("fe80::1%nowhere", 80), ("null\0inside", 81)] {
            let error = (host, port).to_socket_addrs().await.unwrap_err();
            assert!(error.to_string().contains(&format!("{host}:{port}: ")), "{error}");
            assert_eq!(told(&error), "resolve");
            let error = TcpStream::connect((host, port)).await.unwrap_err();
            assert!(error.to_string().contains(&format!("{host}:{port}: ")), "{error}");
            let error = TcpListener::bind((String::from(host), port)).await.unwrap_err();
            assert!(error.to_string().contains(&format!("{host}:{port}: ")), "{error}");
        }
    });
}

#[test]
fn no_address_at_all_is_told() {
    each(async || {
        let none: [SocketAddr; 0] = [];
        let error = TcpStream::connect(none).await.unwrap_err();
        assert_eq!((error.kind(), told(&error)), (ErrorKind::InvalidInput, "connect"));
        assert!(error.to_string().ends_with("no address was given"), "{error}");
        let error = TcpListener::bind(&none[..]).await.unwrap_err();
        assert_eq!((error.kind(), told(&error)), (ErrorKind::InvalidInput, "bind"));
    });
}

#[test]
fn a_look_up_that_is_dropped_goes_on_unheard() {
    each_with_pool(async || {
        for _ in 0..50 {
            let probe = Probe::new();
            let mut found = Box::pin("localhost:80".to_socket_addrs());
            let _ = probe.poll(found.as_mut());
        }
    });
}

#[test]
fn localhost_is_reached() {
    each_with_pool(async || {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(("localhost", address.port())).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        // Such futures move between threads.
        let connected = spawn(TcpStream::connect_timeout(format!("localhost:{}", address.port()), LIMIT));
        assert_eq!(connected.await.unwrap().unwrap().peer_addr().unwrap(), address);
    });
}
