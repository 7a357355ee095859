//! Batches of messages (sendmmsg, recvmmsg) and messages that the kernel cuts and joins (`UDP_SEGMENT`, `UDP_GRO`): one
//! of the rooms of `sys` with `unsafe` in them.
//!
//! [`no_mmsg.rs`](../no_mmsg.rs) has the same functions for systems without these calls.
//!
//! - **INV-41** Whatever a message's header names (the address, the slice and its bytes, the control data) is a local or
//!   a borrowed value of the function that makes the call, is not moved after the header was written, and is at least as
//!   long as the header says. The kernel forgets all of it before the call returns.

use std::io;
use std::mem::offset_of;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_uint, iovec, mmsghdr, sockaddr_in, sockaddr_in6};
use rustix::io::{Errno, retry_on_intr};

use super::datagram::{Arrival, Datagram, MAX_BATCH, NotCut};
use super::{Call, door};

/// Sends messages, at most [`MAX_BATCH`], in order; returns how many were taken, at least one unless there was none.
///
/// # Errors
///
/// That of the first. One of a later message ends the batch, and the next call that begins with it says so.
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
    send(fd, &mut headers[..count])
}

/// Sends `bytes` as datagrams of `segment` bytes, the last one possibly shorter, which the kernel or the network card
/// cuts. At most 64 of them, and no more bytes than one datagram could have.
///
/// # Errors
///
/// Those of which [`why_not_cut`] knows the reason say that this cannot be done here, with nothing sent. Only where
/// [`can_cut`] is: a kernel that does not know the request sends one large datagram.
pub fn send_cut(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    segment: u16,
    to: Option<&SocketAddr>,
) -> io::Result<usize> {
    let mut header = EMPTY;
    let (mut slice, mut name, mut control) = (NO_BYTES, Name::NONE, Control::NONE);
    to_send(&mut header, &mut slice, &mut name, bytes, to);
    header.msg_hdr.msg_control = control.ask_for_segments(segment).cast();
    header.msg_hdr.msg_controllen = SEGMENT_SPACE as _;
    send(fd, std::slice::from_mut(&mut header))?;
    Ok(bytes.len())
}

/// Whether the kernel knows how to cut (Linux 4.18); asked until it has said so or that it does not.
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

/// Whether an error of [`send_cut`] may mean that cutting is what the kernel could not do.
pub fn why_not_cut(error: &io::Error) -> Option<NotCut> {
    match error.raw_os_error()? {
        // A segment is larger than the path allows; `EINVAL` before Linux 6.14.
        libc::EINVAL | libc::EMSGSIZE => Some(NotCut::Sizes),
        // The network card computes no checksums.
        libc::EIO | libc::EOPNOTSUPP => Some(NotCut::Way),
        _ => None,
    }
}

/// Has the kernel join datagrams of one sender that follow each other (`UDP_GRO`, Linux 5.0).
pub fn set_gro(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let value = c_int::from(on);
    retry_on_intr(|| {
        door::ask(Call::SetOption, fd)?;
        let length = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: INV-7 keeps the number open through the borrow. The kernel reads `length` bytes of `value`, a local
        // that long.
        checked(unsafe {
            libc::setsockopt(fd.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, (&raw const value).cast(), length)
        })
    })?;
    Ok(())
}

/// Receives what is there into one place after another of `buffer`, each `length` bytes long, and says of each in
/// `arrivals` what it is. As many as both have, at most [`MAX_BATCH`]; returns how many, at least one unless there is no
/// place.
///
/// # Errors
///
/// Only if nothing was received. The kernel keeps what went wrong after that for the next call on the socket.
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
    let rooms = buffer.chunks_exact_mut(length).take(arrivals.len());
    let mut count = 0;
    for ((((header, slice), name), control), room) in places.zip(rooms) {
        *slice = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        header.msg_hdr.msg_iov = slice;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = size_of::<Name>() as c_uint;
        header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        count += 1;
    }
    let received = retry_on_intr(|| {
        door::ask(Call::RecvBatch, fd)?;
        // SAFETY: INV-41 for each of the `count` headers, which are borrowed exclusively; INV-7 keeps the number open
        // through the borrow. No timeout is passed.
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
            segment: control.segment(),
        };
    }
    Ok(received)
}

