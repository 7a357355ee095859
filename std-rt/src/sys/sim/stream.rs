//! The bytes of a connection: the buffers of both ends, the window, and the two ends of a stream.
//!
//! A write puts bytes into `unsent`, and [`pump`](World::pump) sends what the window of the peer has space for. The space of
//! the send buffer is free again once the peer has the bytes, as on Linux. A reader that has made space announces it once it
//! is half of the buffer, or the window was closed.

use std::collections::VecDeque;
use std::net::Shutdown;

use rustix::io::Errno;

use super::faults::FaultKind;
use super::tcp::{Segment, State};
use super::world::{Body, Event, Id, World};

/// The largest segment that Linux passes to a device at once.
const SEGMENT: usize = 64 << 10;

/// The time until the rest of bytes arrives that a fault has held back, in nanoseconds.
pub(super) const REST: u64 = 20_000;

impl World {
    /// Reads from a connection, at most `length` bytes.
    pub(super) fn recv_stream(&mut self, id: Id, length: usize, peek: bool) -> Result<Vec<u8>, Errno> {
        let stream = self.stream(id).ok_or(Errno::NOTCONN)?;
        if stream.is_connecting() {
            return Err(Errno::AGAIN);
        }
        // A read that begins at the mark passes the urgent byte, and one before it ends there.
        let skipped = if length > 0 { stream.skipped() } else { 0 };
        let there = stream.until_mark(skipped).min(length);
        if there == 0 {
            if !peek {
                stream.take(skipped);
            }
            return self.recv_nothing(id, length);
        }
        self.draw_recv(id)?;
        let mut taken = there;
        if there > 1 && self.fault(FaultKind::ShortRead, id) {
            taken = 1 + self.draw_below(there as u64 - 1) as usize;
            // As if the rest had arrived only then.
            self.schedule(REST, Event::Resume(id));
        }
        let Some(stream) = self.stream(id) else { return Err(Errno::NOTCONN) };
        let mut bytes = front(&stream.received, skipped + taken);
        bytes.drain(..skipped);
        if !peek {
            stream.take(skipped + taken);
        }
        self.note("recv", id, taken as u64);
        self.announce(id);
        Ok(bytes)
    }

    /// Reads from a connection for a splice, which passes no mark.
    pub(super) fn recv_for_splice(&mut self, id: Id, length: usize) -> Result<Vec<u8>, Errno> {
        if self.is_at_mark(id) { self.recv_nothing(id, length) } else { self.recv_stream(id, length, false) }
    }

    /// Returns the end of the stream, its error, or that there is nothing yet.
    fn recv_nothing(&mut self, id: Id, length: usize) -> Result<Vec<u8>, Errno> {
        // The end of the stream comes before an error, as on Linux.
        if self.stream(id).is_some_and(|stream| stream.fin_received) {
            return Ok(Vec::new());
        }
        if let Some(errno) = self.socket(id).error.take() {
            return Err(errno);
        }
        let Some(stream) = self.stream(id) else { return Err(Errno::NOTCONN) };
        let has_ended = stream.read_shut || stream.state == State::Dead;
        if has_ended || length == 0 { Ok(Vec::new()) } else { Err(Errno::AGAIN) }
    }

    /// Returns the number of bytes that can be read without a wait, of the next message if it is a socket for messages.
    pub(super) fn unread(&mut self, id: Id) -> Result<u64, Errno> {
        match &self.socket(id).body {
            Body::Listener(_) => Err(Errno::INVAL),
            Body::Idle => Ok(0),
            Body::Unix(_) => self.unread_unix(id),
            Body::Pipe(_) => Ok(self.unread_pipe(id)),
            Body::Stream(stream) => Ok(stream.unread() as u64),
            Body::Datagrams(datagrams) => {
                Ok(datagrams.queue.front().map_or(0, |(_, bytes)| bytes.len() as u64))
            }
        }
    }

    /// Takes the urgent byte by itself.
    pub(super) fn recv_urgent(&mut self, id: Id, peek: bool) -> Result<Vec<u8>, Errno> {
        let stream = self.stream(id).ok_or(Errno::NOTCONN)?;
        let has_ended = stream.fin_received || stream.read_shut;
        // After a reset, and not after the end of the stream.
        let is_gone = stream.state == State::Dead && !stream.fin_received;
        match (stream.urgent, stream.urgent_byte) {
            (Some(place), byte) if is_gone && (byte.is_some() || place >= stream.arrived) => {
                Err(Errno::NOTCONN)
            }
            (Some(_), Some(byte)) if !stream.urgent_inline => {
                if !peek {
                    stream.urgent_byte = None;
                }
                Ok(vec![byte])
            }
            // It was announced, and has not arrived.
            (Some(place), None) if !stream.urgent_inline && place >= stream.arrived => {
                if has_ended {
                    Ok(Vec::new())
                } else {
                    Err(Errno::AGAIN)
                }
            }
            _ => Err(Errno::INVAL),
        }
    }

