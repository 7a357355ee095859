//! The objects and peers that bytes pass through.

use std::sync::Arc;
use std::time::Duration;

use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};
use netpoll_rt::net::{AsyncFd, TcpStream, UnixStream};

use super::ends::Foreign;
use super::scene::{Effect, End, Kind, Later, Rest};
use crate::common::pair;

/// Bytes that the peer does not read.
pub const UNREAD: &[u8] = b"unread";

pub struct Tcp;

pub async fn tcp() -> (TcpStream, TcpStream) {
    let (here, there) = pair().await;
    (Arc::into_inner(here).unwrap(), Arc::into_inner(there).unwrap())
}

pub fn reset(peer: TcpStream) {
    peer.set_linger(Some(Duration::ZERO)).unwrap();
}

impl Kind for Tcp {
    type Here = TcpStream;
    type Peer = TcpStream;

    fn stage() -> Later<'static, (TcpStream, TcpStream)> {
        Box::pin(tcp())
    }

    fn reset_peer(_here: &TcpStream, peer: TcpStream) -> Rest {
        reset(peer);
        Box::new(())
    }
}

pub struct Unix;

impl Kind for Unix {
    type Here = UnixStream;
    type Peer = UnixStream;

    fn stage() -> Later<'static, (UnixStream, UnixStream)> {
        Box::pin(async { UnixStream::pair().unwrap() })
    }

    fn reset_peer(here: &UnixStream, peer: UnixStream) -> Rest {
        // A full queue has something unread in it already.
        let _ = here.give(UNREAD);
        drop(peer);
        Box::new(())
    }
}

/// The end that reads.
pub struct PipeIn;

impl Kind for PipeIn {
    type Here = PipeReader;
    type Peer = PipeWriter;
    const RESETS: Effect = Effect::None;

    fn stage() -> Later<'static, (PipeReader, PipeWriter)> {
        Box::pin(async { pipe().unwrap() })
    }
}

/// The end that writes.
pub struct PipeOut;

impl Kind for PipeOut {
    type Here = PipeWriter;
    type Peer = PipeReader;
    const RESETS: Effect = Effect::None;
    // A pipe takes small pieces whole or not at all.
    const CHUNK: usize = 4096;

    fn stage() -> Later<'static, (PipeWriter, PipeReader)> {
        Box::pin(async {
            let (reader, writer) = pipe().unwrap();
            (writer, reader)
        })
    }
}

/// A socket of std.
pub struct DescriptorInfo;

impl Kind for DescriptorInfo {
    type Here = Foreign;
    type Peer = UnixStream;

    fn stage() -> Later<'static, (Foreign, UnixStream)> {
        Box::pin(async {
            let (here, peer) = UnixStream::pair().unwrap();
            (AsyncFd::new(here.into_std().unwrap()).unwrap(), peer)
        })
    }

    fn reset_peer(here: &Foreign, peer: UnixStream) -> Rest {
        // As above.
        let _ = here.give(UNREAD);
        drop(peer);
        Box::new(())
    }
}