/// A message of nothing to nobody.
// SAFETY: INV-41: numbers and pointers, for which zero is a value; null names nothing.
const EMPTY: mmsghdr = unsafe { std::mem::zeroed() };
const NO_BYTES: iovec = iovec { iov_base: ptr::null_mut(), iov_len: 0 };

/// The kernel reads the bytes, whatever the pointer's type says.
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
    Ok(retry_on_intr(|| {
        door::ask(Call::SendBatch, fd)?;
        // SAFETY: INV-41 for each of the headers, which are borrowed exclusively; INV-7 keeps the number open through
        // the borrow.
        checked(unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as c_uint,
                libc::MSG_NOSIGNAL as _,
            )
        })
    })?)
}

/// `ENOPROTOOPT` from a kernel that does not know it.
fn segment_option(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    door::ask(Call::GetOption, fd)?;
    let (mut value, mut length) = (0, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: INV-7 keeps the number open through the borrow. The kernel writes at most `length` bytes to `value`, a
    // local that long, and then to `length`.
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

/// What a call of the C library returned: -1 is the only failure.
fn checked(returned: c_int) -> Result<usize, Errno> {
    usize::try_from(returned)
        .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// An address of IP as the kernel has it, of either family.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
struct Name([u8; size_of::<sockaddr_in6>()]);

// Where the fields below are written and read.
const _: () = assert!(offset_of!(sockaddr_in, sin_family) == 0 && offset_of!(sockaddr_in6, sin6_family) == 0);
const _: () = assert!(offset_of!(sockaddr_in, sin_port) == 2 && offset_of!(sockaddr_in6, sin6_port) == 2);
const _: () = assert!(offset_of!(sockaddr_in, sin_addr) == 4 && offset_of!(sockaddr_in6, sin6_flowinfo) == 4);
const _: () =
    assert!(offset_of!(sockaddr_in6, sin6_addr) == 8 && offset_of!(sockaddr_in6, sin6_scope_id) == 24);
const _: () = assert!(align_of::<Name>() >= align_of::<sockaddr_in6>());

impl Name {
    const NONE: Name = Name([0; size_of::<sockaddr_in6>()]);

    /// Returns the length.
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

    /// `None` if it is not of IP.
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

/// Room for what goes with a message: a time stamp that somebody else may have asked for, and the length of segments.
/// The kernel's form of one item: its length with this head as a word, level and type as 32 bits each, the data; the
/// next one begins at a multiple of a word.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

const WORD: usize = size_of::<usize>();
const HEAD: usize = WORD + 8;
/// The room of a head and two bytes.
const SEGMENT_SPACE: usize = HEAD + WORD;

impl Control {
    const NONE: Control = Control([0; 64]);

    /// Writes a request to cut; returns where.
    fn ask_for_segments(&mut self, segment: u16) -> *mut u8 {
        self.0[..WORD].copy_from_slice(&(HEAD + 2).to_ne_bytes());
        self.0[WORD..WORD + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        self.0[WORD + 4..HEAD].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        self.0[HEAD..HEAD + 2].copy_from_slice(&segment.to_ne_bytes());
        self.0.as_mut_ptr()
    }

    /// What the kernel says of the segments that it joined. Zeroes, which no length is, end what it wrote.
    fn segment(&self) -> Option<usize> {
        let mut rest = &self.0[..];
        loop {
            let (size, after) = rest.split_first_chunk()?;
            let (level, after) = after.split_first_chunk()?;
            let (kind, data) = after.split_first_chunk()?;
            if (c_int::from_ne_bytes(*level), c_int::from_ne_bytes(*kind)) == (libc::SOL_UDP, libc::UDP_GRO) {
                return usize::try_from(c_int::from_ne_bytes(*data.first_chunk()?)).ok();
            }
            let size = Some(usize::from_ne_bytes(*size)).filter(|size| *size >= HEAD)?;
            rest = rest.get(size.checked_next_multiple_of(WORD)?..)?;
        }
    }
}
