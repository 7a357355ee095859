//! Pipes and FIFOs, in pages as Linux has them: a write of at most a page is whole or not at all.

use std::collections::VecDeque;

use netpoll_core::poll::translate::epoll::{ERR, HUP, IN, OUT};
use rustix::io::Errno;

use super::faults::FaultKind;
use super::stream::REST;
use super::world::{Body, Domain, Event, HostId, Id, World};
use crate::sys::pipe::Access;

/// The size of a page.
const PAGE: usize = 4096;

/// The number of pages of a new pipe.
const PAGES: usize = 16;

/// The number of a pipe.
pub(super) type PipeId = u64;

/// A pipe.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// The device and inode of a FIFO.
    file: Option<(u64, u64)>,
    pages: VecDeque<Page>,
    capacity: usize,
    readers: usize,
    writers: usize,
    /// Set once a writer has opened it: only then its reader sees an end.
    had_writer: bool,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    read: usize,
}

/// An end of a pipe, or both ends.
#[derive(Debug)]
pub struct PipeEnd {
    pipe: PipeId,
    access: Access,
}

impl Pipe {
    fn is_full(&self) -> bool {
        self.pages.len() >= self.capacity
    }

    fn len(&self) -> usize {
        self.pages.iter().map(|page| page.bytes.len() - page.read).sum()
    }

    /// Returns how many bytes fit of a write of `length`: the last page takes those beyond whole pages, if it has space for
    /// them.
    fn space(&self, length: usize) -> usize {
        let merged = self.merged(length);
        merged + (length - merged).min(self.capacity.saturating_sub(self.pages.len()) * PAGE)
    }

    fn merged(&self, length: usize) -> usize {
        let rest = length % PAGE;
        let fits = self.pages.back().is_some_and(|page| page.bytes.len() + rest <= PAGE);
        if fits { rest } else { 0 }
    }

    /// Appends bytes that fit, of a write of `length`.
    fn append(&mut self, bytes: &[u8], length: usize) {
        let merged = self.merged(length).min(bytes.len());
        let (first, rest) = bytes.split_at(merged);
        if let Some(page) = self.pages.back_mut() {
            page.bytes.extend_from_slice(first);
        }
        self.pages.extend(rest.chunks(PAGE).map(|part| Page { bytes: part.to_vec(), read: 0 }));
    }

    /// Returns the first bytes, at most `length`.
    fn front(&self, length: usize) -> Vec<u8> {
        let bytes = self.pages.iter().flat_map(|page| &page.bytes[page.read..]);
        bytes.take(length).copied().collect()
    }

    /// Removes the first bytes.
    fn remove(&mut self, mut length: usize) {
        while let Some(page) = self.pages.front_mut() {
            let part = length.min(page.bytes.len() - page.read);
            page.read += part;
            length -= part;
            if page.read < page.bytes.len() {
                return;
            }
            self.pages.pop_front();
        }
    }
}

impl World {
    /// Creates a pipe; returns the end to read and the end to write.
    pub(super) fn add_pipe(&mut self, host: HostId) -> (Id, Id) {
        let pipe = self.new_pipe(None);
        let reader = self.add_pipe_end(host, pipe, Access::READ);
        let writer = self.add_pipe_end(host, pipe, Access::WRITE);
        self.note("pipe", reader, writer);
        (reader, writer)
    }

    fn new_pipe(&mut self, file: Option<(u64, u64)>) -> PipeId {
        let pipe = self.pipes.last_key_value().map_or(1, |(id, _)| id + 1);
        self.pipes.insert(pipe, Pipe { file, capacity: PAGES, ..Pipe::default() });
        pipe
    }

    /// Opens a FIFO whose real file was opened.
    pub(super) fn open_fifo(&mut self, host: HostId, file: (u64, u64), access: Access) -> Id {
        let found = self.pipes.iter().find(|(_, pipe)| pipe.file == Some(file)).map(|(&id, _)| id);
        let pipe = found.unwrap_or_else(|| self.new_pipe(Some(file)));
        let id = self.add_pipe_end(host, pipe, access);
        self.note("open fifo", id, 0);
        self.notify_pipe(pipe, id);
        id
    }

