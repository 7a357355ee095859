//! The rows of `io`: a copy that waits for bytes, one that waits for room, and both ways at once.

use std::io;
use std::marker::PhantomData;
use std::time::Instant;

use netpoll_rt::io::{CopyBoth, CopyFrom, CopyTo, copy, copy_bidirectional};
use netpoll_rt::net::TcpStream;
use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};

use super::byte_kinds::{PipeIn, PipeOut, Tcp, Unix};
use super::scene::{Dropped, Effect, End, Got, How, Kind, Later, MARK, Operation, Rest, operation};
use crate::common::in_ms;

const FROM: How = How::takes(Dropped::Kept("nothing is lost"));

const TO: How = How::gives(Dropped::Lost("what it had read is lost"));

/// An end of which a copy is made, as far as cells are concerned: `main` makes it wait.
macro_rules! ends_as {
    ($type:ident, $main:ident $(, $also:ident)?) => {
        impl<K: Kind> End for $type<K> {
            fn close(&self) -> Later<'_, io::Result<()>> {
                self.$main.close()
            }

            fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                $(self.$also.set_deadline(deadline)?;)?
                self.$main.set_deadline(deadline)
            }

            fn give(&self, bytes: &[u8]) -> io::Result<usize> {
                self.$main.give(bytes)
            }

            fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.$main.take(buffer)
            }
        }
    };
}

/// A copy from an object to a pipe with free space.
struct Source<K: Kind> {
    object: K::Here,
    to: PipeWriter,
    _reader: PipeReader,
}

/// A copy from a pipe with bytes in it to an object.
struct Sink<K: Kind> {
    object: K::Here,
    from: PipeReader,
    _writer: PipeWriter,
}

/// A copy between two objects.
struct Both<K: Kind> {
    one: K::Here,
    other: K::Here,
    _peer: K::Peer,
}

ends_as!(Source, object);
ends_as!(Sink, object);
ends_as!(Both, one, other);

struct From<K>(PhantomData<K>);
struct To<K>(PhantomData<K>);
struct BothWays<K>(PhantomData<K>);

impl<K: Kind> Kind for From<K> {
    type Here = Source<K>;
    type Peer = K::Peer;
    const RESETS: Effect = K::RESETS;

    fn stage() -> Later<'static, (Source<K>, K::Peer)> {
        Box::pin(async {
            let ((object, peer), (reader, to)) = (K::stage().await, pipe().unwrap());
            (Source { object, to, _reader: reader }, peer)
        })
    }

    fn reset_peer(here: &Source<K>, peer: K::Peer) -> Rest {
        K::reset_peer(&here.object, peer)
    }
}

impl<K: Kind> Kind for To<K> {
    type Here = Sink<K>;
    type Peer = K::Peer;
    const RESETS: Effect = K::RESETS;
    const CHUNK: usize = K::CHUNK;

    fn stage() -> Later<'static, (Sink<K>, K::Peer)> {
        Box::pin(async {
            let ((object, peer), (from, writer)) = (K::stage().await, pipe().unwrap());
            writer.write_all(&[MARK; 4096]).await.unwrap();
            (Sink { object, from, _writer: writer }, peer)
        })
    }

    fn fill(here: &Sink<K>) -> Later<'_, usize> {
        K::fill(&here.object)
    }

    fn reset_peer(here: &Sink<K>, peer: K::Peer) -> Rest {
        K::reset_peer(&here.object, peer)
    }
}

/// The end of the one peer is passed on, and the other way goes on.
impl<K: Kind> Kind for BothWays<K> {
    type Here = Both<K>;
    type Peer = K::Peer;
    const CLOSES: Effect = Effect::WaitsOn;
    const PARKS: usize = 2;

    fn stage() -> Later<'static, (Both<K>, K::Peer)> {
        Box::pin(async {
            let ((one, peer), (other, other_peer)) = (K::stage().await, K::stage().await);
            (Both { one, other, _peer: other_peer }, peer)
        })
    }

    fn reset_peer(here: &Both<K>, peer: K::Peer) -> Rest {
        K::reset_peer(&here.one, peer)
    }
}

/// A sink that stays full: the copy must wait for it, not for the next bytes.
struct Full;

impl Kind for Full {
    type Here = TcpStream;
    type Peer = TcpStream;

    fn stage() -> Later<'static, (TcpStream, TcpStream)> {
        Tcp::stage()
    }

    /// Acknowledgements up to 40 ms later make room, and only much room wakes a task: it is full when
    /// there is none at the end of a long wait.
    fn fill(here: &TcpStream) -> Later<'_, usize> {
        Box::pin(async {
            let (mut filled, chunk) = (0, vec![0; Self::CHUNK]);
            loop {
                here.set_write_deadline(in_ms(100)).unwrap();
                while let Ok(n) = here.write(&chunk).await {
                    filled += n;
                }
                here.set_write_deadline(None).unwrap();
                match here.give(&chunk) {
                    Ok(n) => filled += n,
                    Err(_) => return filled,
                }
            }
        })
    }

    fn reset_peer(here: &TcpStream, peer: TcpStream) -> Rest {
        Tcp::reset_peer(here, peer)
    }
}

fn from<K: Kind<Here: CopyFrom>>(of: &str) -> Operation {
    operation::<From<K>>(of, "copy(&it, _)", FROM, |it| {
        Box::pin(async move { copy(&it.object, &it.to).await.map(|n| Got::Bytes(n as usize)) })
    })
}

fn to<K: Kind<Here: CopyTo>>(of: &str) -> Operation {
    operation::<To<K>>(of, "copy(_, &it)", TO, |it| {
        Box::pin(async move { copy(&it.from, &it.object).await.map(|n| Got::Bytes(n as usize)) })
    })
}

fn both<K: Kind<Here: CopyBoth>>(of: &str) -> Operation {
    operation::<BothWays<K>>(of, "copy_bidirectional(&it, _)", FROM, |it| {
        Box::pin(async move {
            copy_bidirectional(&it.one, &it.other)
                .await
                .map(|(there, back)| Got::Bytes((there + back) as usize))
        })
    })
}

pub fn all() -> Vec<Operation> {
    vec![
        from::<Tcp>("TcpStream"),
        from::<Unix>("UnixStream"),
        from::<PipeIn>("PipeReader"),
        to::<Full>("TcpStream"),
        to::<Unix>("UnixStream"),
        to::<PipeOut>("PipeWriter"),
        both::<Tcp>("TcpStream"),
        both::<Unix>("UnixStream"),
    ]
}
