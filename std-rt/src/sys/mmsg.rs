//! Batches of UDP messages (sendmmsg, recvmmsg), and segmentation by the kernel (`UDP_SEGMENT`, `UDP_GRO`).
//!
//! Systems without these calls use the module of the same name in [`unsupported.rs`](../unsupported.rs).
//!
//! - **INV-41** Everything that a message header points to (the address, the slice and its bytes, the control
//!   data) is a local or borrowed value of the function that makes the call, is not moved after the header
//!   was written, and is at least as long as the header says. The kernel keeps no pointer beyond the call.

#![expect(unsafe_code, reason = "rustix lacks batches of messages")]

mod control;

use std::io;
use std::mem::offset_of;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_uint, iovec, mmsghdr, sockaddr_in, sockaddr_in6};
use rustix::io::{Errno, retry_on_intr};

use super::udp::{Arrival, Datagram, MAX_BATCH, NotCut};
use super::{Call, errno, inject, socket, sockopt};
use crate::sys::call::retry;
use control::Control;

/// Sends messages, at most [`MAX_BATCH`], in order; returns how many were sent, at least one unless there was
/// none.
///
/// # Errors
///
/// Returns the error of the first message. An error of a later one ends the batch; a call that begins with it
/// returns it.
pub fn send_batch(fd: BorrowedFd<'_>, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
    let mut headers = [EMPTY; MAX_BATCH];
    let mut slices = [NO_BYTES; MAX_BATCH];
    let mut names = [Name::NONE; MAX_BATCH];
    let places = headers.iter_mut().zip(&mut slices).zip(&mut names);
    let mut count = 0;
    for (((header, slice), name), datagram) in places.zip(datagrams) {
        to_send(header, slice, name, datagram.bytes, datagram.to.as_ref());
        count += 1;
    }
    let headers = &mut headers[..count];
    match datagrams.iter().any(|datagram| !datagram.source.is_default()) {
        true => send_from(fd, headers, datagrams),
        false => send(fd, headers),
    }
}

/// Sends messages with the sources of the datagrams.
fn send_from(fd: BorrowedFd<'_>, headers: &mut [mmsghdr], datagrams: &[Datagram<'_>]) -> io::Result<usize> {
    let mut controls = [Control::NONE; MAX_BATCH];
    for ((header, control), datagram) in headers.iter_mut().zip(&mut controls).zip(datagrams) {
        if datagram.source.is_default() {
            continue;
        }
        let is_v4 = match (datagram.to, datagram.source.address) {
            (Some(to), _) => to.ip().to_canonical().is_ipv4(),
            (None, Some(address)) => address.to_canonical().is_ipv4(),
            (None, None) => match socket::peer_name(fd) {
                Ok(peer) => peer.ip().to_canonical().is_ipv4(),
                // The kernel sends those before it, and refuses this one by itself.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => !sockopt::is_v6(fd)?,
                Err(error) => return Err(error),
            },
        };
        control.push_source(&datagram.source, is_v4);
        header.msg_hdr.msg_control = control.as_mut_ptr();
        header.msg_hdr.msg_controllen = control.len() as _;
    }
    send(fd, headers)
}

/// Sends `bytes` as datagrams of `segment` bytes, the last one possibly shorter, which the kernel or the
/// network card splits. At most 64 of them, and no more bytes than one datagram may have.
///
/// # Errors
///
/// [`why_not_cut`] tells which errors mean that segmentation is impossible, with nothing sent. Call it only
/// if [`can_cut`] returns true: a kernel that does not know the request sends one large datagram.
pub fn send_cut(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    segment: u16,
    to: Option<&SocketAddr>,
) -> io::Result<usize> {
    let mut header = EMPTY;
    let (mut slice, mut name, mut control) = (NO_BYTES, Name::NONE, Control::NONE);
    to_send(&mut header, &mut slice, &mut name, bytes, to);
    control.push_segment(segment);
    header.msg_hdr.msg_control = control.as_mut_ptr();
    header.msg_hdr.msg_controllen = control.len() as _;
    send(fd, std::slice::from_mut(&mut header))?;
    Ok(bytes.len())
}

