//! Batches of messages where the system has no call for them: one message after another. What [`mmsg.rs`](../mmsg.rs)
//! does with the kernel's help in cutting and joining is not to be had.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::datagram::{self, Arrival, Datagram, MAX_BATCH, NotCut};

/// Sends messages, at most [`MAX_BATCH`], in order; returns how many were taken, at least one unless there was none.
///
/// # Errors
///
/// That of the first. One of a later message ends the batch; the next call meets it again, unless it was one that had
/// waited on the socket to be told once.
pub fn send_batch(fd: BorrowedFd<'_>, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
    one_by_one(datagrams.iter(), |one| match one.to {
        Some(to) => datagram::send_to(fd, one.bytes, &to).map(drop),
        None => datagram::send(fd, one.bytes).map(drop),
    })
}

/// Receives what is there into one place after another of `buffer`, each `length` bytes long, and says of each in
/// `arrivals` what it is. As many as both have, at most [`MAX_BATCH`]; returns how many, at least one unless there is no
/// place.
///
/// # Errors
///
/// That of the first. One that comes later ends the batch, and is lost if it was to be told once.
pub fn recv_batch(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    length: usize,
    arrivals: &mut [Arrival],
) -> io::Result<usize> {
    one_by_one(buffer.chunks_exact_mut(length).zip(arrivals), |(room, arrival)| {
        *arrival = datagram::recv_whole(fd, room)?;
        Ok(())
    })
}

/// As far as it goes well.
fn one_by_one<T>(
    all: impl Iterator<Item = T>,
    mut call: impl FnMut(T) -> io::Result<()>,
) -> io::Result<usize> {
    let mut done = 0;
    for one in all.take(MAX_BATCH) {
        match call(one) {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            // The caller is told of what was done, as sendmmsg and recvmmsg tell of it.
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Never.
pub fn can_cut(_fd: BorrowedFd<'_>) -> bool {
    false
}

/// What [`send_cut`] says has one reason.
pub fn why_not_cut(error: &io::Error) -> Option<NotCut> {
    (error.kind() == io::ErrorKind::Unsupported).then_some(NotCut::Way)
}

/// Not to be had.
///
/// # Errors
///
/// `Unsupported`, always.
pub fn send_cut(
    _fd: BorrowedFd<'_>,
    _bytes: &[u8],
    _segment: u16,
    _to: Option<&SocketAddr>,
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not to be had.
///
/// # Errors
///
/// `Unsupported`, unless it is to be off.
pub fn set_gro(_fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    if on { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
}
