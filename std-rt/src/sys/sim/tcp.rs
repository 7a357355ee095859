//! TCP: the handshake, listeners, and the ends of connections. [`stream`](super::stream) carries the bytes.
//!
//! | state | a segment | what follows |
//! |---|---|---|
//! | listener | `Syn` | a connection that is half open, and `SynAck` back; nothing if the queue is full, so the client repeats it |
//! | connecting | `SynAck` | open, and `Done` back |
//! | connecting | `Reset` | `ECONNREFUSED` |
//! | half open | `Done` | open, and in the queue of its listener |
//! | open | `Reset` | `ECONNRESET`, after `Fin` `EPIPE` |
//! | none | any but `Reset` | `Reset` back |

use std::collections::VecDeque;
use std::net::SocketAddr;

use rustix::io::Errno;

use super::faults::FaultKind;
use super::link::{Packet, Payload};
use super::world::{Body, Domain, Event, HostId, Id, World, canonical};

/// The time after which a connection attempt is repeated that found the queue full: 1 s.
const REPEAT: u64 = 1_000_000_000;

/// The time for which a closed connection is kept, to answer its peer: FIN-WAIT and TIME-WAIT of Linux, 60 s.
pub(super) const LINGER: u64 = 60_000_000_000;

/// The default sizes of the buffers for received bytes and for those to be sent.
pub(super) const BUFFERS: (usize, usize) = (128 << 10, 256 << 10);

/// A segment.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Syn,
    /// The number of the byte up to which the sender has space.
    SynAck(u64),
    /// The third packet of the handshake, with the same.
    Done(u64),
    Data(Vec<u8>),
    /// The place of an urgent byte in the stream.
    Urgent(u64),
    /// The number of bytes that have arrived, and the number up to which there is space.
    Ack {
        arrived: u64,
        edge: u64,
    },
    Fin,
    FinAck,
    Reset,
}

impl Segment {
    pub(super) fn len(&self) -> u64 {
        if let Segment::Data(bytes) = self { bytes.len() as u64 } else { 0 }
    }

    fn name(&self) -> &'static str {
        match self {
            Segment::Syn => "> syn",
            Segment::SynAck(_) => "> syn-ack",
            Segment::Done(_) => "> done",
            Segment::Data(_) => "> data",
            Segment::Urgent(_) => "> urgent",
            Segment::Ack { .. } => "> ack",
            Segment::Fin => "> fin",
            Segment::FinAck => "> fin-ack",
            Segment::Reset => "> reset",
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    pub(super) backlog: usize,
    pub(super) queue: VecDeque<Id>,
}

/// The state of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Connecting,
    /// A listener has answered the first packet.
    HalfOpen(Id),
    Open,
    /// An error has ended it.
    Dead,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Stream {
    pub(super) state: State,
    pub(super) peer_host: HostId,
    pub(super) peer: SocketAddr,
    pub(super) peer_socket: Option<Id>,
    /// Bytes that are not sent yet.
    pub(super) unsent: VecDeque<u8>,
    /// The number of bytes that were sent, that the peer has, and up to which it has space.
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) edge: u64,
    /// Bytes that have arrived and are not read, the number of all that have arrived, and the space that was announced.
    pub(super) received: VecDeque<u8>,
    pub(super) arrived: u64,
    pub(super) announced: u64,
    pub(super) recv_buffer: usize,
    pub(super) send_buffer: usize,
    /// Set by shutdown(2).
    pub(super) write_shut: bool,
    pub(super) read_shut: bool,
    pub(super) fin_sent: bool,
    pub(super) fin_acked: bool,
    pub(super) fin_received: bool,
    /// Set while a writer waits for space.
    pub(super) wants_space: bool,
    /// The time since which the peer does not answer.
    pub(super) stuck_since: Option<u64>,
    /// The time at which the last segment that it has sent arrives.
    pub(super) last_arrival: u64,
    /// The place of an urgent byte that was announced, and that no read has passed.
    pub(super) urgent: Option<u64>,
    /// That byte, if it has arrived and was not taken by itself.
    pub(super) urgent_byte: Option<u8>,
    /// True if an urgent byte is read with the others (`SO_OOBINLINE`).
    pub(super) urgent_inline: bool,
}

