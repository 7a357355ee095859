//! Connecting to one of several addresses: the plan in virtual time, the race with simulated attempts, and the whole with
//! sockets.

mod config;
mod plan;
mod race;

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::net::connect::plan::DELAY;
use netpoll_rt::net::connect::retry_self_connect;
use netpoll_rt::net::{AddressErrors, TcpListener, TcpSocket, TcpStream};
use netpoll_rt::{OpError, spawn, yield_now};

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const FOUR: [&str; 4] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A listener whose queue is full: the kernel drops the handshake, and a connect hangs for minutes.
struct Hanging {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>>,
}

impl Hanging {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| {
            let mut connect: Pin<Box<dyn Future<Output = _>>> =
                Box::pin(TcpSocket::new_v4().unwrap().connect(address));
            let _ = Probe::new().poll(connect.as_mut());
            connect
        };
        Self { address, _listener: listener, _queue: (0..2).map(connect).collect() }
    }
}

/// Returns a port of this machine that was free a moment ago.
fn closed_port() -> SocketAddr {
    StdListener::bind(own_address()).unwrap().local_addr().unwrap()
}

#[test]
fn the_second_address_is_used_at_once_when_the_first_is_refused() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        // time is tested
        takes_less_than(DELAY, async || {
            let stream = TcpStream::connect(&[closed_port(), address]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
        })
        .await;
    });
}

#[test]
fn the_second_address_is_used_after_250_ms_when_the_first_hangs() {
    each(async || {
        let (listener, hanging) = (listener().await, Hanging::new());
        let address = listener.local_addr().unwrap();
        let before = open_descriptors().len();
        let start = Instant::now();
        let stream = TcpStream::connect([hanging.address, address]).await.unwrap();
        // time is tested
        assert!(start.elapsed() >= DELAY && start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert_eq!(open_descriptors().len(), before + 1, "the loser's socket is closed");
        drop(listener.accept().await.unwrap());
    });
}

#[test]
fn all_addresses_fail_and_the_error_tells_of_all() {
    each(async || {
        let closed = [closed_port(), closed_port(), closed_port()];
        let error = TcpStream::connect(closed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert!(text.starts_with("connect: 3 addresses failed: "), "{text}");
        let places = closed.map(|address| text.find(&address.to_string()).unwrap());
        assert!(places.is_sorted(), "{text}");
        for ((address, error), closed) in AddressErrors::of(&error).unwrap().iter().zip(closed) {
            let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
            assert_eq!((address, op.op()), (closed, "connect"));
            assert!(op.raw_os_error().is_some());
        }
        // The chain leads from the operation to the list, and on to the first address.
        let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        let list = op.source().unwrap();
        assert!(list.to_string().starts_with("3 addresses failed"), "{list}");
        assert!(list.source().unwrap().to_string().contains(&closed[0].to_string()));
        // A single one has no list.
        let error = TcpStream::connect(&closed[..1]).await.unwrap_err();
        assert!(AddressErrors::of(&error).is_none());
        assert!(error.to_string().starts_with(&format!("connect {}", closed[0])), "{error}");
    });
}

#[test]
fn a_deadline_names_the_operation_and_the_addresses() {
    each(async || {
        let hanging = Hanging::new();
        let before = open_descriptors();
        let start = Instant::now();
        let error = TcpStream::connect_timeout(hanging.address, ms(30)).await.unwrap_err();
        // time is tested
        assert!(start.elapsed() >= ms(30) && start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), format!("connect {}: the deadline has passed", hanging.address));
        let two = [hanging.address, hanging.address];
        let error = TcpStream::connect_deadline(two, start + ms(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string().matches(&hanging.address.to_string()).count(), 2, "{error}");
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_deadline_in_the_past_fires_at_once_and_one_far_away_never() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        for target in [&[address][..], &[address, address]] {
            let late = TcpStream::connect_deadline(target, past().unwrap()).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            assert!(late.to_string().contains(&address.to_string()), "{late}");
            let stream = TcpStream::connect_timeout(target, Duration::MAX).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
            let far = Instant::now() + Duration::from_secs(1 << 32);
            TcpStream::connect_deadline(target, far).await.unwrap();
            drop(listener.accept().await.unwrap());
            drop(listener.accept().await.unwrap());
        }
        let late = TcpStream::connect_timeout("localhost:80", Duration::ZERO).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        assert!(late.to_string() == "resolve: localhost:80: the deadline has passed", "{late}");
        listener.set_deadline(past()).unwrap();
        assert_timed_out(listener.accept().await.map(drop));
    });
}

#[test]
fn the_stream_of_a_connect_with_a_deadline_has_none() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect_timeout([address, address], ms(1000)).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        // time is tested
        netpoll_rt::time::sleep(ms(1050)).await;
        stream.write_all(b"late").await.unwrap();
        assert_eq!(read_once(&peer).await.unwrap(), b"late");
    });
}

// Case E09.
#[test]
fn closed_ports_fail_fast() {
    each(async || {
        // time is tested
        takes_less_than(DELAY, async || {
            for _ in 0..5 {
                let closed = [closed_port(), closed_port()];
                let error = TcpStream::connect(closed).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            }
        })
        .await;
    });
}

