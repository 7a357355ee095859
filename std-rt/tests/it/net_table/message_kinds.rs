//! The objects and peers that messages pass through.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use netpoll_rt::net::{TcpStream, UdpSocket, UnixDatagram, UnixSeqpacket};

use super::byte_kinds::{UNREAD, tcp};
use super::ends::never;
use super::scene::{Effect, End, Kind, Later, Rest};
use crate::unix_support::{self, Scratch, own_name};

/// Two that are connected to each other.
pub struct Udp;

impl Kind for Udp {
    type Here = UdpSocket;
    type Peer = UdpSocket;
    const CLOSES: Effect = Effect::WaitsOn;
    const ENDS: bool = false;

    fn stage() -> Later<'static, (UdpSocket, UdpSocket)> {
        Box::pin(async {
            let here = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            here.connect(peer.local_addr().unwrap()).await.unwrap();
            peer.connect(here.local_addr().unwrap()).await.unwrap();
            (here, peer)
        })
    }

    fn reset_peer(here: &UdpSocket, peer: UdpSocket) -> Rest {
        drop(peer);
        // The answer is that no socket is bound there.
        assert_eq!(here.give(UNREAD).unwrap(), UNREAD.len());
        Box::new(())
    }
}

/// A socket without buffer space: UDP on loopback always has some, so the socket below is one of TCP, to which sendto(2) is
/// the same.
pub struct UdpFull;

impl Kind for UdpFull {
    type Here = UdpSocket;
    type Peer = TcpStream;

    fn stage() -> Later<'static, (UdpSocket, TcpStream)> {
        Box::pin(async {
            let (here, peer) = tcp().await;
            let here = OwnedFd::from(here.into_std().unwrap());
            (UdpSocket::from_std(here.into()).unwrap(), peer)
        })
    }
}

/// Two that are connected to each other.
pub struct Gram;

/// Connecting to another peer is the only way to turn away from one, which notices if it is not read.
fn turn_away(peer: &UnixDatagram) -> UnixDatagram {
    let name = own_name();
    let other = UnixDatagram::bind_addr(&name).unwrap();
    peer.connect_addr(&name).unwrap();
    other
}

impl Kind for Gram {
    type Here = UnixDatagram;
    type Peer = UnixDatagram;
    const CLOSES: Effect = Effect::WaitsOn;
    const CHUNK: usize = 64;
    const ENDS: bool = false;

    fn stage() -> Later<'static, (UnixDatagram, UnixDatagram)> {
        Box::pin(async { UnixDatagram::pair().unwrap() })
    }

    fn reset_peer(here: &UnixDatagram, peer: UnixDatagram) -> Rest {
        // A full queue has something unread in it already.
        let _ = here.give(UNREAD);
        let other = turn_away(&peer);
        Box::new((peer, other))
    }
}

/// The same objects; a send fails because the peer is closed.
pub struct GramOut;

impl Kind for GramOut {
    type Here = UnixDatagram;
    type Peer = UnixDatagram;
    const CHUNK: usize = 64;
    const ENDS: bool = false;

    fn stage() -> Later<'static, (UnixDatagram, UnixDatagram)> {
        Gram::stage()
    }

    fn reset_peer(here: &UnixDatagram, peer: UnixDatagram) -> Rest {
        Gram::reset_peer(here, peer)
    }
}

/// A socket that is not connected to its target.
pub struct GramTo;

pub struct Untold {
    pub socket: UnixDatagram,
    pub to: PathBuf,
}

impl Untold {
    pub fn address(&self) -> SocketAddr {
        unix_support::address(&self.to)
    }
}

impl End for Untold {
    fn close(&self) -> Later<'_, io::Result<()>> {
        Box::pin(self.socket.close())
    }

    fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.socket.set_deadline(deadline)
    }

    fn give(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_send_to_addr(bytes, &self.address())
    }

    fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        never(buffer)
    }
}

/// A socket with a path.
pub struct Named {
    socket: UnixDatagram,
    _folder: Scratch,
}

impl End for Named {
    fn close(&self) -> Later<'_, io::Result<()>> {
        Box::pin(self.socket.close())
    }

    fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.socket.set_deadline(deadline)
    }

    fn give(&self, bytes: &[u8]) -> io::Result<usize> {
        never(bytes)
    }

    fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_recv(buffer)
    }
}

impl Kind for GramTo {
    type Here = Untold;
    type Peer = Named;
    const PARKS: usize = 0;
    const CHUNK: usize = 64;
    const ENDS: bool = false;

    fn stage() -> Later<'static, (Untold, Named)> {
        Box::pin(async {
            let folder = Scratch::new();
            let to = folder.path("socket");
            let peer = Named { socket: UnixDatagram::bind(&to).unwrap(), _folder: folder };
            (Untold { socket: UnixDatagram::unbound().unwrap(), to }, peer)
        })
    }

    fn close_peer(_here: &Untold, peer: Named) -> Rest {
        let Named { socket, _folder: folder } = peer;
        drop(socket);
        Box::new(folder)
    }

    fn reset_peer(_here: &Untold, peer: Named) -> Rest {
        let other = turn_away(&peer.socket);
        Box::new((peer, other))
    }
}

pub struct Packet;

impl Kind for Packet {
    type Here = UnixSeqpacket;
    type Peer = UnixSeqpacket;
    const CHUNK: usize = 64;

    fn stage() -> Later<'static, (UnixSeqpacket, UnixSeqpacket)> {
        Box::pin(async { UnixSeqpacket::pair().unwrap() })
    }

    fn reset_peer(here: &UnixSeqpacket, peer: UnixSeqpacket) -> Rest {
        // As for a stream.
        let _ = here.give(UNREAD);
        drop(peer);
        Box::new(())
    }
}
