//! The rows of listeners.

use std::cell::RefCell;
use std::io;
use std::net::{TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use futures_lite::StreamExt;
use netpoll_rt::net::{
    Interest, TcpListener, TcpStream, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream,
};

use super::byte_kinds::reset;
use super::bytes::row;
use super::ends::never;
use super::scene::{Dropped, Effect, End, Got, How, Kind, Later, Operation, Rest, Waits, operation};
use crate::common::{Probe, listener};
use crate::unix_support::own_name;

const ACCEPT: How = How::takes(Dropped::Again(Got::Connection, "no connection is lost"));

/// The clients.
#[derive(Default)]
pub struct Clients(RefCell<Vec<Rest>>);

impl End for Clients {
    fn close(&self) -> Later<'_, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn set_deadline(&self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }

    fn give(&self, bytes: &[u8]) -> io::Result<usize> {
        never(bytes)
    }

    fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        never(buffer)
    }
}

pub struct Tcp;

fn tcp_client(here: &TcpListener) -> StdTcpStream {
    StdTcpStream::connect(here.local_addr().unwrap()).unwrap()
}

impl Kind for Tcp {
    type Here = TcpListener;
    type Peer = Clients;

    fn stage() -> Later<'static, (TcpListener, Clients)> {
        Box::pin(async { (listener().await, Clients::default()) })
    }

    fn help(here: &TcpListener, peer: &Clients, _: Waits) {
        peer.0.borrow_mut().push(Box::new(tcp_client(here)));
    }

    fn close_peer(here: &TcpListener, _: Clients) -> Rest {
        drop(tcp_client(here));
        Box::new(())
    }

    fn reset_peer(here: &TcpListener, _: Clients) -> Rest {
        reset(TcpStream::from_std(tcp_client(here)).unwrap());
        Box::new(())
    }
}

macro_rules! unix {
    ($kind:ident, $listener:ident, $stream:ident) => {
        pub struct $kind;

        impl $kind {
            /// The queue has room, so it is connected at once.
            fn client(here: &$listener) -> $stream {
                let to = here.local_addr().unwrap();
                now(async move { $stream::connect_addr(&to).await })
            }
        }

        impl Kind for $kind {
            type Here = $listener;
            type Peer = Clients;
            const RESETS: Effect = Effect::None;

            fn stage() -> Later<'static, ($listener, Clients)> {
                Box::pin(async { ($listener::bind_addr(&own_name()).unwrap(), Clients::default()) })
            }

            fn help(here: &$listener, peer: &Clients, _: Waits) {
                peer.0.borrow_mut().push(Box::new(Self::client(here)));
            }

            fn close_peer(here: &$listener, _: Clients) -> Rest {
                drop(Self::client(here));
                Box::new(())
            }
        }
    };
}

unix!(Unix, UnixListener, UnixStream);
unix!(Packet, UnixSeqpacketListener, UnixSeqpacket);

/// Returns the output of a future that does not wait.
fn now<T>(future: impl Future<Output = io::Result<T>>) -> T {
    match Probe::new().poll(pin!(future)) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("it waits"),
    }
}

/// Checks with a call of std, which looks at the family only.
macro_rules! accept_with {
    ($listener:ty) => {
        |fd: BorrowedFd<'_>| <$listener>::from(fd.try_clone_to_owned()?).accept().map(|_| Got::Connection)
    };
}

macro_rules! accepts {
    ($kind:ty, $std:ty, $of:literal) => {
        vec![
            row!($kind, $of, "accept", ACCEPT, |it| it.accept().await.map(|_| Got::Connection)),
            row!($kind, $of, "incoming().next", ACCEPT, |it| {
                it.incoming().next().await.map(|_| Got::Connection)
            }),
            row!($kind, $of, "incoming().poll_next", ACCEPT.polled(), |it| {
                let next = StreamExt::next(&mut it.incoming()).await;
                next.expect("it has no end").map(|_| Got::Connection)
            }),
            row!($kind, $of, "with_io(Read, _)", ACCEPT, |it| it
                .with_io(Interest::Read, accept_with!($std))
                .await),
        ]
    };
}

pub fn all() -> Vec<Operation> {
    let mut all = accepts!(Tcp, StdTcpListener, "TcpListener");
    all.extend(accepts!(Unix, StdUnixListener, "UnixListener"));
    all.extend(accepts!(Packet, StdUnixListener, "UnixSeqpacketListener"));
    all
}