/// Returns whether the kernel supports segmentation (Linux 4.18). A definite answer is cached.
pub fn can_cut(fd: BorrowedFd<'_>) -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return *known;
    }
    match retry_on_intr(|| segment_option(fd)) {
        Ok(_) => *KNOWN.get_or_init(|| true),
        Err(Errno::NOPROTOOPT) => *KNOWN.get_or_init(|| false),
        Err(_) => false,
    }
}

/// Returns whether an error of [`send_cut`] may mean that the kernel could not segment the buffer.
pub fn why_not_cut(error: &io::Error) -> Option<NotCut> {
    match error.raw_os_error()? {
        // A segment exceeds the path's MTU; `EINVAL` before Linux 6.14.
        libc::EINVAL | libc::EMSGSIZE => Some(NotCut::Sizes),
        // The network card computes no checksums.
        libc::EIO | libc::EOPNOTSUPP => Some(NotCut::Route),
        _ => None,
    }
}

/// Makes the kernel join consecutive datagrams of one sender (`UDP_GRO`, Linux 5.0).
pub fn set_gro(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_flag(fd, libc::SOL_UDP, libc::UDP_GRO, on)
}

/// Makes the kernel report to which address of this host, and through which interface, a message came (`IP_PKTINFO`,
/// `IPV6_RECVPKTINFO`). An IPv6 socket reports IPv4 addresses in their mapped form.
pub fn set_recv_packet_info(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    match sockopt::is_v6(fd)? {
        true => set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, on),
        false => set_flag(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, on),
    }
}

/// Makes the kernel report the traffic class of a message (`IP_RECVTOS`, `IPV6_RECVTCLASS`).
pub fn set_recv_traffic_class(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let v4 = || set_flag(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, on);
    if !sockopt::is_v6(fd)? {
        return v4();
    }
    set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, on)?;
    // This is for messages of IPv4. A socket that refuses it has none.
    let _ = v4();
    Ok(())
}

fn set_flag(fd: BorrowedFd<'_>, level: c_int, name: c_int, on: bool) -> io::Result<()> {
    let value = c_int::from(on);
    retry(Call::SetOption, fd, || {
        let length = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: `fd` is open for as long as it is borrowed (INV-7). The kernel reads `length` bytes of
        // `value`, a live local of that size.
        checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), length) })
    })?;
    Ok(())
}

/// Receives available messages into consecutive slots of `buffer`, each `length` bytes long, and describes
/// each in `arrivals`: as many as both have, at most [`MAX_BATCH`]. Returns how many, at least one unless
/// there is no slot.
///
/// # Errors
///
/// Returns an error only if nothing was received. The kernel keeps a later message's error for the next call
/// on the socket.
pub fn recv_batch(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    length: usize,
    arrivals: &mut [Arrival],
) -> io::Result<usize> {
    let mut headers = [EMPTY; MAX_BATCH];
    let mut slices = [NO_BYTES; MAX_BATCH];
    let mut names = [Name::NONE; MAX_BATCH];
    let mut controls = [Control::NONE; MAX_BATCH];
    let places = headers.iter_mut().zip(&mut slices).zip(&mut names).zip(&mut controls);
    let slots = buffer.chunks_exact_mut(length).take(arrivals.len());
    let mut count = 0;
    for ((((header, slice), name), control), slot) in places.zip(slots) {
        *slice = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
        header.msg_hdr.msg_iov = slice;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = size_of::<Name>() as c_uint;
        header.msg_hdr.msg_control = control.as_mut_ptr();
        header.msg_hdr.msg_controllen = Control::space() as _;
        count += 1;
    }
    let received = retry(Call::RecvBatch, fd, || {
        // SAFETY: the first `count` headers are borrowed exclusively, and each points only to values that
        // outlive the call (INV-41). `fd` is open for as long as it is borrowed (INV-7). The null pointer
        // says that there is no timeout.
        checked(unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })
    })?;
    for (((header, name), control), arrival) in
        headers[..received].iter().zip(&names).zip(&controls).zip(arrivals)
    {
        *arrival = Arrival {
            length: header.msg_len as usize,
            from: name.address().ok_or(Errno::AFNOSUPPORT)?,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            ..Arrival::NONE
        };
        control.describe(header.msg_hdr.msg_controllen as _, arrival);
    }
    Ok(received)
}

