//! The meaning of a receive of 0 bytes. Go decides by the kind of socket whether a count of 0 without an error is the end;
//! these are the same twelve rows, as far as they can reach a user here.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::common::*;
use netpoll_rt::is_closed;
use netpoll_rt::net::{TcpStream, UdpSocket};

/// The event after the first receive, or in its place.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// The peer is closed.
    End,
    /// The socket itself is closed, by this program.
    Closed,
}

/// The result of a receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gives {
    Bytes(usize),
    /// 0, and 0 again.
    End,
    /// 0 that is a message, with nothing behind it.
    Empty,
    Waits,
    Closed,
}

use Gives::{Bytes, Closed, Empty, Waits};

/// A row: whether 0 is an end, the bytes that are sent, the event after them, the results of two receives. A stream cannot
/// send 0 bytes: that is the end, as the kernel has it.
type Row = (bool, usize, Then, [Gives; 2]);

const ROWS: [Row; 12] = [
    (true, 100, Then::Nothing, [Bytes(100), Waits]),
    (true, 100, Then::End, [Bytes(100), Gives::End]),
    (true, 100, Then::Closed, [Closed, Closed]),
    (true, 0, Then::Nothing, [Gives::End, Gives::End]),
    (true, 0, Then::End, [Gives::End, Gives::End]),
    (true, 0, Then::Closed, [Closed, Closed]),
    (false, 100, Then::Nothing, [Bytes(100), Waits]),
    (false, 100, Then::End, [Bytes(100), Waits]),
    (false, 100, Then::Closed, [Closed, Closed]),
    (false, 0, Then::Nothing, [Empty, Waits]),
    (false, 0, Then::End, [Empty, Waits]),
    (false, 0, Then::Closed, [Closed, Closed]),
];

/// A socket of either kind.
#[derive(Clone)]
enum Socket {
    Stream(Arc<TcpStream>),
    Datagram(Arc<UdpSocket>),
}

impl Socket {
    async fn pair(is_stream: bool) -> (Self, Self) {
        if is_stream {
            let (here, peer) = pair().await;
            return (Socket::Stream(here), Socket::Stream(peer));
        }
        let here = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        here.connect(peer.local_addr().unwrap()).await.unwrap();
        peer.connect(here.local_addr().unwrap()).await.unwrap();
        (Socket::Datagram(Arc::new(here)), Socket::Datagram(Arc::new(peer)))
    }

    /// Sends this many bytes, or as few as the kind can.
    async fn send(&self, length: usize) {
        match self {
            Socket::Stream(stream) if length == 0 => stream.shutdown(Shutdown::Write).unwrap(),
            Socket::Stream(stream) => stream.write_all(&vec![1; length]).await.unwrap(),
            Socket::Datagram(socket) => assert_eq!(socket.send(&vec![1; length]).await.unwrap(), length),
        }
    }

    async fn close(&self) {
        match self {
            Socket::Stream(stream) => stream.close().await.unwrap(),
            Socket::Datagram(socket) => socket.close().await.unwrap(),
        }
    }

    async fn receive(&self) -> io::Result<usize> {
        let mut buffer = [0; 200];
        match self {
            Socket::Stream(stream) => stream.read(&mut buffer).await,
            Socket::Datagram(socket) => socket.recv(&mut buffer).await,
        }
    }

    async fn readable(&self) {
        match self {
            Socket::Stream(stream) => stream.readable().await.unwrap(),
            Socket::Datagram(socket) => socket.readable().await.unwrap(),
        }
    }

    /// Returns the result of one receive, and whether it waited.
    async fn gives(&self) -> Gives {
        let mut receive = pin!(self.receive());
        match Probe::new().poll(receive.as_mut()) {
            Poll::Pending => Waits,
            Poll::Ready(Ok(0)) if matches!(self, Socket::Stream(_)) => Gives::End,
            Poll::Ready(Ok(0)) => Empty,
            Poll::Ready(Ok(n)) => Bytes(n),
            Poll::Ready(Err(error)) => {
                assert!(is_closed(&error), "{error}");
                Closed
            }
        }
    }
}

// Case D08.
#[test]
fn twelve_rows_of_what_zero_means() {
    each(async || {
        for (is_stream, length, then, expected) in ROWS {
            let (here, peer) = Socket::pair(is_stream).await;
            peer.send(length).await;
            here.readable().await;
            match then {
                Then::Nothing => {}
                Then::End => peer.close().await,
                Then::Closed => here.close().await,
            }
            let first = here.gives().await;
            if expected == [Bytes(100), Gives::End] {
                // The end has a way of its own.
                here.readable().await;
            }
            assert_eq!([first, here.gives().await], expected, "stream: {is_stream}, {length}, {then:?}");
        }
    });
}

/// `read_exact` fails if the stream ends before the buffer is full; a reader of messages does not.
// Case D08.
#[test]
fn the_end_in_the_middle_is_an_error_of_its_own() {
    each(async || {
        let (here, peer) = pair().await;
        peer.write_all(b"half").await.unwrap();
        peer.close().await.unwrap();
        let error = here.read_exact(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
        assert!(!is_closed(&error));
        assert_eq!(here.read(&mut [0; 8]).await.unwrap(), 0, "and then it is the end");
    });
}