// Case E10.
#[test]
fn races_that_are_dropped_leave_nothing() {
    each(async || {
        let listener = TcpListener::bind(own_address()).await.unwrap();
        let hanging = Hanging::new();
        let targets = [closed_port(), hanging.address, listener.local_addr().unwrap()];
        let probe = Probe::new();
        let before = open_descriptors();
        for round in 0..2000 {
            let order = [0, 1, 2].map(|place| targets[(place + round) % 3]);
            let mut connect = Box::pin(TcpStream::connect(order));
            for _ in 0..round % 5 {
                if probe.poll(connect.as_mut()).is_ready() {
                    break;
                }
                yield_now().await;
            }
            drop(connect);
            // The connections that reached the backlog are taken out, so that it does not fill.
            while Probe::new().poll(Box::pin(listener.accept()).as_mut()).is_ready() {}
        }
        assert_eq!(open_descriptors(), before);
        let address = listener.local_addr().unwrap();
        listener.close().await.unwrap();
        assert!(TcpStream::connect([address, address]).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_listener_of_one_family_is_reached_by_a_name_of_both() {
    each(async || {
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(bound).await.unwrap();
            let address = listener.local_addr().unwrap();
            // As a resolver says it, in either order.
            let both = [[127, 0, 0, 1].into(), IpAddr::from(Ipv6Addr::LOCALHOST)]
                .map(|ip: IpAddr| SocketAddr::new(ip, address.port()));
            for order in [both, [both[1], both[0]]] {
                let stream = TcpStream::connect(order).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), address);
                drop(listener.accept().await.unwrap());
            }
        }
    });
}

#[test]
fn bind_takes_the_first_address_that_works_and_tells_of_all_that_do_not() {
    each(async || {
        let taken = listener().await.local_addr().unwrap();
        let holder = TcpListener::bind(taken).await.unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let second = TcpListener::bind([taken, free]).await.unwrap();
        assert_ne!(second.local_addr().unwrap(), taken);
        let nowhere = "192.0.2.1:0".parse().unwrap();
        let error = TcpListener::bind(&[taken, nowhere][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "that of the first");
        let kinds: Vec<_> = AddressErrors::of(&error).unwrap().iter().map(|(_, e)| e.kind()).collect();
        assert_eq!(kinds, [ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable]);
        assert!(error.to_string().starts_with("bind: 2 addresses failed: 127.0.0.1:"), "{error}");
        drop(holder);
    });
}

/// Returns a socket that connects to the very port that it has: both ends are the same.
async fn self_connected(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let stream = socket.connect(address).await?;
    assert_eq!((stream.local_addr()?, stream.peer_addr()?), (address, address));
    Ok(stream)
}

/// Returns the results of the dials, which are numbered from 1, and the number of dials.
async fn redials<F: Future<Output = io::Result<TcpStream>>>(
    address: SocketAddr,
    dial: impl Fn(usize) -> F,
) -> (io::Result<TcpStream>, usize) {
    let mut dials = 0;
    let dialed = retry_self_connect(&address, || {
        dials += 1;
        dial(dials)
    });
    let result = dialed.await;
    (result, dials)
}

#[test]
fn a_socket_that_met_itself_is_dialed_again() {
    each(async || {
        let address = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (result, dials) = redials(address, |_| self_connected(address)).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), dials), (ErrorKind::ConnectionRefused, 3));
        assert!(error.to_string().starts_with(&format!("connect {address}: ")), "{error}");
        let listener = RefCell::new(None);
        let (result, dials) = redials(address, async |dial| {
            if dial < 3 {
                return self_connected(address).await;
            }
            listener.replace(Some(TcpListener::bind(address).await?));
            TcpStream::connect(address).await
        })
        .await;
        let stream = result.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), dials), (address, 3));
        assert_ne!(stream.local_addr().unwrap(), address);
    });
}

#[test]
fn a_port_that_was_lost_is_no_reason_to_give_up() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let fails = |kind: ErrorKind| {
            move |dial| async move { if dial < 3 { Err(kind.into()) } else { TcpStream::connect(address).await } }
        };
        let (result, dials) = redials(address, fails(ErrorKind::AddrNotAvailable)).await;
        assert_eq!((result.unwrap().peer_addr().unwrap(), dials), (address, 3));
        let (result, dials) = redials(address, fails(ErrorKind::ConnectionRefused)).await;
        assert_eq!((result.unwrap_err().kind(), dials), (ErrorKind::ConnectionRefused, 1));
        let never = async |_| Err(ErrorKind::AddrNotAvailable.into());
        let (result, dials) = redials(address, never).await;
        assert_eq!((result.unwrap_err().kind(), dials), (ErrorKind::AddrNotAvailable, 3));
    });
}

#[test]
fn a_connect_may_move_between_threads() {
    each(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let one = spawn(async move { TcpStream::connect_timeout([address, address], LIMIT).await });
        let two = spawn(TcpStream::connect(vec![closed_port(), address]));
        for stream in [one.await.unwrap(), two.await.unwrap()] {
            assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
        }
    });
}
