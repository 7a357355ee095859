//! Unix sockets: pairs, listeners, queues of messages, and the descriptors that messages bring. Both ends are on one host, and
//! a call has its whole effect at once.
//!
//! | address | where it is |
//! |---|---|
//! | a path | the file is a real one, which bind(2) of the real descriptor creates; the socket is found by its device and inode |
//! | an abstract name | known to the host |
//!
//! A descriptor in a message is a real duplicate from the send on. The receiver gets its number.
//!
//! Linux counts the memory of the buffers that a sender has filled. The simulation counts the bytes and
//! [`OVERHEAD`] for each message.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use netpoll_core::poll::translate::epoll::{HUP, IN, OUT, RDHUP};
use rustix::fs::{FileType, stat};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::world::{Body, Domain, HostId, Id, World};
use crate::sys::socket::SocketKind;

/// The size of the send buffer, as `net.core.wmem_default` of Linux.
const SEND_BUFFER: usize = 212_992;

/// The bytes that a message takes up beside its own.
const OVERHEAD: usize = 512;

/// The number of messages beyond which a queue of datagrams is full, as `net.unix.max_dgram_qlen` of Linux.
pub(super) const QUEUE: usize = 10;

/// A Unix socket.
#[derive(Debug)]
pub struct Unix {
    pub(super) kind: SocketKind,
    pub(super) state: State,
    pub(super) name: Option<SocketAddrUnix>,
    /// The place at which a connect to `name` finds the socket.
    place: Option<Place>,
    /// The socket that it sends to. A closed one is no longer among the sockets.
    pub(super) peer: Option<Id>,
    /// The name of a peer that is closed.
    pub(super) last_peer_name: Option<SocketAddrUnix>,
    pub(super) queue: VecDeque<Message>,
    /// The size of its messages that are in the queues of others.
    pub(super) sent: usize,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    /// Set while a writer waits for space.
    pub(super) wants_space: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Listening { backlog: usize, waiting: VecDeque<Id> },
    Connected,
}

/// The place at which a bound socket is found.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// Device and inode of the file.
    File(u64, u64),
    Abstract(Vec<u8>),
}

/// A message, or a part of a stream.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) sender: Id,
    pub(super) from: Option<SocketAddrUnix>,
    pub(super) bytes: Vec<u8>,
    /// The number of bytes that were read.
    pub(super) read: usize,
    pub(super) fds: Vec<OwnedFd>,
}

impl Message {
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// The outcome of a receive.
#[derive(Debug, Default)]
pub struct Taken {
    pub bytes: Vec<u8>,
    pub from: Option<SocketAddrUnix>,
    pub fds: Vec<OwnedFd>,
}

impl Unix {
    pub(super) fn new(kind: SocketKind) -> Self {
        Self {
            kind,
            state: State::Idle,
            name: None,
            place: None,
            peer: None,
            last_peer_name: None,
            queue: VecDeque::new(),
            sent: 0,
            read_shut: false,
            write_shut: false,
            wants_space: false,
        }
    }

    /// Returns whether a receive loses the rest of a message.
    pub(super) fn has_messages(&self) -> bool {
        self.kind != SocketKind::Stream
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::Listening { .. })
    }

    pub(super) fn is_writable(&self, buffer: usize) -> bool {
        !self.listens() && self.sent * 4 <= buffer
    }

    /// Describes it for a dump.
    pub(super) fn describe(&self) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
        let state = match &self.state {
            State::Idle => "idle".to_owned(),
            State::Listening { waiting, .. } => format!("listens, {} to accept", waiting.len()),
            State::Connected => format!("to #{}", self.peer.unwrap_or(0)),
        };
        let bytes: usize = self.queue.iter().map(|message| message.bytes.len() - message.read).sum();
        format!("Unix {:?}{name}, {state}, {bytes} bytes to read, {} not taken", self.kind, self.sent)
    }
}

impl World {
    pub(super) fn unix(&mut self, id: Id) -> Option<&mut Unix> {
        match &mut self.sockets.get_mut(&id)?.body {
            Body::Unix(unix) => Some(unix),
            _ => None,
        }
    }

