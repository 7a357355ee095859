//! UDP: a queue of messages for each socket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rustix::io::Errno;

use super::link::{Packet, Payload};
use super::world::{Body, Id, World, canonical};

/// The largest message that fits into a packet of IPv4.
const LARGEST: usize = 65_507;

/// The bytes that a queue takes; further messages are lost.
const QUEUE: usize = 208 << 10;

/// The messages of a UDP socket.
#[derive(Debug, Default)]
pub struct Datagrams {
    pub(super) peer: Option<SocketAddr>,
    pub(super) queue: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl World {
    pub(super) fn connect_datagrams(&mut self, id: Id, to: SocketAddr) -> Result<(), Errno> {
        let to = canonical(to);
        self.bind_sender(id, to)?;
        if let Body::Datagrams(datagrams) = &mut self.socket(id).body {
            datagrams.peer = Some(to);
        }
        Ok(())
    }

    /// Gives a port, and the address of the route, to a socket that has none.
    fn bind_sender(&mut self, id: Id, to: SocketAddr) -> Result<SocketAddr, Errno> {
        let host = self.sockets[&id].host;
        let ip = if to.ip().is_loopback() { to.ip() } else { self.hosts[host].ip };
        let port = match self.sockets[&id].local {
            Some(local) => local.port(),
            None => {
                let port = self.free_port(host, false)?;
                self.set_local(id, SocketAddr::from(([0; 4], port)));
                port
            }
        };
        Ok(SocketAddr::new(ip, port))
    }

    pub(super) fn send_datagram(
        &mut self,
        id: Id,
        parts: &[&[u8]],
        to: Option<SocketAddr>,
    ) -> Result<usize, Errno> {
        if let Some(errno) = self.socket(id).error.take() {
            return Err(errno);
        }
        let Body::Datagrams(datagrams) = &self.sockets[&id].body else { return Err(Errno::OPNOTSUPP) };
        let target = to.map(canonical).or(datagrams.peer).ok_or(Errno::DESTADDRREQ)?;
        let bytes = parts.concat();
        if bytes.len() > LARGEST {
            return Err(Errno::MSGSIZE);
        }
        self.draw_send(id)?;
        let (source, from) = (self.bind_sender(id, target)?, self.sockets[&id].host);
        let length = bytes.len();
        self.note("send to", id, length as u64);
        let Some(to) = self.route(from, target.ip()) else { return Err(Errno::HOSTUNREACH) };
        let payload = Payload::Udp(bytes);
        self.transmit(Packet {
            from,
            to,
            source,
            target,
            of: id,
            to_socket: None,
            is_behind: false,
            payload,
        });
        Ok(length)
    }

    /// Takes the next message: its sender, its bytes.
    pub(super) fn recv_datagram(&mut self, id: Id, peek: bool) -> Result<(SocketAddr, Vec<u8>), Errno> {
        if let Some(errno) = self.socket(id).error.take() {
            return Err(errno);
        }
        let Body::Datagrams(datagrams) = &self.sockets[&id].body else { return Err(Errno::OPNOTSUPP) };
        if datagrams.queue.is_empty() {
            return Err(Errno::AGAIN);
        }
        self.draw_recv(id)?;
        let domain = self.sockets[&id].domain;
        let Body::Datagrams(datagrams) = &mut self.socket(id).body else { return Err(Errno::OPNOTSUPP) };
        let next = if peek { datagrams.queue.front().cloned() } else { datagrams.queue.pop_front() };
        let (from, bytes) = next.ok_or(Errno::AGAIN)?;
        self.note("recv from", id, bytes.len() as u64);
        Ok((domain.show(from), bytes))
    }

    pub(super) fn take_datagram(&mut self, packet: Packet) {
        let Payload::Udp(bytes) = packet.payload else { return };
        let target = packet.target;
        let found = self.bound_to(packet.to, false, target.port()).find_map(|(id, socket)| {
            let Body::Datagrams(datagrams) = &socket.body else { return None };
            let is_here =
                socket.local.is_some_and(|local| local.ip().is_unspecified() || local.ip() == target.ip());
            (is_here && datagrams.peer.is_none_or(|peer| peer == packet.source)).then_some(id)
        });
        let Some(id) = found else { return self.unreachable(packet.of, packet.source, target) };
        let Body::Datagrams(datagrams) = &mut self.socket(id).body else { return };
        let used: usize = datagrams.queue.iter().map(|(_, bytes)| bytes.len()).sum();
        if used + bytes.len() > QUEUE {
            return self.note("queue full", id, bytes.len() as u64);
        }
        datagrams.queue.push_back((packet.source, bytes));
        self.note("> datagram", id, packet.of);
        self.notify(id);
    }

    /// Tells a connected sender that no socket has the port, as its host's answer would.
    fn unreachable(&mut self, of: Id, source: SocketAddr, target: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(&of) else { return };
        let is_sender = socket.local.is_some_and(|local| local.port() == source.port());
        match &socket.body {
            Body::Datagrams(datagrams) if is_sender && datagrams.peer == Some(target) => {
                socket.error = Some(Errno::CONNREFUSED);
                self.notify(of);
            }
            _ => {}
        }
    }
}