    pub(super) fn set_urgent_inline(&mut self, id: Id, is_inline: bool) {
        if let Some(stream) = self.stream(id) {
            stream.urgent_inline = is_inline;
        }
    }

    /// Returns whether the next byte to read is the urgent one.
    pub(super) fn is_at_mark(&mut self, id: Id) -> bool {
        self.stream(id).is_some_and(|stream| stream.is_at_mark())
    }

    /// Writes to a connection. The last of the bytes that it takes is urgent.
    pub(super) fn send_urgent(&mut self, id: Id, parts: &[&[u8]]) -> Result<usize, Errno> {
        self.write_stream(id, parts, true)
    }

    /// Writes to a connection; returns how many bytes there was space for.
    pub(super) fn send_stream(&mut self, id: Id, parts: &[&[u8]]) -> Result<usize, Errno> {
        self.write_stream(id, parts, false)
    }

    fn write_stream(&mut self, id: Id, parts: &[&[u8]], is_urgent: bool) -> Result<usize, Errno> {
        if let Some(errno) = self.socket(id).error.take() {
            return Err(errno);
        }
        let stream = self.stream(id).ok_or(Errno::PIPE)?;
        match stream.state {
            State::Connecting | State::HalfOpen(_) => return Err(Errno::AGAIN),
            State::Dead => return Err(Errno::PIPE),
            State::Open if stream.write_shut => return Err(Errno::PIPE),
            State::Open => {}
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let space = stream.space();
        if length > 0 && space == 0 {
            stream.wants_space = true;
            return Err(Errno::AGAIN);
        }
        if length > 0 {
            self.draw_send(id)?;
        }
        let mut taken = length.min(space);
        if taken > 1 && self.fault(FaultKind::ShortWrite, id) {
            taken = 1 + self.draw_below(taken as u64 - 1) as usize;
            self.schedule(REST, Event::Resume(id));
        }
        let Some(stream) = self.stream(id) else { return Err(Errno::PIPE) };
        stream.wants_space |= taken < length;
        let mut left = taken;
        for part in parts {
            let part = &part[..part.len().min(left)];
            stream.unsent.extend(part);
            left -= part.len();
        }
        let end = stream.sent + stream.unsent.len() as u64;
        self.note("send", id, taken as u64);
        if is_urgent && taken > 0 {
            // The segments before it say so already.
            self.send_segment(id, Segment::Urgent(end - 1));
        }
        self.pump(id);
        Ok(taken)
    }

    pub(super) fn shut_stream(&mut self, id: Id, how: Shutdown) -> Result<(), Errno> {
        let stream = self.stream(id).ok_or(Errno::NOTCONN)?;
        if stream.is_connecting() || stream.is_over() {
            return Err(Errno::NOTCONN);
        }
        stream.read_shut |= matches!(how, Shutdown::Read | Shutdown::Both);
        stream.write_shut |= matches!(how, Shutdown::Write | Shutdown::Both);
        self.note("shutdown", id, how as u64);
        self.pump(id);
        self.notify(id);
        Ok(())
    }

    pub(super) fn set_recv_buffer(&mut self, id: Id, bytes: usize) {
        self.socket(id).buffers.0 = bytes;
        if let Some(stream) = self.stream(id) {
            stream.recv_buffer = bytes;
        }
    }

    pub(super) fn set_send_buffer(&mut self, id: Id, bytes: usize) {
        self.socket(id).buffers.1 = bytes;
        if let Some(stream) = self.stream(id) {
            stream.send_buffer = bytes;
        }
    }

    /// Sends what there is to send and the peer has space for.
    pub(super) fn pump(&mut self, id: Id) {
        loop {
            let Some(stream) = self.stream(id).filter(|stream| stream.state == State::Open) else { return };
            let window = stream.edge.saturating_sub(stream.sent) as usize;
            let length = stream.unsent.len().min(window).min(SEGMENT);
            if length == 0 {
                break;
            }
            let bytes = front(&stream.unsent, length);
            stream.unsent.drain(..length);
            stream.sent += length as u64;
            self.send_segment(id, Segment::Data(bytes));
        }
        let Some(stream) = self.stream(id) else { return };
        if stream.write_shut && stream.unsent.is_empty() && !stream.fin_sent {
            stream.fin_sent = true;
            self.send_segment(id, Segment::Fin);
        }
    }

    /// Tells the peer of new space, if that matters to it.
    fn announce(&mut self, id: Id) {
        let Some(stream) = self.stream(id).filter(|stream| stream.state == State::Open) else { return };
        let edge = stream.window_edge();
        let gain = edge.saturating_sub(stream.announced);
        if gain >= stream.recv_buffer as u64 / 2 || gain > 0 && stream.announced <= stream.arrived {
            self.send_ack(id);
        }
    }

    fn send_ack(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else { return };
        let (arrived, edge) = (stream.arrived, stream.window_edge());
        stream.announced = stream.announced.max(edge);
        self.send_segment(id, Segment::Ack { arrived, edge });
    }

    pub(super) fn take_data(&mut self, id: Id, bytes: Vec<u8>) {
        if self.is_orphan(id) {
            // The owner has closed it.
            self.send_segment(id, Segment::Reset);
            return self.remove_socket(id);
        }
        let Some(stream) = self.stream(id).filter(|stream| stream.state == State::Open) else { return };
        if stream.read_shut && stream.fin_sent {
            // Neither direction is open here: Linux drops the bytes and ends the connection for both.
            self.send_segment(id, Segment::Reset);
            return self.fail_stream(id, Errno::CONNRESET);
        }
        if let Some(place) = stream.urgent
            && let Some(index) = place.checked_sub(stream.arrived)
            && let Some(byte) = bytes.get(index as usize)
        {
            stream.urgent_byte = Some(*byte);
        }
        stream.arrived += bytes.len() as u64;
        stream.received.extend(bytes);
        self.send_ack(id);
        self.notify(id);
    }

    /// Returns whether a connection was closed, instead of waiting for an accept: neither has a descriptor.
    pub(super) fn is_orphan(&mut self, id: Id) -> bool {
        let is_closed = self.sockets.get(&id).is_some_and(|socket| socket.fds == 0);
        is_closed && self.stream(id).is_some_and(|stream| stream.write_shut)
    }

    pub(super) fn take_ack(&mut self, id: Id, arrived: u64, edge: u64) {
        let Some(stream) = self.stream(id) else { return };
        stream.acked = stream.acked.max(arrived);
        stream.edge = stream.edge.max(edge);
        let has_space = stream.is_writable();
        if has_space && std::mem::take(&mut stream.wants_space) {
            self.notify(id);
        }
        self.pump(id);
    }

    /// Takes the place of an urgent byte. Of two bytes the later one is urgent; a reader at the mark of the first passes that.
    pub(super) fn take_urgent(&mut self, id: Id, place: u64) {
        let Some(stream) = self.stream(id) else { return };
        if place < stream.arrived || stream.urgent.is_some_and(|present| place <= present) {
            return;
        }
        let skipped = stream.skipped();
        stream.take(skipped);
        (stream.urgent, stream.urgent_byte) = (Some(place), None);
    }

    pub(super) fn take_fin(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else { return };
        stream.fin_received = true;
        self.send_segment(id, Segment::FinAck);
        self.notify(id);
    }
}

/// Returns a copy of the first bytes of a queue.
fn front(queue: &VecDeque<u8>, length: usize) -> Vec<u8> {
    let (first, second) = queue.as_slices();
    let cut = length.min(first.len());
    [&first[..cut], &second[..length - cut]].concat()
}

impl super::tcp::Stream {
    /// Returns the free bytes of the send buffer.
    fn space(&self) -> usize {
        let used = self.unsent.len() + (self.sent - self.acked) as usize;
        self.send_buffer.saturating_sub(used)
    }