    /// Adds a Unix socket of the current host.
    pub(super) fn add_unix(&mut self, host: HostId, kind: SocketKind) -> Id {
        let id = self.add_socket(host, Domain::Local, Body::Unix(Box::new(Unix::new(kind))));
        self.socket(id).buffers = (SEND_BUFFER, SEND_BUFFER);
        id
    }

    /// Connects two sockets that were just created.
    pub(super) fn pair(&mut self, one: Id, other: Id) {
        for (id, peer) in [(one, other), (other, one)] {
            if let Some(unix) = self.unix(id) {
                (unix.state, unix.peer) = (State::Connected, Some(peer));
            }
        }
        self.note("pair", one, other);
    }

    /// Binds a socket; `real` binds the real descriptor to a path, which creates the file.
    pub(super) fn bind_unix(
        &mut self,
        id: Id,
        address: &SocketAddrUnix,
        real: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let host = self.socket(id).host;
        if self.unix(id).is_none_or(|unix| unix.name.is_some()) {
            return Err(Errno::INVAL);
        }
        let place = match (address.path(), address.abstract_name()) {
            (Some(path), _) => {
                real()?;
                let file = stat(&*path)?;
                Place::File(file.st_dev, file.st_ino)
            }
            (None, Some(name)) => {
                let place = Place::Abstract(name.to_vec());
                if self.find_place(host, &place).is_some() {
                    return Err(Errno::ADDRINUSE);
                }
                place
            }
            (None, None) => return Err(Errno::INVAL),
        };
        if let Some(unix) = self.unix(id) {
            (unix.name, unix.place) = (Some(address.clone()), Some(place));
        }
        self.note("bind", id, 0);
        Ok(())
    }

    /// Returns the socket that is bound to a place. Of several whose files had the same number it is the latest.
    fn find_place(&self, host: HostId, place: &Place) -> Option<Id> {
        let is_there = |body: &Body| matches!(body, Body::Unix(unix) if unix.place.as_ref() == Some(place));
        let mut sockets = self.sockets.iter().rev();
        sockets.find(|(_, socket)| socket.host == host && is_there(&socket.body)).map(|(&id, _)| id)
    }

    /// Returns the socket of an address.
    pub(super) fn find_unix(&self, host: HostId, address: &SocketAddrUnix) -> Result<Id, Errno> {
        let place = match (address.path(), address.abstract_name()) {
            (Some(path), _) => {
                let file = stat(&*path)?;
                if FileType::from_raw_mode(file.st_mode) != FileType::Socket {
                    return Err(Errno::CONNREFUSED);
                }
                Place::File(file.st_dev, file.st_ino)
            }
            (None, Some(name)) => Place::Abstract(name.to_vec()),
            (None, None) => return Err(Errno::INVAL),
        };
        self.find_place(host, &place).ok_or(Errno::CONNREFUSED)
    }

    pub(super) fn listen_unix(&mut self, id: Id, backlog: i32) -> Result<(), Errno> {
        let Some(unix) = self.unix(id) else { return Err(Errno::INVAL) };
        if unix.kind == SocketKind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let limit = usize::try_from(backlog).unwrap_or(usize::MAX);
        match &mut unix.state {
            _ if unix.name.is_none() => return Err(Errno::INVAL),
            State::Listening { backlog, .. } => *backlog = limit,
            State::Connected => return Err(Errno::INVAL),
            State::Idle => unix.state = State::Listening { backlog: limit, waiting: VecDeque::new() },
        }
        self.note("listen", id, limit as u64);
        Ok(())
    }

    pub(super) fn connect_unix(&mut self, id: Id, to: &SocketAddrUnix) -> Result<(), Errno> {
        let host = self.socket(id).host;
        let found = self.find_unix(host, to)?;
        let Some(own) = self.unix(id) else { return Err(Errno::INVAL) };
        let (kind, is_idle, name) = (own.kind, matches!(own.state, State::Idle), own.name.clone());
        let Some(target) = self.unix(found) else { return Err(Errno::CONNREFUSED) };
        if target.kind != kind {
            return Err(Errno::PROTOTYPE);
        }
        if kind == SocketKind::Datagram {
            return self.connect_messages(id, found);
        }
        let is_full = match &target.state {
            State::Listening { backlog, waiting } if !target.read_shut => waiting.len() > *backlog,
            _ => return Err(Errno::CONNREFUSED),
        };
        if is_full {
            return Err(Errno::AGAIN);
        }
        if !is_idle {
            return Err(if self.unix(id).is_some_and(|own| own.listens()) {
                Errno::INVAL
            } else {
                Errno::ISCONN
            });
        }
        let listener_name = self.unix(found).and_then(|target| target.name.clone());
        let end = self.add_unix(host, kind);
        self.pair(id, end);
        if let Some(unix) = self.unix(end) {
            (unix.name, unix.last_peer_name) = (listener_name, name);
        }
        if let Some(State::Listening { waiting, .. }) = self.unix(found).map(|target| &mut target.state) {
            waiting.push_back(end);
        }
        self.notify(found);
        self.notify(id);
        Ok(())
    }