/// A header without address, bytes and control data.
// SAFETY: the fields are integers and pointers, for which all zeroes is a valid value; a null pointer here
// means "none".
const EMPTY: mmsghdr = unsafe { std::mem::zeroed() };
const NO_BYTES: iovec = iovec { iov_base: ptr::null_mut(), iov_len: 0 };

/// Writes the header of a message to send. The kernel only reads the bytes, although the pointer's type is
/// mutable.
fn to_send(header: &mut mmsghdr, slice: &mut iovec, name: &mut Name, bytes: &[u8], to: Option<&SocketAddr>) {
    *slice = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    header.msg_hdr.msg_iov = slice;
    header.msg_hdr.msg_iovlen = 1;
    if let Some(to) = to {
        header.msg_hdr.msg_namelen = name.set(to) as c_uint;
        header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
    }
}

fn send(fd: BorrowedFd<'_>, headers: &mut [mmsghdr]) -> io::Result<usize> {
    retry(Call::SendBatch, fd, || {
        // SAFETY: the headers are borrowed exclusively, and each points only to values that outlive the call
        // (INV-41). `fd` is open for as long as it is borrowed (INV-7).
        checked(unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as c_uint,
                libc::MSG_NOSIGNAL as _,
            )
        })
    })
}

/// Queries `UDP_SEGMENT`; returns `ENOPROTOOPT` from a kernel that does not know it.
fn segment_option(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    inject::before(Call::GetOption, fd)?;
    let (mut value, mut length) = (0, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: `fd` is open for as long as it is borrowed (INV-7). The kernel writes at most `length` bytes to
    // `value`, a live local of that size, and then to `length`, another one.
    checked(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast::<c_int>().cast(),
            &raw mut length,
        )
    })
}

/// Converts a return value of the C library, where -1 is the only failure.
fn checked(returned: c_int) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| errno::last())
}

/// An IP address in the kernel's form, of either family.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
struct Name([u8; size_of::<sockaddr_in6>()]);

// The offsets at which the code below writes and reads the fields.
const _: () = assert!(offset_of!(sockaddr_in, sin_family) == 0 && offset_of!(sockaddr_in6, sin6_family) == 0);
const _: () = assert!(offset_of!(sockaddr_in, sin_port) == 2 && offset_of!(sockaddr_in6, sin6_port) == 2);
const _: () = assert!(offset_of!(sockaddr_in, sin_addr) == 4 && offset_of!(sockaddr_in6, sin6_flowinfo) == 4);
const _: () =
    assert!(offset_of!(sockaddr_in6, sin6_addr) == 8 && offset_of!(sockaddr_in6, sin6_scope_id) == 24);
const _: () = assert!(align_of::<Name>() >= align_of::<sockaddr_in6>());

impl Name {
    const NONE: Name = Name([0; size_of::<sockaddr_in6>()]);

    /// Writes an address and returns its length.
    fn set(&mut self, address: &SocketAddr) -> usize {
        self.0[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(address) => {
                self.0[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                self.0[4..8].copy_from_slice(&address.ip().octets());
                size_of::<sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                self.0[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                self.0[4..8].copy_from_slice(&address.flowinfo().to_ne_bytes());
                self.0[8..24].copy_from_slice(&address.ip().octets());
                self.0[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                size_of::<sockaddr_in6>()
            }
        }
    }

    /// Returns the address, or `None` if it is not an IP address.
    fn address(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.at(2));
        match c_int::from(u16::from_ne_bytes(self.at(0))) {
            libc::AF_INET => Some(SocketAddr::from((self.at::<4>(4), port))),
            libc::AF_INET6 => {
                let (flow, scope) = (u32::from_ne_bytes(self.at(4)), u32::from_ne_bytes(self.at(24)));
                Some(SocketAddrV6::new(Ipv6Addr::from(self.at::<16>(8)), port, flow, scope).into())
            }
            _ => None,
        }
    }

    fn at<const N: usize>(&self, from: usize) -> [u8; N] {
        std::array::from_fn(|place| self.0[from + place])
    }
}