    fn add_pipe_end(&mut self, host: HostId, pipe: PipeId, access: Access) -> Id {
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            pipe.readers += usize::from(access.read);
            pipe.writers += usize::from(access.write);
            pipe.had_writer |= access.write;
        }
        self.add_socket(host, Domain::Local, Body::Pipe(PipeEnd { pipe, access }))
    }

    /// Returns the pipe of a descriptor that may be used in this way.
    fn pipe_of(&self, id: Id, is_allowed: impl Fn(Access) -> bool) -> Result<PipeId, Errno> {
        match &self.sockets[&id].body {
            Body::Pipe(end) if is_allowed(end.access) => Ok(end.pipe),
            _ => Err(Errno::BADF),
        }
    }

    /// Tells the other descriptors of a pipe that something has happened.
    fn notify_pipe(&mut self, pipe: PipeId, of: Id) {
        let is_other = |id: Id, body: &Body| matches!(body, Body::Pipe(end) if end.pipe == pipe && id != of);
        let others: Vec<Id> = self
            .sockets
            .iter()
            .filter(|(id, socket)| is_other(**id, &socket.body))
            .map(|(&id, _)| id)
            .collect();
        for id in others {
            self.notify(id);
        }
    }

    pub(super) fn close_pipe_end(&mut self, id: Id) {
        let Some(Body::Pipe(end)) = self.sockets.get(&id).map(|socket| &socket.body) else { return };
        let (number, access) = (end.pipe, end.access);
        self.remove_socket(id);
        let Some(pipe) = self.pipes.get_mut(&number) else { return };
        pipe.readers -= usize::from(access.read);
        pipe.writers -= usize::from(access.write);
        if (pipe.readers, pipe.writers) == (0, 0) {
            self.pipes.remove(&number);
        }
        self.notify_pipe(number, id);
    }

    pub(super) fn set_pipe_capacity(&mut self, id: Id, bytes: usize) {
        if let Ok(pipe) = self.pipe_of(id, |_| true)
            && let Some(pipe) = self.pipes.get_mut(&pipe)
        {
            pipe.capacity = bytes / PAGE;
        }
    }

    pub(super) fn write_pipe(&mut self, id: Id, parts: &[&[u8]]) -> Result<usize, Errno> {
        let number = self.pipe_of(id, |access| access.write)?;
        let bytes = parts.concat();
        let Some(pipe) = self.pipes.get(&number) else { return Err(Errno::BADF) };
        if bytes.is_empty() {
            return Ok(0);
        }
        if pipe.readers == 0 {
            return Err(Errno::PIPE);
        }
        let space = pipe.space(bytes.len());
        if space == 0 {
            return Err(Errno::AGAIN);
        }
        if self.fault(FaultKind::AgainWrite, id) {
            self.schedule(REST, Event::Resume(id));
            return Err(Errno::AGAIN);
        }
        let mut taken = space.min(bytes.len());
        if taken > PAGE && self.fault(FaultKind::ShortWrite, id) {
            taken = 1 + self.draw_below(taken as u64 - 1) as usize;
            self.schedule(REST, Event::Resume(id));
        }
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.append(&bytes[..taken], bytes.len());
        }
        self.note("write", id, taken as u64);
        self.notify_pipe(number, id);
        Ok(taken)
    }

    pub(super) fn read_pipe(&mut self, id: Id, length: usize) -> Result<Vec<u8>, Errno> {
        let number = self.pipe_of(id, |access| access.read)?;
        let Some(pipe) = self.pipes.get(&number) else { return Err(Errno::BADF) };
        if length == 0 || pipe.pages.is_empty() && pipe.writers == 0 {
            return Ok(Vec::new());
        }
        let there = pipe.len().min(length);
        if there == 0 {
            return Err(Errno::AGAIN);
        }
        if self.fault(FaultKind::AgainRead, id) {
            self.schedule(REST, Event::Resume(id));
            return Err(Errno::AGAIN);
        }
        let mut taken = there;
        // The bytes of a small write are there at once.
        if there > PAGE && self.fault(FaultKind::ShortRead, id) {
            taken = 1 + self.draw_below(there as u64 - 1) as usize;
            self.schedule(REST, Event::Resume(id));
        }
        self.note("read", id, taken as u64);
        self.take_pipe(number, id, taken)
    }

    fn take_pipe(&mut self, number: PipeId, id: Id, length: usize) -> Result<Vec<u8>, Errno> {
        let Some(pipe) = self.pipes.get_mut(&number) else { return Err(Errno::BADF) };
        let bytes = pipe.front(length);
        pipe.remove(bytes.len());
        self.notify_pipe(number, id);
        Ok(bytes)
    }

    /// Moves bytes from a socket or a pipe into a pipe, or out of a pipe.
    pub(super) fn splice(&mut self, from: Id, to: Id, length: usize) -> Result<usize, Errno> {
        if let Ok(pipe) = self.pipe_of(to, |access| access.write)
            && !matches!(self.sockets[&from].body, Body::Pipe(_))
        {
            let Some(pipe) = self.pipes.get(&pipe) else { return Err(Errno::BADF) };
            let space = pipe.capacity.saturating_sub(pipe.pages.len()) * PAGE;
            if space == 0 {
                return Err(Errno::AGAIN);
            }
            let length = length.min(space);
            let bytes = match self.sockets[&from].body {
                Body::Stream(_) => self.recv_for_splice(from, length)?,
                _ => self.recv_bytes(from, length)?,
            };
            return self.write_whole(to, &bytes);
        }
        let number = self.pipe_of(from, |access| access.read)?;
        let Some(pipe) = self.pipes.get(&number) else { return Err(Errno::BADF) };
        let bytes = pipe.front(length);
        if bytes.is_empty() {
            return if pipe.writers == 0 { Ok(0) } else { Err(Errno::AGAIN) };
        }
        let moved = self.send_bytes(to, &[&bytes])?;
        self.take_pipe(number, from, moved)?;
        Ok(moved)
    }

    /// Writes bytes for which there is space, without a fault.
    pub(super) fn write_whole(&mut self, id: Id, bytes: &[u8]) -> Result<usize, Errno> {
        let number = self.pipe_of(id, |access| access.write)?;
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.append(bytes, bytes.len());
        }
        self.note("splice", id, bytes.len() as u64);
        self.notify_pipe(number, id);
        Ok(bytes.len())
    }

    /// Returns the space of a pipe in bytes; `None` if it is none that can be written.
    pub(super) fn pipe_space(&self, id: Id) -> Option<usize> {
        let pipe = self.pipes.get(&self.pipe_of(id, |access| access.write).ok()?)?;
        Some(pipe.capacity.saturating_sub(pipe.pages.len()) * PAGE)
    }

    pub(super) fn unread_pipe(&self, id: Id) -> u64 {
        let pipe = self.pipe_of(id, |_| true).ok().and_then(|pipe| self.pipes.get(&pipe));
        pipe.map_or(0, |pipe| pipe.len() as u64)
    }

    /// Returns the conditions that hold.
    pub(super) fn poll_pipe(&self, id: Id) -> u32 {
        let Body::Pipe(end) = &self.sockets[&id].body else { return 0 };
        let Some(pipe) = self.pipes.get(&end.pipe) else { return 0 };
        let set = |holds: bool, bits: u32| if holds { bits } else { 0 };
        let reads = set(!pipe.pages.is_empty(), IN) | set(pipe.writers == 0 && pipe.had_writer, HUP);
        let writes = set(!pipe.is_full(), OUT) | set(pipe.readers == 0, ERR);
        set(end.access.read, reads) | set(end.access.write, writes)
    }

    /// Describes an end for a dump.
    pub(super) fn describe_pipe(&self, end: &PipeEnd) -> String {
        let bytes = self.pipes.get(&end.pipe).map_or(0, Pipe::len);
        format!("pipe {}, {:?}, {bytes} bytes in it", end.pipe, end.access)
    }
}
