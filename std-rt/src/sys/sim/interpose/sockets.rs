//! The calls on sockets that std, socket2 and other libraries make by the C library: those on simulated descriptors, and those
//! that create one.
//!
//! Simulated calls never wait, whether or not the descriptor is non-blocking: they return `EAGAIN`, and a connect returns
//! `EINPROGRESS`. So no signal interrupts them: on Linux a call that does not wait never fails with `EINTR`, and libraries
//! rely on that.

#![expect(unsafe_code, reason = "defines functions of the C library")]

use std::ffi::{c_int, c_ulong, c_void};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::{ptr, slice};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketFlags, SocketType,
};

use super::super::calls::net::{self, Received};
use super::super::calls::rw;
use super::super::{Errno, current, is_active, on, peer_credentials};

type Result<T> = std::result::Result<T, Errno>;

/// The request of ioctl(2) that asks whether the next byte is urgent, which `libc` lacks for Linux. The number is that of all
/// architectures but MIPS and SPARC.
const SIOCATMARK: c_ulong = 0x8905;

/// Returns the descriptor if it is a simulated one.
fn simulated<'a>(fd: RawFd) -> Option<BorrowedFd<'a>> {
    if !is_active() || !current()?.has(fd) {
        return None;
    }
    // SAFETY: the simulation has created the descriptor and has not seen its close. The caller of the C library's function keeps
    // it open during the call.
    Some(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Returns a result as the C library does: -1 with the number of the error in `errno`.
fn answer(result: Result<usize>) -> ssize_t {
    match result {
        Ok(n) => n as ssize_t,
        Err(errno) => {
            super::set_errno(errno.raw_os_error());
            -1
        }
    }
}

fn done(result: Result<()>) -> c_int {
    answer(result.map(|()| 0)) as c_int
}

/// Reads an address of a caller.
///
/// # Safety
///
/// `address` points to `length` initialized bytes.
unsafe fn address(address: *const sockaddr, length: socklen_t) -> Result<SocketAddrAny> {
    if address.is_null() || !(2..=size_of::<libc::sockaddr_storage>()).contains(&(length as usize)) {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller passes that many bytes, and the length is one that an address may have.
    Ok(unsafe { SocketAddrAny::read(address.cast(), length) })
}

/// Writes an address to a caller that wants it, as far as there is space. Without one it is that of an unnamed Unix socket.
///
/// # Safety
///
/// `to` is null or points to `length` bytes that may be written, and `length` is null only if `to` is.
unsafe fn put_address(from: Option<&SocketAddrAny>, to: *mut sockaddr, length: *mut socklen_t) {
    if to.is_null() || length.is_null() {
        return;
    }
    let family = (libc::AF_UNIX as libc::sa_family_t).to_ne_bytes();
    let (bytes, n) = match from {
        Some(from) => (from.as_ptr().cast::<u8>(), from.addr_len() as usize),
        None => (family.as_ptr(), family.len()),
    };
    // SAFETY: the caller's pointer is to a length.
    let length = unsafe { &mut *length };
    // SAFETY: both pointers are valid, and no more is copied than either has.
    unsafe { ptr::copy_nonoverlapping(bytes, to.cast(), n.min(*length as usize)) };
    *length = n as socklen_t;
}

/// Returns the vectors of a caller, who may pass null for none.
///
/// # Safety
///
/// `first` is null or points to `count` vectors that nothing changes during `'a`.
unsafe fn vectors<'a>(first: *const iovec, count: usize) -> &'a [iovec] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: the caller passes that many vectors.
    unsafe { slice::from_raw_parts(first, count) }
}

/// Returns the buffers of a vectored write.
///
/// # Safety
///
/// `first` is null or points to `count` vectors, each with initialized bytes that nothing changes during `'a`.
unsafe fn parts<'a>(first: *const iovec, count: usize) -> Vec<&'a [u8]> {
    let part = |vector: &iovec| match vector.iov_len {
        0 => &[][..],
        // SAFETY: the caller's vector has a pointer to that many bytes.
        n => unsafe { slice::from_raw_parts(vector.iov_base.cast::<u8>(), n) },
    };
    // SAFETY: the caller's promise is the same.
    unsafe { vectors(first, count) }.iter().map(part).collect()
}

/// Copies bytes to the buffers of a vectored read, in order, and returns how many fitted.
///
/// # Safety
///
/// `first` is null or points to `count` vectors, each with memory that may be written.
unsafe fn scatter(bytes: &[u8], first: *const iovec, count: usize) -> usize {
    let mut left = bytes;
    // SAFETY: the caller passes that many vectors.
    for vector in unsafe { vectors(first, count) } {
        let (now, later) = left.split_at(left.len().min(vector.iov_len));
        // SAFETY: the vector has at least that many bytes that may be written, and the bytes lie in a buffer of this crate.
        unsafe { ptr::copy_nonoverlapping(now.as_ptr(), vector.iov_base.cast(), now.len()) };
        left = later;
    }
    bytes.len() - left.len()
}

/// Receives, for a call with these flags.
fn receive(fd: BorrowedFd<'_>, space: usize, flags: c_int) -> Result<Received> {
    let flags = RecvFlags::from_bits_retain(flags as u32);
    retry_on_intr(|| net::receive(fd, space, flags).unwrap_or(Err(Errno::BADF)))
}

fn send_parts(
    fd: BorrowedFd<'_>,
    parts: &[&[u8]],
    to: Option<SocketAddrAny>,
    fds: &[BorrowedFd<'_>],
) -> ssize_t {
    answer(retry_on_intr(|| net::send_parts(fd, parts, to.clone(), fds).unwrap_or(Err(Errno::BADF))))
}

/// Defines functions of the C library: the body for a descriptor that is simulated, and the system call for another one.
macro_rules! interpose {
    ($($(#[$doc:meta])* fn $name:ident($fd:ident: simulated $(, $argument:ident: $type:ty)*) -> $result:ty = $number:ident $body:block)+) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The arguments are those that the manual asks for.
        // SAFETY: the signature and the effect are those that POSIX has for this name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($fd: c_int $(, $argument: $type)*) -> $result {
            let Some($fd) = simulated($fd) else {
                // SAFETY: the call is the one that the C library's function makes, with the caller's arguments.
                return unsafe { libc::syscall(libc::$number, $fd $(, $argument)*) as $result };
            };
            $body
        }
    )+};
}

/// Returns the type and the flags that stand in one argument.
fn kind_and_flags(kind: c_int) -> (SocketType, SocketFlags) {
    let flags = kind & (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    (SocketType::from_raw((kind & !flags) as u32), SocketFlags::from_bits_retain(flags as u32))
}

fn protocol(number: c_int) -> Option<Protocol> {
    NonZeroU32::new(number as u32).map(Protocol::from_raw)
}

/// Creates a socket, as socket(2) does.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
extern "C" fn socket(domain: c_int, kind: c_int, number: c_int) -> c_int {
    if !is_active() {
        // SAFETY: the call is the one that the C library's function makes, and has no pointer.
        return unsafe { libc::syscall(libc::SYS_socket, domain, kind, number) as c_int };
    }
    let (kind, flags) = kind_and_flags(kind);
    let created = net::socket_with(AddressFamily::from_raw(domain as u16), kind, flags, protocol(number));
    answer(created.map(|fd| fd.into_raw_fd() as usize)) as c_int
}

/// Creates two connected sockets, as socketpair(2) does.
///
/// # Safety
///
/// `ends` points to two numbers that may be written.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn socketpair(domain: c_int, kind: c_int, number: c_int, ends: *mut c_int) -> c_int {
    if !is_active() {
        // SAFETY: the call is the one that the C library's function makes, with the caller's pointer.
        return unsafe { libc::syscall(libc::SYS_socketpair, domain, kind, number, ends) as c_int };
    }
    let (kind, flags) = kind_and_flags(kind);
    let created = net::socketpair(AddressFamily::from_raw(domain as u16), kind, flags, protocol(number));
    done(created.map(|(one, other)| {
        // SAFETY: the caller's pointer is to two numbers.
        unsafe { ends.cast::<[c_int; 2]>().write([one.into_raw_fd(), other.into_raw_fd()]) };
    }))
}

/// Accepts a connection, as accept(2) does.
///
/// # Safety
///
/// The pointers are null, or that to the address has as many bytes as the other one says.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn accept(fd: c_int, to: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { accept4(fd, to, length, 0) }
}

interpose! {
    /// Binds a socket, as bind(2) does.
    fn bind(fd: simulated, to: *const sockaddr, length: socklen_t) -> c_int = SYS_bind {
        // SAFETY: the caller passes an address of that length.
        done(unsafe { address(to, length) }.and_then(|to| retry_on_intr(|| net::bind(fd, &to))))
    }

    /// Makes a socket listen, as listen(2) does.
    fn listen(fd: simulated, backlog: c_int) -> c_int = SYS_listen {
        done(retry_on_intr(|| net::listen(fd, backlog)))
    }

    /// Connects a socket, as connect(2) does.
    fn connect(fd: simulated, to: *const sockaddr, length: socklen_t) -> c_int = SYS_connect {
        // SAFETY: the caller passes an address of that length.
        let connected = unsafe { address(to, length) }.and_then(|to| net::connect(fd, &to));
        // It goes on in any case.
        done(connected.map_err(|errno| if errno == Errno::INTR { Errno::INPROGRESS } else { errno }))
    }

    /// Accepts a connection, as accept4(2) does.
    fn accept4(fd: simulated, to: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int = SYS_accept4 {
        let accepted = retry_on_intr(|| net::acceptfrom_with(fd, SocketFlags::from_bits_retain(flags as u32)));
        answer(accepted.map(|(connection, peer)| {
            // SAFETY: the caller passes null or space for an address.
            unsafe { put_address(peer.as_ref(), to, length) };
            connection.into_raw_fd() as usize
        })) as c_int
    }

    /// Returns the address of this side, as getsockname(2) does.
    fn getsockname(fd: simulated, to: *mut sockaddr, length: *mut socklen_t) -> c_int = SYS_getsockname {
        // SAFETY: the caller passes space for an address.
        done(retry_on_intr(|| net::getsockname(fd)).map(|name| unsafe { put_address(Some(&name), to, length) }))
    }

    /// Returns the address of the peer, as getpeername(2) does.
    fn getpeername(fd: simulated, to: *mut sockaddr, length: *mut socklen_t) -> c_int = SYS_getpeername {
        // SAFETY: the caller passes space for an address.
        done(retry_on_intr(|| net::getpeername(fd)).map(|name| unsafe { put_address(name.as_ref(), to, length) }))
    }

    /// Ends one or both directions, as shutdown(2) does.
    fn shutdown(fd: simulated, how: c_int) -> c_int = SYS_shutdown {
        let how = match how {
            libc::SHUT_RD => Ok(Shutdown::Read),
            libc::SHUT_WR => Ok(Shutdown::Write),
            libc::SHUT_RDWR => Ok(Shutdown::Both),
            _ => Err(Errno::INVAL),
        };
        done(how.and_then(|how| retry_on_intr(|| net::shutdown(fd, how))))
    }

    /// Reads, as read(2) does.
    fn read(fd: simulated, buffer: *mut c_void, space: size_t) -> ssize_t = SYS_read {
        let vector = iovec { iov_base: buffer, iov_len: space };
        // SAFETY: the caller's buffer has that many bytes that may be written.
        answer(receive(fd, space, 0).map(|got| unsafe { scatter(&got.bytes, &vector, 1) }))
    }

    /// Writes, as write(2) does.
    fn write(fd: simulated, bytes: *const c_void, length: size_t) -> ssize_t = SYS_write {
        let vector = iovec { iov_base: bytes.cast_mut(), iov_len: length };
        // SAFETY: the caller passes that many bytes.
        send_parts(fd, &unsafe { parts(&vector, 1) }, None, &[])
    }

    /// Reads into several buffers, as readv(2) does.
    fn readv(fd: simulated, first: *const iovec, count: c_int) -> ssize_t = SYS_readv {
        // SAFETY: the caller passes that many vectors. Only their lengths are looked at here.
        let space = unsafe { vectors(first, count as usize) }.iter().map(|v| v.iov_len).sum();
        // SAFETY: the caller's vectors have memory that may be written.
        answer(receive(fd, space, 0).map(|got| unsafe { scatter(&got.bytes, first, count as usize) }))
    }

    /// Writes from several buffers, as writev(2) does.
    fn writev(fd: simulated, first: *const iovec, count: c_int) -> ssize_t = SYS_writev {
        // SAFETY: the caller passes that many vectors with bytes.
        send_parts(fd, &unsafe { parts(first, count as usize) }, None, &[])
    }

    /// Receives with the sender, as recvfrom(2) does.
    fn recvfrom(
        fd: simulated,
        buffer: *mut c_void,
        space: size_t,
        flags: c_int,
        from: *mut sockaddr,
        length: *mut socklen_t
    ) -> ssize_t = SYS_recvfrom {
        let vector = iovec { iov_base: buffer, iov_len: space };
        answer(receive(fd, space, flags).map(|got| {
            // SAFETY: the caller's buffer has that many bytes that may be written.
            let n = unsafe { scatter(&got.bytes, &vector, 1) };
            // SAFETY: the caller passes null or space for an address.
            unsafe { got.put_sender(from, length) };
            if flags & libc::MSG_TRUNC != 0 { got.bytes.len() } else { n }
        }))
    }

    /// Sends to an address, as sendto(2) does.
    fn sendto(
        fd: simulated,
        bytes: *const c_void,
        length: size_t,
        flags: c_int,
        to: *const sockaddr,
        to_length: socklen_t
    ) -> ssize_t = SYS_sendto {
        let vector = iovec { iov_base: bytes.cast_mut(), iov_len: length };
        if flags & libc::MSG_OOB != 0 {
            // SAFETY: the caller passes that many bytes.
            let parts = unsafe { parts(&vector, 1) };
            return answer(retry_on_intr(|| net::send(fd, parts[0], SendFlags::OOB)));
        }
        // SAFETY: the caller passes an address of that length, unless it is null.
        let to = (!to.is_null()).then(|| unsafe { address(to, to_length) }).transpose();
        match to {
            // SAFETY: the caller passes that many bytes.
            Ok(to) => send_parts(fd, &unsafe { parts(&vector, 1) }, to, &[]),
            Err(errno) => answer(Err(errno)),
        }
    }

    /// Receives a message, as recvmsg(2) does. Of control messages only descriptors are simulated.
    fn recvmsg(fd: simulated, message: *mut msghdr, flags: c_int) -> ssize_t = SYS_recvmsg {
        // SAFETY: the caller passes a message that may be written.
        let message = unsafe { &mut *message };
        // SAFETY: the message has that many vectors. Only their lengths are looked at here.
        let vectors = unsafe { vectors(message.msg_iov, message.msg_iovlen) };
        let space = vectors.iter().map(|vector| vector.iov_len).sum();
        answer(receive(fd, space, flags).map(|got| {
            // SAFETY: the vectors have memory that may be written.
            let n = unsafe { scatter(&got.bytes, message.msg_iov, message.msg_iovlen) };
            // SAFETY: the name is null or has that many bytes.
            unsafe { got.put_sender(message.msg_name.cast(), &mut message.msg_namelen) };
            message.msg_flags = if got.is_message && got.bytes.len() > space { libc::MSG_TRUNC } else { 0 };
            // SAFETY: the control buffer has the length that the message says.
            unsafe { put_fds(got.fds, message) };
            n
        }))
    }

    /// Sends a message, as sendmsg(2) does. Of control messages only descriptors are simulated.
    fn sendmsg(fd: simulated, message: *const msghdr, _flags: c_int) -> ssize_t = SYS_sendmsg {
        // SAFETY: the caller passes a message.
        let message = unsafe { &*message };
        let name = message.msg_name.cast_const().cast::<sockaddr>();
        // SAFETY: the caller passes an address of that length, unless it is null.
        let to = (!name.is_null()).then(|| unsafe { address(name, message.msg_namelen) }).transpose();
        // SAFETY: the message has that many vectors with bytes.
        let parts = unsafe { parts(message.msg_iov, message.msg_iovlen) };
        // SAFETY: the message is the caller's.
        let fds = unsafe { passed_fds(message) };
        match to {
            Ok(to) => send_parts(fd, &parts, to, &fds),
            Err(errno) => answer(Err(errno)),
        }
    }

    /// Returns an option, as getsockopt(2) does.
    fn getsockopt(
        fd: simulated,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        length: *mut socklen_t
    ) -> c_int = SYS_getsockopt {
        if (level, name) == (libc::SOL_SOCKET, libc::SO_PEERCRED)
            && let Some(Ok((pid, uid, gid))) = peer_credentials(fd)
        {
            // SAFETY: the caller's pointer is to credentials.
            unsafe { value.cast::<libc::ucred>().write_unaligned(libc::ucred { pid, uid, gid }) };
            return 0;
        }
        let number = match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => retry_on_intr(|| net::sockopt::socket_error(fd))
                .map(|error| error.map_or_else(Errno::raw_os_error, |()| 0)),
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => retry_on_intr(|| net::sockopt::socket_acceptconn(fd)).map(c_int::from),
            _ => {
                let fd = fd.as_raw_fd();
                // SAFETY: the call is the one that the C library's function makes, with the caller's arguments.
                return unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, value, length) as c_int };
            }
        };
        done(number.map(|number| {
            // SAFETY: the caller's pointer is to a number, whose length it passes.
            unsafe { value.cast::<c_int>().write_unaligned(number) };
            // SAFETY: the same.
            unsafe { *length = size_of::<c_int>() as socklen_t };
        }))
    }

    /// Sets an option, as setsockopt(2) does.
    fn setsockopt(
        fd: simulated,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: socklen_t
    ) -> c_int = SYS_setsockopt {
        // SAFETY: the options that are looked at are numbers.
        let number = || unsafe { value.cast::<c_int>().read_unaligned() } as usize;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => done(net::sockopt::set_socket_recv_buffer_size(fd, number())),
            (libc::SOL_SOCKET, libc::SO_OOBINLINE) => {
                done(net::sockopt::set_socket_oobinline(fd, number() != 0))
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => done(net::sockopt::set_socket_send_buffer_size(fd, number())),
            _ => {
                let fd = fd.as_raw_fd();
                // SAFETY: the call is the one that the C library's function makes, with the caller's arguments.
                unsafe { libc::syscall(libc::SYS_setsockopt, fd, level, name, value, length) as c_int }
            }
        }
    }

    /// Returns the number of unread bytes, or whether the next one is urgent, as ioctl(2) does; other requests are the system's.
    fn ioctl(fd: simulated, request: c_ulong, argument: *mut c_void) -> c_int = SYS_ioctl {
        if [libc::FIONREAD, SIOCATMARK].contains(&request) {
            let asked = if request == libc::FIONREAD {
                retry_on_intr(|| rw::ioctl_fionread(fd))
            } else {
                on(fd, |world, id| u64::from(world.is_at_mark(id))).ok_or(Errno::BADF)
            };
            // SAFETY: the caller's pointer is to a number.
            return done(asked.map(|n| unsafe { argument.cast::<c_int>().write(n as c_int) }));
        }
        let fd = fd.as_raw_fd();
        // SAFETY: the call is the one that the C library's function makes, with the caller's arguments.
        unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) as c_int }
    }

    /// Duplicates a descriptor, as fcntl(2) does; other commands are the system's.
    fn fcntl(fd: simulated, command: c_int, argument: usize) -> c_int = SYS_fcntl {
        let number = fd.as_raw_fd();
        // SAFETY: the call is the one that the C library's function makes, with the caller's arguments.
        let result = unsafe { libc::syscall(libc::SYS_fcntl, number, command, argument) as c_int };
        if result >= 0 && [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&command) {
            on(fd, |world, id| world.attach(result, id));
        }
        result
    }
}