    fn connect_messages(&mut self, id: Id, to: Id) -> Result<(), Errno> {
        self.may_send(id, to)?;
        let Some(own) = self.unix(id) else { return Err(Errno::INVAL) };
        own.state = State::Connected;
        if let Some(before) = own.peer.replace(to).filter(|before| *before != to) {
            // A peer that was connected to this socket learns that its messages are lost.
            let lost = self.lose_messages(id);
            if lost && self.unix(before).is_some_and(|peer| peer.peer == Some(id)) {
                self.socket(before).error = Some(Errno::CONNRESET);
                self.notify(before);
            }
        }
        self.note("connect", id, to);
        self.notify(id);
        Ok(())
    }

    /// Returns an error unless a socket takes messages of another one: it has no peer, or that one.
    fn may_send(&mut self, id: Id, to: Id) -> Result<(), Errno> {
        let peer = self.unix(to).and_then(|target| target.peer);
        if peer.is_none_or(|peer| peer == id) { Ok(()) } else { Err(Errno::PERM) }
    }

    pub(super) fn accept_unix(&mut self, id: Id) -> Result<Id, Errno> {
        let Some(unix) = self.unix(id) else { return Err(Errno::INVAL) };
        if unix.kind == SocketKind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let State::Listening { waiting, .. } = &unix.state else { return Err(Errno::INVAL) };
        if waiting.is_empty() {
            return Err(Errno::AGAIN);
        }
        self.draw_accept(id)?;
        let Some(State::Listening { waiting, .. }) = self.unix(id).map(|unix| &mut unix.state) else {
            return Err(Errno::INVAL);
        };
        let next = waiting.pop_front().ok_or(Errno::AGAIN)?;
        self.note("accept", next, id);
        Ok(next)
    }

    /// Returns the name of a bound socket.
    pub(super) fn unix_name(&mut self, id: Id) -> Option<SocketAddrUnix> {
        self.unix(id).and_then(|unix| unix.name.clone())
    }

    /// Returns the name of the peer, which is `None` if it is not bound.
    pub(super) fn unix_peer_name(&mut self, id: Id) -> Result<Option<SocketAddrUnix>, Errno> {
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        let peer = unix.peer.ok_or(Errno::NOTCONN)?;
        let last = unix.last_peer_name.clone();
        Ok(self.unix_name(peer).or(last))
    }

    /// Returns whether the peer of a Unix socket is known by its credentials; `None` if it is no Unix socket.
    pub(super) fn has_credentials(&mut self, id: Id) -> Option<bool> {
        let unix = self.unix(id)?;
        let is_bound = unix.place.is_some();
        Some(match unix.state {
            State::Listening { .. } => true,
            // A datagram socket has them only from socketpair(2), and is not bound then.
            State::Connected => unix.kind != SocketKind::Datagram || !is_bound,
            State::Idle => false,
        })
    }

    pub(super) fn shut_unix(&mut self, id: Id, how: Shutdown) -> Result<(), Errno> {
        let (read, write) =
            (matches!(how, Shutdown::Read | Shutdown::Both), matches!(how, Shutdown::Write | Shutdown::Both));
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        unix.read_shut |= read;
        unix.write_shut |= write;
        let peer = unix.peer.filter(|_| unix.kind != SocketKind::Datagram);
        if let Some(peer) = peer
            && let Some(unix) = self.unix(peer)
        {
            unix.read_shut |= write;
            unix.write_shut |= read;
            self.notify(peer);
        }
        self.note("shutdown", id, how as u64);
        self.notify(id);
        Ok(())
    }

