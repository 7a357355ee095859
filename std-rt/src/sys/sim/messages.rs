//! The messages of Unix sockets, and the descriptors that they bring.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::faults::FaultKind;
use super::local::{Message, QUEUE, State, Taken};
use super::stream::REST;
use super::world::{Body, Event, Id, World};
use crate::sys::socket::SocketKind;

/// The longest part of a stream that is one entry of a queue.
const PIECE: usize = 32 << 10;

impl World {
    /// Gives a sender the space of a message back.
    pub(super) fn credit(&mut self, sender: Id, size: usize) {
        let Some(buffer) = self.sockets.get(&sender).map(|socket| socket.buffers.1) else { return };
        let Some(unix) = self.unix(sender) else { return };
        unix.sent = unix.sent.saturating_sub(size);
        if unix.is_writable(buffer) && std::mem::take(&mut unix.wants_space) {
            self.notify(sender);
        }
    }

    /// Wakes the writers that wait for space in the queue of a socket for messages.
    pub(super) fn wake_senders(&mut self, id: Id) {
        let waits =
            |body: &Body| matches!(body, Body::Unix(unix) if unix.peer == Some(id) && unix.wants_space);
        let senders: Vec<Id> =
            self.sockets.iter().filter(|(_, socket)| waits(&socket.body)).map(|(&id, _)| id).collect();
        for sender in senders {
            if let Some(unix) = self.unix(sender) {
                unix.wants_space = false;
            }
            self.notify(sender);
        }
    }