/// Receives, as recv(2) does.
///
/// # Safety
///
/// The buffer has that many bytes that may be written.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, buffer: *mut c_void, space: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's promise is the same.
    unsafe { recvfrom(fd, buffer, space, flags, ptr::null_mut(), ptr::null_mut()) }
}

/// Sends, as send(2) does.
///
/// # Safety
///
/// `bytes` points to that many bytes.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn send(fd: c_int, bytes: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's promise is the same.
    unsafe { sendto(fd, bytes, length, flags, ptr::null(), 0) }
}

impl Received {
    /// Writes the sender of a message to a caller that wants it. A stream has none.
    ///
    /// # Safety
    ///
    /// As that of [`put_address`].
    unsafe fn put_sender(&self, to: *mut sockaddr, length: *mut socklen_t) {
        if self.is_message {
            // SAFETY: the caller's promise is the same.
            unsafe { put_address(self.from.as_ref(), to, length) };
        } else if !length.is_null() {
            // SAFETY: the pointer is not null.
            unsafe { *length = 0 };
        }
    }
}

/// Returns the descriptors that a message passes.
///
/// # Safety
///
/// The message has valid control messages.
unsafe fn passed_fds<'a>(message: &msghdr) -> Vec<BorrowedFd<'a>> {
    let mut fds = Vec::new();
    // SAFETY: the caller's message is valid.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: the header lies within the buffer.
        let header = unsafe { &*next };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the function only computes.
            let bytes = header.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: the header is one of the message.
            let data = unsafe { libc::CMSG_DATA(next) }.cast::<RawFd>();
            for index in 0..bytes / size_of::<RawFd>() {
                // SAFETY: the data behind the header has that many numbers of open descriptors.
                let fd = unsafe { data.wrapping_add(index).read_unaligned() };
                // SAFETY: the caller keeps the descriptor open during the call.
                fds.push(unsafe { BorrowedFd::borrow_raw(fd) });
            }
        }
        // SAFETY: the header is one of the message.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    fds
}

