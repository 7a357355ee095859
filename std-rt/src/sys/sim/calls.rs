//! The functions of rustix that [`sys`](crate::sys) calls: on a simulated descriptor the simulated kernel's, else rustix's own.
//!
//! Each module exports what rustix's has, and defines the functions anew that a simulation answers.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType};

use super::datagram::Datagrams;
use super::faults::FaultKind;
use super::world::{Body, Domain, Id, World};
use super::{current, on};
use crate::sys::socket::SocketKind;

pub mod fs;
pub mod pipe;

type Result<T> = std::result::Result<T, Errno>;

/// Calls `simulated` if the descriptor is a simulated one, after a fault that the seed determines, else `real`.
fn either<T>(
    fd: BorrowedFd<'_>,
    simulated: impl FnOnce(&mut World, Id) -> Result<T>,
    real: impl FnOnce() -> Result<T>,
) -> Result<T> {
    interruptible(fd, simulated).unwrap_or_else(real)
}

/// Calls `simulated` if the descriptor is a simulated one, and no signal interrupts the call.
fn interruptible<T>(
    fd: BorrowedFd<'_>,
    simulated: impl FnOnce(&mut World, Id) -> Result<T>,
) -> Option<Result<T>> {
    on(fd, |world, id| {
        if world.fault(FaultKind::Interrupt, id) {
            return Err(Errno::INTR);
        }
        simulated(world, id)
    })
}

/// Makes a descriptor that was just created one of a new socket.
fn create(fd: OwnedFd, family: AddressFamily, kind: SocketType) -> Result<OwnedFd> {
    let domain = match family {
        AddressFamily::INET => Domain::V4,
        AddressFamily::INET6 => Domain::V6,
        AddressFamily::UNIX => Domain::Local,
        _ => return Ok(fd),
    };
    let Some(kernel) = current() else { return Ok(fd) };
    let mut world = kernel.lock();
    if let Err(errno) = draw_create(&mut world) {
        // The descriptor is closed without the lock, which that needs.
        drop(world);
        return Err(errno);
    }
    let host = world.current;
    let id = match (domain, kind) {
        (Domain::Local, kind) => world.add_unix(host, unix_kind(kind)),
        (_, SocketType::DGRAM) => world.add_socket(host, domain, Body::Datagrams(Datagrams::default())),
        _ => world.add_socket(host, domain, Body::Idle),
    };
    world.attach(fd.as_raw_fd(), id);
    Ok(fd)
}

/// Draws the faults of a call that creates a socket.
fn draw_create(world: &mut World) -> Result<()> {
    if world.fault(FaultKind::NoDescriptor, 0) { Err(Errno::MFILE) } else { world.draw_memory(0) }
}

fn unix_kind(kind: SocketType) -> SocketKind {
    match kind {
        SocketType::DGRAM => SocketKind::Datagram,
        SocketType::SEQPACKET => SocketKind::Seqpacket,
        _ => SocketKind::Stream,
    }
}

/// A buffer that a read fills.
pub trait Fill: Sized {
    /// The part of rustix's result that the functions of this crate take.
    type Filled;

    /// Returns the bytes that fit.
    fn space(&self) -> usize;

    /// Puts bytes into it, not more than fit.
    fn fill(self, bytes: &[u8]) -> Self::Filled;

