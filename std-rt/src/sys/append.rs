//! Reads that append to a vector: into room that nobody has to fill before.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, RecvFlags};

use super::socket::{MAX_RW, Read};
use super::{Call, door};

/// What a vector without room gets, at least.
const ROOM: usize = 1024;

/// As [`recv`](super::socket::recv), into the room that a vector has left; one without room grows.
#[inline]
pub fn recv_buf(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<Read> {
    let flags = RecvFlags::empty();
    append(
        (Call::Recv, fd),
        buffer,
        |buffer| net::recv(fd, spare_capacity(buffer), flags).map(|(n, _)| n),
        |buffer| net::recv(fd, buffer, flags).map(|(n, _)| n),
    )
}

/// As [`read`](super::socket::read), into the room that a vector has left; one without room grows.
#[inline]
pub fn read_buf(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<Read> {
    append(
        (Call::Read, fd),
        buffer,
        |buffer| rustix::io::read(fd, spare_capacity(buffer)),
        |buffer| rustix::io::read(fd, buffer),
    )
}

#[inline]
fn append(
    (call, fd): (Call, BorrowedFd<'_>),
    buffer: &mut Vec<u8>,
    whole: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
    part: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Read> {
    if buffer.len() == buffer.capacity() {
        buffer.reserve(ROOM);
    }
    let room = buffer.capacity() - buffer.len();
    let asked = door::cut(call, fd, room.min(MAX_RW));
    if asked < room {
        return append_part(call, fd, buffer, asked, part);
    }
    let n = retry_on_intr(|| {
        door::ask(call, fd)?;
        whole(buffer)
    })?;
    Ok(Read::of(n, asked))
}

/// Less than the room is asked for: more than a gigabyte would be, or the door cuts it short.
#[cold]
fn append_part(
    call: Call,
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    asked: usize,
    read: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Read> {
    let before = buffer.len();
    buffer.resize(before + asked, 0);
    let read = retry_on_intr(|| {
        door::ask(call, fd)?;
        read(&mut buffer[before..])
    });
    buffer.truncate(before + *read.as_ref().unwrap_or(&0));
    Ok(Read::of(read?, asked))
}
