//! Reads into memory that need not be initialized. The functions make a call of the kernel themselves or are given one by
//! netpoll-rt, and so know how many bytes it has written.

#![expect(unsafe_code, reason = "the parts of buffers that are not initialized")]

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use netpoll_rt::net::pipe::PipeReader;
use socket2::{SockAddr, SockRef};

use super::evented::Evented;
use crate::io::ReadBuf;

/// A call that receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receive {
    /// Takes the bytes.
    Take,
    /// Leaves them in the queue.
    Peek,
}

/// Marks the first bytes of the part that is not filled as filled.
///
/// # Safety
///
/// The first `n` bytes of that part are initialized.
unsafe fn filled(buffer: &mut ReadBuf<'_>, n: usize) {
    // SAFETY: the caller has initialized these bytes.
    unsafe { buffer.assume_init(n) };
    buffer.advance(n);
}

/// Polls to read by recv(2).
#[inline]
pub(crate) fn poll_recv<T: AsFd>(
    io: &Evented<T>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_recv` writes nothing but initialized bytes into it.
    let n = ready!(io.poll_recv(cx, unsafe { buffer.unfilled_mut() }))?;
    // SAFETY: `poll_recv` has initialized as many bytes at the front of that part as it has returned.
    unsafe { filled(buffer, n) };
    Poll::Ready(Ok(()))
}

/// Polls to read by read(2).
pub(crate) fn poll_read<T: AsFd>(
    io: &Evented<T>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_read_fd` writes nothing but initialized bytes into it.
    let n = ready!(io.poll_read_fd(cx, unsafe { buffer.unfilled_mut() }))?;
    // SAFETY: `poll_read_fd` has initialized as many bytes at the front of that part as it has returned.
    unsafe { filled(buffer, n) };
    Poll::Ready(Ok(()))
}

/// Polls to read from a pipe of netpoll-rt.
pub(crate) fn poll_pipe(
    pipe: &PipeReader,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_read_uninit` writes nothing but initialized bytes into it.
    let n = ready!(pipe.poll_read_uninit(cx, unsafe { buffer.unfilled_mut() }))?;
    // SAFETY: `poll_read_uninit` has initialized as many bytes at the front of that part as it has returned.
    unsafe { filled(buffer, n) };
    Poll::Ready(Ok(()))
}

/// Reads by recv(2) if there is a readiness.
pub(crate) fn try_recv<T: AsFd, B: BufMut>(io: &Evented<T>, buffer: &mut B) -> io::Result<usize> {
    // SAFETY: `try_recv` writes nothing but initialized bytes into it.
    let n = io.try_recv(unsafe { buffer.chunk_mut().as_uninit_slice_mut() })?;
    // SAFETY: `try_recv` has initialized as many bytes at the front of the chunk as it has returned.
    unsafe { buffer.advance_mut(n) };
    Ok(n)
}

/// Reads by read(2) if there is a readiness.
pub(crate) fn try_read<T: AsFd, B: BufMut>(io: &Evented<T>, buffer: &mut B) -> io::Result<usize> {
    // SAFETY: `try_read_fd` writes nothing but initialized bytes into it.
    let n = io.try_read_fd(unsafe { buffer.chunk_mut().as_uninit_slice_mut() })?;
    // SAFETY: `try_read_fd` has initialized as many bytes at the front of the chunk as it has returned.
    unsafe { buffer.advance_mut(n) };
    Ok(n)
}

/// Receives once.
pub(crate) fn recv<T: AsFd>(socket: &T, buffer: &mut ReadBuf<'_>, how: Receive) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    // SAFETY: recv(2) writes nothing but initialized bytes into it.
    let room = unsafe { buffer.unfilled_mut() };
    let n = if how == Receive::Take { socket.recv(room) } else { socket.peek(room) }?;
    // SAFETY: recv(2) has initialized as many bytes at the front of that part as it has returned.
    unsafe { filled(buffer, n) };
    Ok(n)
}

/// Receives once, with the sender.
pub(crate) fn recv_from<T: AsFd>(socket: &T, buffer: &mut ReadBuf<'_>, how: Receive) -> io::Result<SockAddr> {
    let socket = SockRef::from(socket);
    // SAFETY: recvfrom(2) writes nothing but initialized bytes into it.
    let room = unsafe { buffer.unfilled_mut() };
    let (n, from) = if how == Receive::Take { socket.recv_from(room) } else { socket.peek_from(room) }?;
    // SAFETY: recvfrom(2) has initialized as many bytes at the front of that part as it has returned.
    unsafe { filled(buffer, n) };
    Ok(from)
}

/// Calls `fill` with the next chunk of a buffer, and returns how many bytes it has filled beside its result.
pub(crate) fn with_chunk<B: BufMut, R>(
    buffer: &mut B,
    fill: impl FnOnce(&mut ReadBuf<'_>) -> io::Result<R>,
) -> io::Result<(usize, R)> {
    // SAFETY: a `ReadBuf` lets nothing but initialized bytes be written through its safe functions; its unsafe ones are
    // used by the functions above alone.
    let chunk = unsafe { buffer.chunk_mut().as_uninit_slice_mut() };
    let (start, mut room) = (chunk.as_ptr().cast::<u8>(), ReadBuf::uninit(chunk));
    let result = fill(&mut room)?;
    let (end, n) = (room.filled().as_ptr(), room.filled().len());
    assert!(std::ptr::eq(start, end), "the buffer was replaced by another one");
    // SAFETY: the first `n` bytes of the chunk are filled, which a `ReadBuf` knows to be initialized.
    unsafe { buffer.advance_mut(n) };
    Ok((n, result))
}
