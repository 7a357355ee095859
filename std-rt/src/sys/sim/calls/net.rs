//! Stands for [`rustix::net`].

use std::io::{IoSlice, IoSliceMut};

use rustix::net::addr::SocketAddrArg;
pub use rustix::net::*;

pub use super::Received;
use super::{
    AsFd, AsRawFd, Body, BorrowedFd, Errno, FaultKind, Fill, OwnedFd, Result, create, current, draw_create,
    either, ip, on, recv_any, scatter, send_any, unix, unix_kind,
};

mod control;
pub mod sockopt;

pub use control::{RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer};

/// Stands for [`rustix::net::socket_with`].
pub fn socket_with(
    family: AddressFamily,
    kind: SocketType,
    flags: SocketFlags,
    protocol: Option<Protocol>,
) -> Result<OwnedFd> {
    let fd = rustix::net::socket_with(family, kind, flags, protocol)?;
    create(fd, family, kind)
}

/// Stands for [`rustix::net::socketpair`].
pub fn socketpair(
    family: AddressFamily,
    kind: SocketType,
    flags: SocketFlags,
    protocol: Option<Protocol>,
) -> Result<(OwnedFd, OwnedFd)> {
    let ends = rustix::net::socketpair(family, kind, flags, protocol)?;
    let Some(kernel) = current() else { return Ok(ends) };
    let mut world = kernel.lock();
    if let Err(errno) = draw_create(&mut world) {
        drop(world);
        return Err(errno);
    }
    let host = world.current;
    let (one, other) = (world.add_unix(host, unix_kind(kind)), world.add_unix(host, unix_kind(kind)));
    world.pair(one, other);
    world.attach(ends.0.as_raw_fd(), one);
    world.attach(ends.1.as_raw_fd(), other);
    Ok(ends)
}

/// Stands for [`rustix::net::bind`].
pub fn bind(fd: impl AsFd, address: &impl SocketAddrArg) -> Result<()> {
    let fd = fd.as_fd();
    let real = || rustix::net::bind(fd, address);
    let bind = |world: &mut super::World, id| match world.socket(id).body {
        Body::Unix(_) => world.bind_unix(id, &unix(address)?, real),
        _ => world.bind(id, ip(address)?),
    };
    either(fd, bind, real)
}

/// Stands for [`rustix::net::listen`].
pub fn listen(fd: impl AsFd, backlog: i32) -> Result<()> {
    let fd = fd.as_fd();
    let listen = |world: &mut super::World, id| match world.socket(id).body {
        Body::Unix(_) => world.listen_unix(id, backlog),
        _ => world.listen(id, backlog),
    };
    either(fd, listen, || rustix::net::listen(fd, backlog))
}

/// Stands for [`rustix::net::connect`].
pub fn connect(fd: impl AsFd, address: &impl SocketAddrArg) -> Result<()> {
    let fd = fd.as_fd();
    let connect = |world: &mut super::World, id| {
        if let Body::Unix(_) = world.socket(id).body {
            return world.connect_unix(id, &unix(address)?);
        }
        let connected = world.connect(id, ip(address)?);
        // A signal interrupts the call after its effect: a repeated one would be another attempt.
        match connected {
            Err(Errno::INPROGRESS) if world.fault(FaultKind::Interrupt, id) => Err(Errno::INTR),
            other => other,
        }
    };
    on(fd, connect).unwrap_or_else(|| rustix::net::connect(fd, address))
}

/// Stands for [`rustix::net::acceptfrom_with`].
pub fn acceptfrom_with(fd: impl AsFd, flags: SocketFlags) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    let fd = fd.as_fd();
    let accept = |world: &mut super::World, id| match world.socket(id).body {
        Body::Unix(_) => world.accept_unix(id),
        _ => world.accept(id),
    };
    let Some(accepted) = on(fd, accept) else { return rustix::net::acceptfrom_with(fd, flags) };
    let id = accepted?;
    let (family, kind) = (rustix::net::sockopt::socket_domain(fd)?, rustix::net::sockopt::socket_type(fd)?);
    let connection = rustix::net::socket_with(family, kind, flags, None)?;
    let kernel = current().ok_or(Errno::NETDOWN)?;
    let mut world = kernel.lock();
    world.attach(connection.as_raw_fd(), id);
    // The client may have reset it meanwhile: its address is known nevertheless.
    let domain = world.socket(id).domain;
    let peer = match world.stream(id) {
        Some(stream) => Some(domain.show(stream.peer).into()),
        None => world.unix_peer_name(id).ok().flatten().map(SocketAddrAny::from),
    };
    drop(world);
    Ok((connection, peer))
}

/// Stands for [`rustix::net::getsockname`].
pub fn getsockname(fd: impl AsFd) -> Result<SocketAddrAny> {
    let fd = fd.as_fd();
    let name = |world: &mut super::World, id| match world.socket(id).body {
        // The real descriptor of a socket without a name has none either, and that of a pipe is no socket.
        Body::Unix(_) | Body::Pipe(_) => Ok(world.unix_name(id).map(SocketAddrAny::from)),
        _ => Ok(Some(world.sock_name(id).into())),
    };
    either(fd, name, || Ok(None))?.map_or_else(|| rustix::net::getsockname(fd), Ok)
}

