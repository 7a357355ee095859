//! The functions of rustix that [`sys`](crate::sys) calls: on a simulated descriptor the simulated kernel's, else rustix's own.
//!
//! Each module exports what rustix's has, and defines the functions anew that a simulation answers.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::datagram::Datagrams;
use super::world::{Body, Domain, Id, World};
use super::{current, on};

type Result<T> = std::result::Result<T, Errno>;

/// Calls `simulated` if the descriptor is a simulated one, after a fault that the seed determines, else `real`.
fn either<T>(
    fd: BorrowedFd<'_>,
    simulated: impl FnOnce(&mut World, Id) -> Result<T>,
    real: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let call = |world: &mut World, id: Id| {
        if world.fault(world.faults.interrupt, "fault: interrupt", id) {
            return Err(Errno::INTR);
        }
        simulated(world, id)
    };
    on(fd, call).unwrap_or_else(real)
}

/// Makes a descriptor that was just created one of the socket that `body` returns.
fn create(fd: OwnedFd, family: AddressFamily, body: impl FnOnce() -> Body) -> Result<OwnedFd> {
    let domain = match family {
        AddressFamily::INET => Domain::V4,
        AddressFamily::INET6 => Domain::V6,
        _ => return Ok(fd),
    };
    let Some(kernel) = current() else { return Ok(fd) };
    let mut world = kernel.lock();
    let host = world.current;
    let exhaust = world.faults.exhaust;
    if world.fault(exhaust, "fault: exhaust", 0) {
        // The descriptor is closed without the lock, which that needs.
        drop(world);
        return Err(Errno::MFILE);
    }
    let id = world.add_socket(host, domain, body());
    world.attach(fd.as_raw_fd(), id);
    Ok(fd)
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

/// Reads from a socket of any kind, the rest of a message is lost; returns the bytes, and the sender of a message.
fn recv_any(
    world: &mut World,
    id: Id,
    length: usize,
    peek: bool,
) -> Result<(Vec<u8>, Option<std::net::SocketAddr>)> {
    match &world.sockets[&id].body {
        Body::Datagrams(_) => world.recv_datagram(id, peek).map(|(from, bytes)| (bytes, Some(from))),
        _ => world.recv_stream(id, length, peek).map(|bytes| (bytes, None)),
    }
}

fn send_any(world: &mut World, id: Id, parts: &[&[u8]], to: Option<std::net::SocketAddr>) -> Result<usize> {
    match &world.sockets[&id].body {
        Body::Datagrams(_) => world.send_datagram(id, parts, to),
        _ => world.send_stream(id, parts),
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

fn ip(address: &impl rustix::net::addr::SocketAddrArg) -> Result<std::net::SocketAddr> {
    std::net::SocketAddr::try_from(address.as_any()).map_err(|_| Errno::INVAL)
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

    use super::{AsFd, AsRawFd, Fill, OwnedFd, Result, current, either, on, recv_any, scatter, send_any};

    /// Stands for [`rustix::io::read`].
    pub fn read<F: Fill>(fd: impl AsFd, buffer: F) -> Result<F::Filled> {
        super::net::recv(fd, buffer, None).map(|(filled, _)| filled)
    }

    /// Stands for [`rustix::io::write`].
    pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
        let fd = fd.as_fd();
        either(fd, |world, id| send_any(world, id, &[bytes], None), || rustix::io::write(fd, bytes))
    }

    /// Stands for [`rustix::io::readv`].
    pub fn readv(fd: impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let fd = fd.as_fd();
        let length = buffers.iter().map(|buffer| buffer.len()).sum();
        let read = on(fd, |world, id| recv_any(world, id, length, false));
        match read {
            Some(read) => read.map(|(bytes, _)| scatter(&bytes, buffers)),
            None => rustix::io::readv(fd, buffers),
        }
    }

    /// Stands for [`rustix::io::writev`].
    pub fn writev(fd: impl AsFd, buffers: &[IoSlice<'_>]) -> Result<usize> {
        let fd = fd.as_fd();
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        either(fd, |world, id| send_any(world, id, &parts, None), || rustix::io::writev(fd, buffers))
    }

    /// Stands for [`rustix::io::ioctl_fionread`].
    pub fn ioctl_fionread(fd: impl AsFd) -> Result<u64> {
        let fd = fd.as_fd();
        either(fd, |world, id| world.unread(id), || rustix::io::ioctl_fionread(fd))
    }

    /// Stands for [`rustix::io::fcntl_dupfd_cloexec`].
    pub fn fcntl_dupfd_cloexec(fd: impl AsFd, min: i32) -> Result<OwnedFd> {
        let fd = fd.as_fd();
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
pub mod net {
    use std::io::{IoSlice, IoSliceMut};
    use std::net::SocketAddr;

    use rustix::net::addr::SocketAddrArg;
    pub use rustix::net::*;

    use super::{
        AsFd, AsRawFd, Body, BorrowedFd, Datagrams, Errno, Fill, OwnedFd, Result, create, current, either,
        ip, recv_any, scatter, send_any,
    };

    pub mod sockopt;

    /// Stands for [`rustix::net::socket_with`].
    pub fn socket_with(
        family: AddressFamily,
        kind: SocketType,
        flags: SocketFlags,
        protocol: Option<Protocol>,
    ) -> Result<OwnedFd> {
        let fd = rustix::net::socket_with(family, kind, flags, protocol)?;
        create(fd, family, || match kind {
            SocketType::DGRAM => Body::Datagrams(Datagrams::default()),
            _ => Body::Idle,
        })
    }

    /// Stands for [`rustix::net::bind`].
    pub fn bind(fd: impl AsFd, address: &impl SocketAddrArg) -> Result<()> {
        let fd = fd.as_fd();
        either(fd, |world, id| world.bind(id, ip(address)?), || rustix::net::bind(fd, address))
    }

    /// Stands for [`rustix::net::listen`].
    pub fn listen(fd: impl AsFd, backlog: i32) -> Result<()> {
        let fd = fd.as_fd();
        either(fd, |world, id| world.listen(id, backlog), || rustix::net::listen(fd, backlog))
    }

    /// Stands for [`rustix::net::connect`].
    pub fn connect(fd: impl AsFd, address: &impl SocketAddrArg) -> Result<()> {
        let fd = fd.as_fd();
        let connect = |world: &mut super::World, id| {
            let connected = world.connect(id, ip(address)?);
            // A signal interrupts the call after its effect: a repeated one would be another attempt.
            let interrupt = world.faults.interrupt;
            match connected {
                Err(Errno::INPROGRESS) if world.fault(interrupt, "fault: interrupt", id) => Err(Errno::INTR),
                other => other,
            }
        };
        super::on(fd, connect).unwrap_or_else(|| rustix::net::connect(fd, address))
    }

    /// Stands for [`rustix::net::acceptfrom_with`].
    pub fn acceptfrom_with(fd: impl AsFd, flags: SocketFlags) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
        let fd = fd.as_fd();
        let accepted = super::on(fd, |world, id| world.accept(id));
        let Some(accepted) = accepted else { return rustix::net::acceptfrom_with(fd, flags) };
        let id = accepted?;
        let family = rustix::net::sockopt::socket_domain(fd)?;
        let connection = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        let kernel = current().ok_or(Errno::NETDOWN)?;
        let mut world = kernel.lock();
        world.attach(connection.as_raw_fd(), id);
        // The client may have reset it meanwhile: its address is known nevertheless.
        let domain = world.socket(id).domain;
        let peer = world.stream(id).map(|stream| domain.show(stream.peer));
        drop(world);
        Ok((connection, peer.map(SocketAddrAny::from)))
    }

    /// Stands for [`rustix::net::getsockname`].
    pub fn getsockname(fd: impl AsFd) -> Result<SocketAddrAny> {
        let fd = fd.as_fd();
        let name = |world: &mut super::World, id| Ok(SocketAddrAny::from(world.sock_name(id)));
        either(fd, name, || rustix::net::getsockname(fd))
    }

    /// Stands for [`rustix::net::getpeername`].
    pub fn getpeername(fd: impl AsFd) -> Result<Option<SocketAddrAny>> {
        let fd = fd.as_fd();
        let name = |world: &mut super::World, id| world.peer_name(id).map(|peer| Some(peer.into()));
        either(fd, name, || rustix::net::getpeername(fd))
    }

    /// Stands for [`rustix::net::shutdown`].
    pub fn shutdown(fd: impl AsFd, how: Shutdown) -> Result<()> {
        let fd = fd.as_fd();
        let std_how = match how {
            Shutdown::Read => std::net::Shutdown::Read,
            Shutdown::Write => std::net::Shutdown::Write,
            Shutdown::Both => std::net::Shutdown::Both,
        };
        either(fd, |world, id| world.shut_stream(id, std_how), || rustix::net::shutdown(fd, how))
    }

    /// Stands for [`rustix::net::recv`]; without flags as [`rustix::io::read`].
    pub fn recv<F: Fill>(
        fd: impl AsFd,
        buffer: F,
        flags: impl Into<Option<RecvFlags>>,
    ) -> Result<(F::Filled, usize)> {
        let (fd, flags) = (fd.as_fd(), flags.into());
        let (space, peek) = (buffer.space(), flags.is_some_and(|flags| flags.contains(RecvFlags::PEEK)));
        match receive(fd, space, peek) {
            Some(Ok((bytes, _))) => {
                let n = bytes.len().min(space);
                Ok((buffer.fill(&bytes[..n]), n))
            }
            Some(Err(errno)) => Err(errno),
            None => match flags {
                Some(flags) => buffer.recv(fd, flags),
                None => buffer.read(fd).map(|filled| (filled, 0)),
            },
        }
    }

    /// Reads from a simulated socket; `None` if it is not one.
    fn receive(
        fd: BorrowedFd<'_>,
        space: usize,
        peek: bool,
    ) -> Option<Result<(Vec<u8>, Option<SocketAddr>)>> {
        super::on(fd, |world, id| {
            if world.fault(world.faults.interrupt, "fault: interrupt", id) {
                return Err(Errno::INTR);
            }
            recv_any(world, id, space, peek)
        })
    }

    /// Stands for [`rustix::net::recvfrom`].
    pub fn recvfrom(
        fd: impl AsFd,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> Result<(usize, usize, Option<SocketAddrAny>)> {
        let fd = fd.as_fd();
        let Some(read) = receive(fd, buffer.len(), flags.contains(RecvFlags::PEEK)) else {
            return rustix::net::recvfrom(fd, buffer, flags);
        };
        let (bytes, from) = read?;
        let n = scatter(&bytes, &mut [IoSliceMut::new(buffer)]);
        Ok((n, bytes.len(), from.map(SocketAddrAny::from)))
    }

    /// Stands for [`rustix::net::recvmsg`]. A simulated message brings no descriptors and no control messages.
    pub fn recvmsg(
        fd: impl AsFd,
        buffers: &mut [IoSliceMut<'_>],
        control: &mut RecvAncillaryBuffer<'_>,
        flags: RecvFlags,
    ) -> Result<RecvMsg> {
        let fd = fd.as_fd();
        let space = buffers.iter().map(|buffer| buffer.len()).sum();
        let Some(read) = receive(fd, space, flags.contains(RecvFlags::PEEK)) else {
            return rustix::net::recvmsg(fd, buffers, control, flags);
        };
        let (bytes, from) = read?;
        let is_cut = from.is_some() && bytes.len() > space;
        Ok(RecvMsg {
            bytes: scatter(&bytes, buffers),
            flags: if is_cut { ReturnFlags::TRUNC } else { ReturnFlags::empty() },
            address: from.map(SocketAddrAny::from),
        })
    }

    /// Stands for [`rustix::net::send`].
    pub fn send(fd: impl AsFd, bytes: &[u8], flags: SendFlags) -> Result<usize> {
        let fd = fd.as_fd();
        let send = |world: &mut super::World, id| send_any(world, id, &[bytes], None);
        either(fd, send, || rustix::net::send(fd, bytes, flags))
    }

    /// Stands for [`rustix::net::sendto`].
    pub fn sendto(fd: impl AsFd, bytes: &[u8], flags: SendFlags, to: &impl SocketAddrArg) -> Result<usize> {
        let fd = fd.as_fd();
        let send = |world: &mut super::World, id| send_any(world, id, &[bytes], Some(ip(to)?));
        either(fd, send, || rustix::net::sendto(fd, bytes, flags, to))
    }

    /// Stands for [`rustix::net::sendmsg`]. A simulated message takes no control messages along.
    pub fn sendmsg(
        fd: impl AsFd,
        buffers: &[IoSlice<'_>],
        control: &mut SendAncillaryBuffer<'_, '_, '_>,
        flags: SendFlags,
    ) -> Result<usize> {
        let fd = fd.as_fd();
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        let send = |world: &mut super::World, id| send_any(world, id, &parts, None);
        either(fd, send, || rustix::net::sendmsg(fd, buffers, control, flags))
    }
}