/// Writes the descriptors of a message to its control buffer. Those that do not fit are closed.
///
/// # Safety
///
/// The message has a control buffer of its length.
unsafe fn put_fds(mut fds: Vec<OwnedFd>, message: &mut msghdr) {
    // SAFETY: the function only computes.
    let header_size = unsafe { libc::CMSG_LEN(0) } as usize;
    let fit = message.msg_controllen.saturating_sub(header_size) / size_of::<RawFd>();
    if fds.len() > fit {
        message.msg_flags |= libc::MSG_CTRUNC;
        fds.truncate(fit);
    }
    // SAFETY: the message is valid.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    if fds.is_empty() || header.is_null() {
        message.msg_controllen = 0;
        return;
    }
    let length = header_size + size_of_val(&fds[..]);
    // SAFETY: the header is one of the message.
    let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
    for (index, fd) in fds.into_iter().enumerate() {
        // SAFETY: that many descriptors fit behind the header.
        unsafe { data.wrapping_add(index).write_unaligned(fd.into_raw_fd()) };
    }
    // SAFETY: the buffer has space for a header.
    let header = unsafe { &mut *header };
    (header.cmsg_level, header.cmsg_type, header.cmsg_len) = (libc::SOL_SOCKET, libc::SCM_RIGHTS, length);
    message.msg_controllen = length;
}