/// Stands for [`rustix::net::getpeername`].
pub fn getpeername(fd: impl AsFd) -> Result<Option<SocketAddrAny>> {
    let fd = fd.as_fd();
    let name = |world: &mut super::World, id| match world.socket(id).body {
        Body::Unix(_) => Ok(world.unix_peer_name(id)?.map(SocketAddrAny::from)),
        _ => world.peer_name(id).map(|peer| Some(peer.into())),
    };
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
    let shut = |world: &mut super::World, id| match world.socket(id).body {
        Body::Unix(_) => world.shut_unix(id, std_how),
        _ => world.shut_stream(id, std_how),
    };
    either(fd, shut, || rustix::net::shutdown(fd, how))
}

/// Stands for [`rustix::net::recv`]; without flags as [`rustix::io::read`].
pub fn recv<F: Fill>(
    fd: impl AsFd,
    buffer: F,
    flags: impl Into<Option<RecvFlags>>,
) -> Result<(F::Filled, usize)> {
    let (fd, flags) = (fd.as_fd(), flags.into());
    let space = buffer.space();
    match receive(fd, space, flags.unwrap_or(RecvFlags::empty())) {
        Some(Ok(read)) => {
            let n = read.bytes.len().min(space);
            Ok((buffer.fill(&read.bytes[..n]), n))
        }
        Some(Err(errno)) => Err(errno),
        None => match flags {
            Some(flags) => buffer.recv(fd, flags),
            None => buffer.read(fd).map(|filled| (filled, 0)),
        },
    }
}

/// Reads from a simulated socket; `None` if it is not one.
pub fn receive(fd: BorrowedFd<'_>, space: usize, flags: RecvFlags) -> Option<Result<Received>> {
    on(fd, |world, id| {
        if world.fault(FaultKind::Interrupt, id) {
            return Err(Errno::INTR);
        }
        let peek = flags.contains(RecvFlags::PEEK);
        if flags.contains(RecvFlags::OOB) {
            return world.recv_urgent(id, peek).map(|bytes| Received { bytes, ..Received::default() });
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
    let Some(read) = receive(fd, buffer.len(), flags) else {
        return rustix::net::recvfrom(fd, buffer, flags);
    };
    let read = read?;
    let n = scatter(&read.bytes, &mut [IoSliceMut::new(buffer)]);
    Ok((n, read.bytes.len(), read.from))
}

/// Stands for [`rustix::net::recvmsg`]. A simulated message brings no control messages but descriptors.
pub fn recvmsg(
    fd: impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    control: &mut RecvAncillaryBuffer<'_>,
    flags: RecvFlags,
) -> Result<RecvMsg> {
    let fd = fd.as_fd();
    let space = buffers.iter().map(|buffer| buffer.len()).sum();
    let Some(read) = receive(fd, space, flags) else {
        return rustix::net::recvmsg(fd, buffers, &mut control.real, flags);
    };
    let read = read?;
    let mut flags = ReturnFlags::empty();
    flags.set(ReturnFlags::TRUNC, read.is_message && read.bytes.len() > space);
    flags.set(ReturnFlags::CTRUNC, !control.put(read.fds));
    Ok(RecvMsg { bytes: scatter(&read.bytes, buffers), flags, address: read.from })
}

/// Stands for [`rustix::net::send`].
pub fn send(fd: impl AsFd, bytes: &[u8], flags: SendFlags) -> Result<usize> {
    let fd = fd.as_fd();
    let send = |world: &mut super::World, id| match flags.contains(SendFlags::OOB) {
        true => world.send_urgent(id, &[bytes]),
        false => send_any(world, id, &[bytes], None, &[]),
    };
    either(fd, send, || rustix::net::send(fd, bytes, flags))
}

/// Stands for [`rustix::net::sendto`].
pub fn sendto(fd: impl AsFd, bytes: &[u8], flags: SendFlags, to: &impl SocketAddrArg) -> Result<usize> {
    let fd = fd.as_fd();
    let send = |world: &mut super::World, id| send_any(world, id, &[bytes], Some(to.as_any()), &[]);
    either(fd, send, || rustix::net::sendto(fd, bytes, flags, to))
}

/// Writes to a simulated socket, with descriptors; `None` if it is not one.
pub fn send_parts(
    fd: BorrowedFd<'_>,
    parts: &[&[u8]],
    to: Option<SocketAddrAny>,
    fds: &[BorrowedFd<'_>],
) -> Option<Result<usize>> {
    super::interruptible(fd, |world, id| send_any(world, id, parts, to, fds))
}

/// Stands for [`rustix::net::sendmsg`]. A simulated message takes no control messages along but descriptors.
pub fn sendmsg(
    fd: impl AsFd,
    buffers: &[IoSlice<'_>],
    control: &mut SendAncillaryBuffer<'_, '_, '_>,
    flags: SendFlags,
) -> Result<usize> {
    let fd = fd.as_fd();
    let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
    let sent = send_parts(fd, &parts, None, &control.fds);
    sent.unwrap_or_else(|| rustix::net::sendmsg(fd, buffers, &mut control.real, flags))
}

/// Stands for [`rustix::net::sendmsg_addr`], as [`sendmsg`].
pub fn sendmsg_addr(
    fd: impl AsFd,
    to: &impl SocketAddrArg,
    buffers: &[IoSlice<'_>],
    control: &mut SendAncillaryBuffer<'_, '_, '_>,
    flags: SendFlags,
) -> Result<usize> {
    let fd = fd.as_fd();
    let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
    let sent = send_parts(fd, &parts, Some(to.as_any()), &control.fds);
    sent.unwrap_or_else(|| rustix::net::sendmsg_addr(fd, to, buffers, &mut control.real, flags))
}
