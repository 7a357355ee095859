//! The system calls of this crate by name, and the function that makes one: after fault injection has agreed,
//! and again after each signal (`EINTR`).

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, retry_on_intr};

use super::inject;

/// A system call, as the functions of [`sys`](super) make it. A variant may stand for several calls, as
/// `Send` does for sendto and sendmsg.
#[allow(dead_code, reason = "each system makes some of the calls")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Call {
    /// socket(2), and socketpair(2).
    Socket,
    /// bind(2).
    Bind,
    /// listen(2).
    Listen,
    /// accept4(2).
    Accept,
    /// connect(2) of a TCP socket, which continues in the kernel when a signal interrupts it.
    Connect,
    /// connect(2) of a Unix or datagram socket: it completes or fails at once.
    ConnectLocal,
    /// getsockopt(2) of `SO_ERROR`.
    SocketError,
    /// getpeername(2).
    PeerName,
    /// getsockname(2).
    SockName,
    /// shutdown(2).
    Shutdown,
    /// setsockopt(2).
    SetOption,
    /// getsockopt(2).
    GetOption,
    /// ioctl(2) of `FIONBIO`, fcntl(2) of `O_NONBLOCK`.
    SetNonblocking,
    /// fcntl(2) of `F_DUPFD_CLOEXEC`.
    Duplicate,
    /// recvfrom(2) and recvmsg(2).
    Recv,
    /// sendto(2) and sendmsg(2).
    Send,
    /// recvmmsg(2).
    RecvBatch,
    /// sendmmsg(2).
    SendBatch,
    /// read(2) and readv(2).
    Read,
    /// write(2) and writev(2).
    Write,
    /// splice(2) into a pipe.
    SpliceIn,
    /// splice(2) out of a pipe.
    SpliceOut,
    /// sendfile(2).
    SendFile,
    /// pipe2(2).
    Pipe,
    /// openat(2).
    OpenFile,
    /// close(2).
    Close,
    /// lstat(2).
    FileStatus,
    /// unlink(2).
    Unlink,
    /// The calls that create a poller: epoll_create1(2), kqueue(2), eventfd(2).
    PollerInit,
    /// The calls that register a descriptor: epoll_ctl(2) `ADD`, kevent(2).
    PollerOpen,
    /// The calls that deregister a descriptor: epoll_ctl(2) `DEL`, kevent(2).
    PollerClose,
    /// The calls that wait for events: epoll_wait(2), epoll_pwait2(2), kevent(2), poll(2).
    PollerWait,
    /// The call that interrupts a wait: write(2) to the eventfd or pipe, kevent(2).
    Break,
    /// The call that consumes a break: read(2) of the eventfd or pipe.
    Drain,
    /// poll(2) of one descriptor with a zero timeout.
    Look,
    /// pthread_create(3), made by std.
    StartThread,
    /// fork(2) and execve(2), or posix_spawn(3), made by std.
    StartChild,
    /// pidfd_open(2).
    OpenChild,
    /// waitpid(2) and waitid(2), without a wait.
    ReapChild,
    /// kill(2) and pidfd_send_signal(2).
    SignalChild,
}

/// Makes a system call on `fd`, and repeats it while a signal interrupts it.
#[inline]
pub(super) fn retry<T>(
    call: Call,
    fd: BorrowedFd<'_>,
    make: impl FnMut() -> Result<T, Errno>,
) -> io::Result<T> {
    Ok(retry_errno(call, fd, make)?)
}

/// Makes a system call as [`retry`] does, and returns the error number.
#[inline]
pub(super) fn retry_errno<T>(
    call: Call,
    fd: BorrowedFd<'_>,
    mut make: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    retry_on_intr(|| {
        inject::before(call, fd)?;
        make()
    })
}

/// Makes a system call that creates a descriptor or needs none, and repeats it while a signal interrupts it.
pub(super) fn retry_new<T>(call: Call, mut make: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    Ok(retry_on_intr(|| {
        inject::before_new(call)?;
        make()
    })?)
}