    /// Reads by rustix.
    fn recv(self, fd: BorrowedFd<'_>, flags: rustix::net::RecvFlags) -> Result<(Self::Filled, usize)>;

    /// Reads by rustix.
    fn read(self, fd: BorrowedFd<'_>) -> Result<Self::Filled>;
}

impl Fill for &mut [u8] {
    type Filled = usize;

    fn space(&self) -> usize {
        self.len()
    }

    fn fill(self, bytes: &[u8]) -> usize {
        self[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    fn recv(self, fd: BorrowedFd<'_>, flags: rustix::net::RecvFlags) -> Result<(usize, usize)> {
        rustix::net::recv(fd, self, flags)
    }

    fn read(self, fd: BorrowedFd<'_>) -> Result<usize> {
        rustix::io::read(fd, self)
    }
}

impl Fill for &mut [MaybeUninit<u8>] {
    /// The places that are initialized, whose number is the length of the bytes.
    type Filled = (Range<usize>, ());

    fn space(&self) -> usize {
        self.len()
    }

    fn fill(self, bytes: &[u8]) -> (Range<usize>, ()) {
        for (place, byte) in self.iter_mut().zip(bytes) {
            place.write(*byte);
        }
        (0..bytes.len(), ())
    }

    fn recv(self, fd: BorrowedFd<'_>, flags: rustix::net::RecvFlags) -> Result<((Range<usize>, ()), usize)> {
        rustix::net::recv(fd, self, flags).map(|((read, _), n)| ((0..read.len(), ()), n))
    }

    fn read(self, fd: BorrowedFd<'_>) -> Result<(Range<usize>, ())> {
        rustix::io::read(fd, self).map(|(read, _)| (0..read.len(), ()))
    }
}

/// The spare capacity of a vector.
pub struct Spare<'a>(&'a mut Vec<u8>);

impl Fill for Spare<'_> {
    type Filled = usize;

    fn space(&self) -> usize {
        self.0.capacity() - self.0.len()
    }

    fn fill(self, bytes: &[u8]) -> usize {
        self.0.extend_from_slice(bytes);
        bytes.len()
    }

    fn recv(self, fd: BorrowedFd<'_>, flags: rustix::net::RecvFlags) -> Result<(usize, usize)> {
        rustix::net::recv(fd, rustix::buffer::spare_capacity(self.0), flags)
    }

    fn read(self, fd: BorrowedFd<'_>) -> Result<usize> {
        rustix::io::read(fd, rustix::buffer::spare_capacity(self.0))
    }
}

/// The outcome of a receive. Its descriptors are closed without the lock of the state, unless the caller takes them.
#[derive(Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub from: Option<SocketAddrAny>,
    /// True if the rest of the message is lost.
    pub is_message: bool,
    pub fds: Vec<OwnedFd>,
}

/// Reads from a socket of any kind; a message whole.
fn recv_any(world: &mut World, id: Id, length: usize, peek: bool) -> Result<Received> {
    match &world.socket(id).body {
        Body::Datagrams(_) => {
            let (from, bytes) = world.recv_datagram(id, peek)?;
            Ok(Received { bytes, from: Some(from.into()), is_message: true, fds: Vec::new() })
        }
        Body::Unix(unix) => {
            let is_message = unix.has_messages();
            let taken = world.recv_unix(id, length, peek)?;
            let from = taken.from.filter(|_| is_message).map(SocketAddrAny::from);
            Ok(Received { bytes: taken.bytes, from, is_message, fds: taken.fds })
        }
        Body::Pipe(_) => Ok(Received { bytes: world.read_pipe(id, length)?, ..Received::default() }),
        _ => Ok(Received { bytes: world.recv_stream(id, length, peek)?, ..Received::default() }),
    }
}

fn send_any(
    world: &mut World,
    id: Id,
    parts: &[&[u8]],
    to: Option<SocketAddrAny>,
    fds: &[BorrowedFd<'_>],
) -> Result<usize> {
    match &world.socket(id).body {
        Body::Datagrams(_) => {
            let to = to.map(SocketAddr::try_from).transpose().map_err(|_| Errno::AFNOSUPPORT)?;
            world.send_datagram(id, parts, to)
        }
        Body::Unix(_) => {
            let to = to.map(SocketAddrUnix::try_from).transpose().map_err(|_| Errno::INVAL)?;
            world.send_unix(id, parts, to.as_ref(), fds)
        }
        Body::Pipe(_) => world.write_pipe(id, parts),
        _ => world.send_stream(id, parts),
    }
}

impl World {
    /// Reads the bytes of a stream, for a splice.
    pub(super) fn recv_bytes(&mut self, id: Id, length: usize) -> Result<Vec<u8>> {
        let received = recv_any(self, id, length, false)?;
        self.forget_fds(received.fds);
        Ok(received.bytes)
    }

    /// Writes bytes to a descriptor of any kind, for a splice.
    pub(super) fn send_bytes(&mut self, id: Id, parts: &[&[u8]]) -> Result<usize> {
        send_any(self, id, parts, None, &[])
    }
}

/// Copies bytes into the buffers, in order; returns how many fitted.
fn scatter(bytes: &[u8], buffers: &mut [std::io::IoSliceMut<'_>]) -> usize {
    let mut left = bytes;
    for buffer in buffers {
        let (now, later) = left.split_at(left.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        left = later;
    }
    bytes.len() - left.len()
}

fn ip(address: &impl rustix::net::addr::SocketAddrArg) -> Result<SocketAddr> {
    SocketAddr::try_from(address.as_any()).map_err(|_| Errno::INVAL)
}

fn unix(address: &impl rustix::net::addr::SocketAddrArg) -> Result<SocketAddrUnix> {
    SocketAddrUnix::try_from(address.as_any()).map_err(|_| Errno::INVAL)
}

/// Stands for [`rustix::buffer`].
pub mod buffer {
    /// Stands for [`rustix::buffer::spare_capacity`].
    pub fn spare_capacity(buffer: &mut Vec<u8>) -> super::Spare<'_> {
        super::Spare(buffer)
    }
}

/// Stands for [`rustix::event`].
pub mod event {
    use std::os::fd::BorrowedFd;

    pub use rustix::event::{PollFlags, Timespec};

    use super::{Result, on};

    /// Stands for [`rustix::event::PollFd`].
    pub struct PollFd<'a> {
        fd: BorrowedFd<'a>,
        asked: PollFlags,
        found: PollFlags,
    }

    impl<'a> PollFd<'a> {
        /// Stands for [`rustix::event::PollFd::from_borrowed_fd`].
        pub fn from_borrowed_fd(fd: BorrowedFd<'a>, asked: PollFlags) -> Self {
            Self { fd, asked, found: PollFlags::empty() }
        }

        /// Stands for [`rustix::event::PollFd::revents`].
        pub fn revents(&self) -> PollFlags {
            self.found
        }
    }

    /// Stands for [`rustix::event::poll`], of one descriptor. A simulated one is looked at without a wait.
    pub fn poll(entries: &mut [PollFd<'_>; 1], timeout: Option<&Timespec>) -> Result<usize> {
        let [entry] = entries;
        let found = match on(entry.fd, |world, id| world.poll(id)) {
            // The bits of poll(2) and of epoll have the same numbers on Linux.
            Some(found) => PollFlags::from_bits_truncate(found as u16),
            None => {
                let mut real = [rustix::event::PollFd::from_borrowed_fd(entry.fd, entry.asked)];
                rustix::event::poll(&mut real, timeout)?;
                real[0].revents()
            }
        };
        entry.found = found & (entry.asked | PollFlags::ERR | PollFlags::HUP);
        Ok(usize::from(!entry.found.is_empty()))
    }
}

/// Stands for [`rustix::io`].
pub mod rw {
    use std::io::{IoSlice, IoSliceMut};

    pub use rustix::io::*;

    use super::{
        AsFd, AsRawFd, Errno, FaultKind, Fill, OwnedFd, Result, current, either, on, recv_any, scatter,
        send_any,
    };

    /// Stands for [`rustix::io::read`].
    pub fn read<F: Fill>(fd: impl AsFd, buffer: F) -> Result<F::Filled> {
        super::net::recv(fd, buffer, None).map(|(filled, _)| filled)
    }

    /// Stands for [`rustix::io::write`].
    pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
        let fd = fd.as_fd();
        either(fd, |world, id| send_any(world, id, &[bytes], None, &[]), || rustix::io::write(fd, bytes))
    }

    /// Stands for [`rustix::io::readv`].
    pub fn readv(fd: impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let fd = fd.as_fd();
        let length = buffers.iter().map(|buffer| buffer.len()).sum();
        let read = on(fd, |world, id| recv_any(world, id, length, false));
        match read {
            Some(read) => read.map(|read| scatter(&read.bytes, buffers)),
            None => rustix::io::readv(fd, buffers),
        }
    }

    /// Stands for [`rustix::io::writev`].
    pub fn writev(fd: impl AsFd, buffers: &[IoSlice<'_>]) -> Result<usize> {
        let fd = fd.as_fd();
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        either(fd, |world, id| send_any(world, id, &parts, None, &[]), || rustix::io::writev(fd, buffers))
    }

    /// Stands for [`rustix::io::ioctl_fionread`].
    pub fn ioctl_fionread(fd: impl AsFd) -> Result<u64> {
        let fd = fd.as_fd();
        either(fd, |world, id| world.unread(id), || rustix::io::ioctl_fionread(fd))
    }

    /// Stands for [`rustix::io::fcntl_dupfd_cloexec`].
    pub fn fcntl_dupfd_cloexec(fd: impl AsFd, min: i32) -> Result<OwnedFd> {
        let fd = fd.as_fd();
        let drawn = on(fd, |world, id| world.fault(FaultKind::NoDescriptor, id));
        if drawn == Some(true) {
            return Err(Errno::MFILE);
        }
        let copy = rustix::io::fcntl_dupfd_cloexec(fd, min)?;
        if let Some(kernel) = current() {
            let mut world = kernel.lock();
            if let Some(id) = world.id_of(fd.as_raw_fd()) {
                world.attach(copy.as_raw_fd(), id);
            }
        }
        Ok(copy)
    }
}

/// Stands for [`rustix::net`].
pub mod net;