    /// Duplicates descriptors, for a message.
    fn duplicate(&mut self, fds: &[BorrowedFd<'_>]) -> Result<Vec<OwnedFd>, Errno> {
        let mut copies = Vec::with_capacity(fds.len());
        for fd in fds {
            match rustix::io::fcntl_dupfd_cloexec(fd, 0) {
                Ok(copy) => {
                    if let Some(id) = self.id_of(fd.as_raw_fd()) {
                        self.attach(copy.as_raw_fd(), id);
                    }
                    copies.push(copy);
                }
                Err(errno) => {
                    self.forget_fds(copies);
                    return Err(errno);
                }
            }
        }
        Ok(copies)
    }

    /// Closes descriptors that were not received.
    pub(super) fn forget_fds(&mut self, fds: Vec<OwnedFd>) {
        for fd in fds {
            // The close of a descriptor that a thread makes within the kernel is that of the real one alone.
            self.detach(fd.as_raw_fd(), false);
            drop(fd);
        }
    }

    /// Sends to the peer, or messages to an address.
    pub(super) fn send_unix(
        &mut self,
        id: Id,
        parts: &[&[u8]],
        to: Option<&SocketAddrUnix>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<usize, Errno> {
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        let (kind, is_connected) = (unix.kind, matches!(unix.state, State::Connected));
        match kind {
            SocketKind::Stream if to.is_some() && is_connected => Err(Errno::ISCONN),
            SocketKind::Stream if to.is_some() => Err(Errno::OPNOTSUPP),
            SocketKind::Stream => self.send_unix_stream(id, parts, fds),
            SocketKind::Seqpacket => self.send_message(id, parts, None, fds),
            SocketKind::Datagram => self.send_message(id, parts, to, fds),
        }
    }

    fn send_unix_stream(&mut self, id: Id, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let buffer = self.socket(id).buffers.1;
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        let peer = unix.peer.ok_or(Errno::NOTCONN)?;
        if unix.write_shut {
            return Err(Errno::PIPE);
        }
        if length == 0 {
            return Ok(0);
        }
        if let Some(errno) = self.socket(id).error.take() {
            return Err(errno);
        }
        self.draw_send(id)?;
        let mut left = length;
        if length > 1 && self.fault(FaultKind::ShortWrite, id) {
            left = 1 + self.draw_below(length as u64 - 1) as usize;
            self.schedule(REST, Event::Resume(id));
        }
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        let from = unix.name.clone();
        let space = buffer.saturating_sub(unix.sent);
        if space == 0 {
            unix.wants_space = true;
            return Err(Errno::AGAIN);
        }
        let all = parts.concat();
        let mut fds = self.duplicate(fds)?;
        let (mut taken, mut used) = (0, 0);
        while left > 0 && used < space {
            let piece = left.min(PIECE).min((space - used).max(1));
            let bytes = all[taken..taken + piece].to_vec();
            let message =
                Message { sender: id, from: from.clone(), bytes, read: 0, fds: std::mem::take(&mut fds) };
            used += message.size();
            (taken, left) = (taken + piece, left - piece);
            if let Some(target) = self.unix(peer) {
                target.queue.push_back(message);
            }
        }
        if let Some(unix) = self.unix(id) {
            unix.sent += used;
            unix.wants_space |= taken < length;
        }
        self.note("send", id, taken as u64);
        self.notify(peer);
        Ok(taken)
    }

    fn send_message(
        &mut self,
        id: Id,
        parts: &[&[u8]],
        to: Option<&SocketAddrUnix>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<usize, Errno> {
        let (host, buffer) = (self.socket(id).host, self.socket(id).buffers.1);
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        let (kind, peer) = (unix.kind, unix.peer);
        if kind == SocketKind::Seqpacket && peer.is_none() {
            return Err(self.socket(id).error.take().unwrap_or(Errno::NOTCONN));
        }
        if length > buffer.saturating_sub(32) {
            return Err(Errno::MSGSIZE);
        }
        if let Some(errno) = self.socket(id).error.take() {
            return Err(errno);
        }
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        if unix.write_shut {
            return Err(Errno::PIPE);
        }
        if unix.sent >= buffer {
            unix.wants_space = true;
            return Err(Errno::AGAIN);
        }
        let target = match to {
            Some(to) => self.find_unix(host, to)?,
            None => peer.ok_or(Errno::NOTCONN)?,
        };
        self.check_receiver(id, target)?;
        self.draw_send(id)?;
        let fds = self.duplicate(fds)?;
        let from = self.unix_name(id);
        let message = Message { sender: id, from, bytes: parts.concat(), read: 0, fds };
        if let Some(unix) = self.unix(id) {
            unix.sent += message.size();
        }
        if let Some(target) = self.unix(target) {
            target.queue.push_back(message);
        }
        self.note("send", id, length as u64);
        self.notify(target);
        Ok(length)
    }

    /// Returns an error unless a message can be put into the queue of a socket.
    fn check_receiver(&mut self, id: Id, target: Id) -> Result<(), Errno> {
        let kind = self.unix(id).map(|unix| unix.kind);
        let Some(receiver) = self.unix(target) else {
            // It was closed. The sender has no peer any more, and loses what it has received.
            let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
            (unix.peer, unix.state) = (None, State::Idle);
            self.lose_messages(id);
            return Err(Errno::CONNREFUSED);
        };
        let (is_full, takes) = (receiver.queue.len() > QUEUE, receiver.peer);
        match () {
            () if Some(receiver.kind) != kind => return Err(Errno::PROTOTYPE),
            () if takes.is_some_and(|peer| peer != id) => return Err(Errno::PERM),
            () if receiver.read_shut => return Err(Errno::PIPE),
            () => {}
        }
        if is_full && takes != Some(id) {
            if let Some(unix) = self.unix(id) {
                unix.wants_space |= unix.peer == Some(target);
            }
            return Err(Errno::AGAIN);
        }
        Ok(())
    }

    /// Receives at most `length` bytes of a stream, or a message whole.
    pub(super) fn recv_unix(&mut self, id: Id, length: usize, peek: bool) -> Result<Taken, Errno> {
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        let has_messages = unix.has_messages();
        match (unix.kind, &unix.state) {
            (SocketKind::Stream, State::Connected) | (SocketKind::Datagram, _) => {}
            (SocketKind::Seqpacket, State::Connected) => {}
            (SocketKind::Stream, _) => return Err(Errno::INVAL),
            (SocketKind::Seqpacket, _) => return Err(Errno::NOTCONN),
        }
        let (is_empty, has_ended) =
            (unix.queue.is_empty(), unix.read_shut && unix.kind != SocketKind::Datagram);
        if (has_messages || is_empty)
            && let Some(errno) = self.socket(id).error.take()
        {
            return Err(errno);
        }
        if is_empty {
            return if has_ended { Ok(Taken::default()) } else { Err(Errno::AGAIN) };
        }
        if length > 0 || has_messages {
            self.draw_recv(id)?;
        }
        let taken =
            if has_messages { self.take_message(id, peek)? } else { self.take_bytes(id, length, peek)? };
        self.note("recv", id, taken.bytes.len() as u64);
        Ok(taken)
    }

    fn take_message(&mut self, id: Id, peek: bool) -> Result<Taken, Errno> {
        let Some(unix) = self.unix(id) else { return Err(Errno::NOTCONN) };
        if !peek {
            let was_full = unix.queue.len() > QUEUE;
            let message = unix.queue.pop_front().ok_or(Errno::AGAIN)?;
            self.credit(message.sender, message.size());
            if was_full {
                self.wake_senders(id);
            }
            // A sender that was bound only after the send has its name by now.
            let from = self.unix_name(message.sender).or(message.from);
            return Ok(Taken { bytes: message.bytes, from, fds: message.fds });
        }
        let message = unix.queue.pop_front().ok_or(Errno::AGAIN)?;
        let raw: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
        let fds = self.duplicate(&raw);
        let from = self.unix_name(message.sender).or_else(|| message.from.clone());
        let bytes = message.bytes.clone();
        if let Some(unix) = self.unix(id) {
            unix.queue.push_front(message);
        }
        Ok(Taken { bytes, from, fds: fds? })
    }

    /// Takes bytes up to the end of a part that brings descriptors.
    fn take_bytes(&mut self, id: Id, length: usize, peek: bool) -> Result<Taken, Errno> {
        let mut left = length;
        let there: usize =
            self.unix(id).map_or(0, |unix| unix.queue.iter().map(|m| m.bytes.len() - m.read).sum());
        if left.min(there) > 1 && self.fault(FaultKind::ShortRead, id) {
            left = 1 + self.draw_below(left.min(there) as u64 - 1) as usize;
            self.schedule(REST, Event::Resume(id));
        }
        let mut taken = Taken::default();
        let mut kept = VecDeque::new();
        while left > 0 {
            let Some(mut message) = self.unix(id).and_then(|unix| unix.queue.pop_front()) else { break };
            let part = left.min(message.bytes.len() - message.read);
            taken.bytes.extend_from_slice(&message.bytes[message.read..message.read + part]);
            left -= part;
            let has_fds = !message.fds.is_empty();
            if has_fds && peek {
                let raw: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
                taken.fds = self.duplicate(&raw).unwrap_or_default();
            } else if has_fds {
                taken.fds = std::mem::take(&mut message.fds);
            }
            if peek {
                kept.push_back(message);
            } else {
                message.read += part;
                if message.read < message.bytes.len() {
                    kept.push_back(message);
                } else {
                    self.credit(message.sender, message.size());
                }
            }
            if has_fds {
                break;
            }
        }
        if let Some(unix) = self.unix(id) {
            kept.append(&mut unix.queue);
            unix.queue = kept;
        }
        Ok(taken)
    }
}