impl Stream {
    fn new(
        state: State,
        buffers: (usize, usize),
        peer_host: HostId,
        peer: SocketAddr,
        peer_socket: Option<Id>,
    ) -> Box<Self> {
        Box::new(Self {
            state,
            peer_host,
            peer,
            peer_socket,
            unsent: VecDeque::new(),
            sent: 0,
            acked: 0,
            edge: 0,
            received: VecDeque::new(),
            arrived: 0,
            announced: buffers.0 as u64,
            recv_buffer: buffers.0,
            send_buffer: buffers.1,
            write_shut: false,
            read_shut: false,
            fin_sent: false,
            fin_acked: false,
            fin_received: false,
            wants_space: false,
            stuck_since: None,
            last_arrival: 0,
            urgent: None,
            urgent_byte: None,
            urgent_inline: false,
        })
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting | State::HalfOpen(_))
    }

    /// Returns whether both directions have ended in good order, or the connection by an error: it has no peer any more.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Dead || self.fin_acked && self.fin_received
    }
}

impl World {
    /// Returns the connection that a socket is an end of.
    pub(super) fn stream(&mut self, id: Id) -> Option<&mut Stream> {
        match &mut self.sockets.get_mut(&id)?.body {
            Body::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn listen(&mut self, id: Id, backlog: i32) -> Result<(), Errno> {
        let host = self.sockets[&id].host;
        let backlog = usize::try_from(backlog).unwrap_or(0);
        match &mut self.socket(id).body {
            Body::Listener(listener) => listener.backlog = backlog,
            Body::Idle => {
                if self.sockets[&id].local.is_none() {
                    let port = self.free_port(host, true)?;
                    self.set_local(id, SocketAddr::from(([0; 4], port)));
                }
                self.socket(id).body = Body::Listener(Listener { backlog, queue: VecDeque::new() });
            }
            Body::Stream(_) => return Err(Errno::INVAL),
            Body::Datagrams(_) | Body::Unix(_) | Body::Pipe(_) => return Err(Errno::OPNOTSUPP),
        }
        self.note("listen", id, backlog as u64);
        Ok(())
    }

    pub(super) fn connect(&mut self, id: Id, to: SocketAddr) -> Result<(), Errno> {
        match &self.sockets[&id].body {
            Body::Idle => {}
            Body::Stream(stream) if stream.is_connecting() => return Err(Errno::ALREADY),
            Body::Stream(_) | Body::Listener(_) => return Err(Errno::ISCONN),
            Body::Datagrams(_) => return self.connect_datagrams(id, to),
            Body::Unix(_) | Body::Pipe(_) => return Err(Errno::AFNOSUPPORT),
        }
        let host = self.sockets[&id].host;
        let to = canonical(to);
        if !self.hosts[host].up {
            return Err(Errno::NETDOWN);
        }
        let Some(peer_host) = self.route(host, to.ip()) else { return Err(Errno::HOSTUNREACH) };
        let to = if to.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], to.port())) } else { to };
        let ip = if to.ip().is_loopback() { to.ip() } else { self.hosts[host].ip };
        let bound = self.sockets[&id].local.map(|local| local.port());
        let port = bound.map_or_else(|| self.free_port(host, true), Ok)?;
        self.set_local(id, SocketAddr::new(ip, port));
        let socket = self.socket(id);
        socket.body = Body::Stream(Stream::new(State::Connecting, socket.buffers, peer_host, to, None));
        self.note("connect", id, to.port().into());
        self.send_segment(id, Segment::Syn);
        Err(Errno::INPROGRESS)
    }

    /// Takes the next connection of a listener.
    pub(super) fn accept(&mut self, id: Id) -> Result<Id, Errno> {
        let Body::Listener(listener) = &mut self.socket(id).body else { return Err(Errno::INVAL) };
        if listener.queue.is_empty() {
            return Err(Errno::AGAIN);
        }
        self.draw_accept(id)?;
        let Body::Listener(listener) = &mut self.socket(id).body else { return Err(Errno::INVAL) };
        let Some(next) = listener.queue.pop_front() else { return Err(Errno::AGAIN) };
        if self.fault(FaultKind::Abort, id) {
            self.send_segment(next, Segment::Reset);
            self.remove_socket(next);
            return Err(Errno::CONNABORTED);
        }
        self.note("accept", next, id);
        Ok(next)
    }

    /// Resets every connection that was not accepted.
    pub(super) fn close_listener(&mut self, id: Id) {
        let queue = match &mut self.socket(id).body {
            Body::Listener(listener) => std::mem::take(&mut listener.queue),
            _ => VecDeque::new(),
        };
        for waiting in queue {
            self.send_segment(waiting, Segment::Reset);
            self.remove_socket(waiting);
        }
        self.remove_socket(id);
    }

    /// Closes a connection whose last descriptor is gone.
    pub(super) fn close_stream(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else { return };
        match stream.state {
            State::Open if stream.received.is_empty() || stream.is_over() => {
                stream.write_shut = true;
                self.pump(id);
                self.schedule(LINGER, Event::Reap(id));
            }
            State::Open => {
                // Bytes that are never read: the peer is told.
                self.send_segment(id, Segment::Reset);
                self.remove_socket(id);
            }
            _ => self.remove_socket(id),
        }
    }

    /// Closes a connection at once: bytes that are not sent are lost, and the peer is told.
    pub(super) fn reset_stream(&mut self, id: Id) {
        if self.stream(id).is_some_and(|stream| stream.state == State::Open && !stream.is_over()) {
            self.send_segment(id, Segment::Reset);
            self.remove_socket(id);
        }
    }

    /// Ends a connection by an error.
    pub(super) fn fail_stream(&mut self, id: Id, errno: Errno) {
        let Some(stream) = self.stream(id) else { return };
        stream.state = State::Dead;
        stream.unsent.clear();
        self.note("failed", id, errno.raw_os_error() as u64);
        if self.is_orphan(id) {
            self.remove_socket(id);
            return;
        }
        // One that waits for an accept stays in the queue.
        self.socket(id).error = Some(errno);
        self.notify(id);
    }

    /// Sends a segment to the peer of a connection.
    pub(super) fn send_segment(&mut self, id: Id, segment: Segment) {
        let (from, source) = {
            let socket = &self.sockets[&id];
            (socket.host, socket.local)
        };
        let Some(stream) = self.stream(id) else { return };
        let (to, target, to_socket) = (stream.peer_host, stream.peer, stream.peer_socket);
        let Some(source) = source else { return };
        let payload = Payload::Tcp(segment);
        self.transmit(Packet { from, to, source, target, of: id, to_socket, is_behind: false, payload });
    }

    /// Takes a segment that has arrived.
    pub(super) fn take_segment(&mut self, mut packet: Packet) {
        let payload = std::mem::replace(&mut packet.payload, Payload::Tcp(Segment::Syn));
        let Payload::Tcp(segment) = payload else { return };
        self.note(segment.name(), packet.of, segment.len());
        if let Segment::Syn = segment {
            return self.take_syn(packet);
        }
        // One that was reset takes nothing more: the end of its stream would hide that bytes are missing.
        let known = packet.to_socket.filter(|&id| self.stream(id).is_some_and(|to| to.state != State::Dead));
        let Some(id) = known else {
            if !matches!(segment, Segment::Reset) {
                self.refuse(packet);
            }
            return;
        };
        match segment {
            Segment::Syn => {}
            Segment::SynAck(edge) => self.take_syn_ack(id, packet.of, edge),
            Segment::Done(edge) => self.take_done(id, edge),
            Segment::Data(bytes) => self.take_data(id, bytes),
            Segment::Urgent(place) => self.take_urgent(id, place),
            Segment::Ack { arrived, edge } => self.take_ack(id, arrived, edge),
            Segment::Fin => self.take_fin(id),
            Segment::FinAck => {
                if let Some(stream) = self.stream(id) {
                    stream.fin_acked = true;
                }
            }
            Segment::Reset => self.take_reset(id),
        }
    }

    /// Answers a segment for which there is no connection.
    fn refuse(&mut self, packet: Packet) {
        self.transmit(Packet {
            from: packet.to,
            to: packet.from,
            source: packet.target,
            target: packet.source,
            of: packet.to_socket.unwrap_or(0),
            to_socket: Some(packet.of),
            is_behind: false,
            payload: Payload::Tcp(Segment::Reset),
        });
    }

    fn take_syn(&mut self, packet: Packet) {
        let target = packet.target;
        let found = self.bound_to(packet.to, true, target.port()).find_map(|(id, socket)| {
            let fits =
                socket.local.is_some_and(|local| local.ip().is_unspecified() || local.ip() == target.ip());
            match &socket.body {
                Body::Listener(listener) if fits => {
                    Some((id, socket.domain, socket.buffers, listener.queue.len() > listener.backlog))
                }
                _ => None,
            }
        });
        let Some((listener, domain, buffers, is_full)) = found else { return self.refuse(packet) };
        if is_full {
            self.note("queue full", listener, packet.of);
            self.schedule(REPEAT, Event::Arrive(packet));
            return;
        }
        let state = State::HalfOpen(listener);
        let stream = Stream::new(state, buffers, packet.from, packet.source, Some(packet.of));
        let id = self.add_socket(packet.to, domain, Body::Stream(stream));
        let socket = self.socket(id);
        (socket.local, socket.buffers) = (Some(target), buffers);
        self.send_segment(id, Segment::SynAck(buffers.0 as u64));
    }

    fn take_syn_ack(&mut self, id: Id, peer: Id, edge: u64) {
        let Some(stream) = self.stream(id) else { return };
        if stream.state == State::Connecting {
            stream.state = State::Open;
            stream.peer_socket = Some(peer);
            stream.edge = edge;
            let own = stream.announced;
            self.send_segment(id, Segment::Done(own));
            self.notify(id);
            self.pump(id);
        }
    }

    fn take_done(&mut self, id: Id, edge: u64) {
        let Some(stream) = self.stream(id) else { return };
        let State::HalfOpen(listener) = stream.state else { return };
        stream.state = State::Open;
        stream.edge = edge;
        match self.sockets.get_mut(&listener).map(|socket| &mut socket.body) {
            Some(Body::Listener(queue)) => {
                queue.queue.push_back(id);
                self.notify(listener);
            }
            _ => {
                self.send_segment(id, Segment::Reset);
                self.remove_socket(id);
            }
        }
    }

    fn take_reset(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else { return };
        match stream.state {
            _ if stream.is_over() => {}
            State::Connecting => self.fail_stream(id, Errno::CONNREFUSED),
            State::HalfOpen(_) => self.remove_socket(id),
            State::Open if stream.fin_received => self.fail_stream(id, Errno::PIPE),
            State::Open => self.fail_stream(id, Errno::CONNRESET),
            State::Dead => {}
        }
    }

    /// Returns the state in the numbers of Linux; `None` if it is no socket of TCP.
    pub(super) fn tcp_state(&mut self, id: Id) -> Option<u8> {
        const ESTABLISHED: u8 = 1;
        const SYN_SENT: u8 = 2;
        const FIN_WAIT: u8 = 4;
        const TIME_WAIT: u8 = 6;
        const CLOSE: u8 = 7;
        const CLOSE_WAIT: u8 = 8;
        const LISTEN: u8 = 10;
        Some(match &self.sockets[&id].body {
            Body::Unix(_) | Body::Pipe(_) => return None,
            Body::Listener(_) => LISTEN,
            Body::Stream(stream) => match (stream.state, stream.fin_sent, stream.fin_received) {
                (State::Connecting | State::HalfOpen(_), ..) => SYN_SENT,
                (State::Dead, ..) => CLOSE,
                (State::Open, false, false) => ESTABLISHED,
                (State::Open, true, false) => FIN_WAIT,
                (State::Open, false, true) => CLOSE_WAIT,
                (State::Open, true, true) => TIME_WAIT,
            },
            _ => CLOSE,
        })
    }

    /// Returns the address of the peer of a connection.
    pub(super) fn peer_name(&mut self, id: Id) -> Result<SocketAddr, Errno> {
        let domain: Domain = self.sockets[&id].domain;
        match &self.sockets[&id].body {
            Body::Stream(stream) if !stream.is_connecting() && !stream.is_over() => {
                Ok(domain.show(stream.peer))
            }
            Body::Datagrams(datagrams) => datagrams.peer.map(|peer| domain.show(peer)).ok_or(Errno::NOTCONN),
            _ => Err(Errno::NOTCONN),
        }
    }
}