    /// Closes a socket whose last descriptor is gone.
    pub(super) fn close_unix(&mut self, id: Id) {
        self.end_unix(id, Errno::CONNRESET, false);
    }

    /// Ends a socket. Its peer sees the end, and `reset` if bytes are lost or `always`.
    fn end_unix(&mut self, id: Id, reset: Errno, always: bool) {
        let Some(unix) = self.unix(id) else { return };
        let (kind, peer, name) = (unix.kind, unix.peer, unix.name.clone());
        let is_bound = unix.place.is_some();
        let queue = std::mem::take(&mut unix.queue);
        let waiting = match &mut unix.state {
            State::Listening { waiting, .. } => std::mem::take(waiting),
            _ => VecDeque::new(),
        };
        let loses = always || !queue.is_empty();
        self.remove_socket(id);
        self.lose(queue);
        if is_bound {
            self.keep_name(id, &name);
        }
        for end in waiting {
            self.end_unix(end, reset, true);
        }
        let Some(peer) = peer.filter(|_| kind != SocketKind::Datagram) else {
            return self.wake_senders(id);
        };
        let Some(unix) = self.unix(peer).filter(|unix| unix.peer == Some(id)) else { return };
        (unix.read_shut, unix.write_shut, unix.last_peer_name) = (true, true, name);
        if loses {
            self.socket(peer).error = Some(reset);
        }
        self.notify(peer);
    }

    /// Empties the queue of a socket; returns whether there was something in it.
    pub(super) fn lose_messages(&mut self, id: Id) -> bool {
        let queue = self.unix(id).map(|unix| std::mem::take(&mut unix.queue)).unwrap_or_default();
        let lost = !queue.is_empty();
        self.lose(queue);
        lost
    }

    /// Writes the name of a socket that is closed to its peers, and to its messages that are not read yet.
    fn keep_name(&mut self, id: Id, name: &Option<SocketAddrUnix>) {
        for socket in self.sockets.values_mut() {
            let Body::Unix(unix) = &mut socket.body else { continue };
            if unix.peer == Some(id) {
                unix.last_peer_name.clone_from(name);
            }
            for message in unix.queue.iter_mut().filter(|message| message.sender == id) {
                message.from.clone_from(name);
            }
        }
    }

    fn lose(&mut self, queue: VecDeque<Message>) {
        for message in queue {
            self.credit(message.sender, message.size());
            self.forget_fds(message.fds);
        }
    }

    pub(super) fn unread_unix(&mut self, id: Id) -> Result<u64, Errno> {
        let Some(unix) = self.unix(id).filter(|unix| !unix.listens()) else { return Err(Errno::INVAL) };
        let number = if unix.kind == SocketKind::Datagram { 1 } else { usize::MAX };
        Ok(unix.queue.iter().take(number).map(|message| (message.bytes.len() - message.read) as u64).sum())
    }

    /// Returns the conditions that hold, and lets the next space be reported if there is none.
    pub(super) fn poll_unix(&mut self, id: Id) -> u32 {
        let buffer = self.socket(id).buffers.1;
        let Some(unix) = self.unix(id) else { return 0 };
        let (kind, is_idle) = (unix.kind, matches!(unix.state, State::Idle));
        let mut is_writable = unix.is_writable(buffer);
        let peer = unix.peer.filter(|_| kind == SocketKind::Datagram);
        if let Some(peer) = peer
            && let Some(receiver) = self.unix(peer)
        {
            is_writable &= receiver.peer == Some(id) || receiver.queue.len() <= QUEUE;
        }
        let Some(unix) = self.unix(id) else { return 0 };
        unix.wants_space |= !is_writable;
        let has_input = match &unix.state {
            State::Listening { waiting, .. } => !waiting.is_empty(),
            _ => !unix.queue.is_empty(),
        };
        let is_shut = unix.read_shut && unix.write_shut;
        let hangs_up = is_shut || kind != SocketKind::Datagram && is_idle;
        let set = |holds: bool, bits: u32| if holds { bits } else { 0 };
        set(has_input || unix.read_shut, IN)
            | set(unix.read_shut, RDHUP)
            | set(hangs_up, HUP)
            | set(is_writable, OUT)
    }
}