    /// Returns whether the socket counts as writable: a third of the buffer is free, as on Linux.
    pub(super) fn is_writable(&self) -> bool {
        self.space() * 3 >= self.send_buffer
    }

    /// Returns the place of the next byte to read.
    fn consumed(&self) -> u64 {
        self.arrived - self.received.len() as u64
    }

    pub(super) fn is_at_mark(&self) -> bool {
        self.urgent == Some(self.consumed())
    }

    /// Returns the number of bytes that the next read passes: the urgent one, if that is next.
    pub(super) fn skipped(&self) -> usize {
        usize::from(self.is_at_mark() && !self.urgent_inline && !self.received.is_empty())
    }

    /// Returns the number of bytes up to the mark, or behind it for a read that begins there.
    fn until_mark(&self, skipped: usize) -> usize {
        let all = self.received.len() - skipped;
        match self.urgent.and_then(|place| place.checked_sub(self.consumed())) {
            Some(before) if before > 0 => all.min(before as usize),
            _ => all,
        }
    }

    /// Returns the number that `FIONREAD` does: the bytes before the mark of an urgent byte that has arrived.
    fn unread(&self) -> usize {
        match self.urgent {
            Some(place) if !self.urgent_inline && place < self.arrived => (place - self.consumed()) as usize,
            _ => self.received.len(),
        }
    }

    /// Removes bytes that were read, and the mark once it is behind.
    fn take(&mut self, length: usize) {
        self.received.drain(..length);
        if self.urgent.is_some_and(|place| place < self.consumed()) {
            (self.urgent, self.urgent_byte) = (None, None);
        }
    }

    fn window_edge(&self) -> u64 {
        self.arrived + self.recv_buffer.saturating_sub(self.received.len()) as u64
    }
}
