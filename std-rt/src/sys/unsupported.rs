//! The calls that a platform lacks, with the signatures of the platforms that have them. Each is emulated
//! with calls of POSIX, or returns `Unsupported`. The file is compiled on every host, although each uses only
//! a part of it.

#![allow(dead_code, reason = "each platform lacks a part of these, and none lacks all")]

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use libc::c_short;
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::Call;
use super::unix::Credentials;
use crate::sys::call::{retry, retry_errno};

/// No bit of poll(2): the kernel does not report the end of the peer's writing half apart.
pub const POLLRDHUP: c_short = 0;

/// Refuses what epoll refuses: a regular file, a directory, a disk. poll(2) always reports them as ready, and
/// kqueue reports only the distance to the end of a file.
///
/// # Errors
///
/// Returns `EPERM`; `EBADF` for a number that is not open.
pub fn refuse_files(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_errno(Call::PollerOpen, fd, || Ok(()))?;
    match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::RegularFile | FileType::Directory | FileType::BlockDevice => Err(Errno::PERM),
        _ => Ok(()),
    }
}

/// Fails with `Unsupported`: the system has neither `SO_PEERCRED` nor getpeereid(3).
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    retry(Call::GetOption, fd, || Ok(()))?;
    Err(Errno::OPNOTSUPP.into())
}

/// Does nothing: processors without a prefetch instruction that is reachable from here predict accesses
/// themselves.
#[inline(always)]
pub fn prefetch<T>(_place: *const T, _lines: usize) {}

/// The times of TCP keepalive where they are the whole system's.
pub mod keepalive {
    use super::{BorrowedFd, Duration, io};

    fn unsupported<T>() -> io::Result<T> {
        let what =
            "this system has no times of keepalive for a connection, only for all (sysctl net.inet.tcp)";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }

    /// Fails with `Unsupported`.
    pub fn set_keepalive_times(
        _fd: BorrowedFd<'_>,
        _idle: Duration,
        _interval: Duration,
        _count: u32,
    ) -> io::Result<()> {
        unsupported()
    }

    /// Fails with `Unsupported`.
    pub fn keepalive_times(_fd: BorrowedFd<'_>) -> io::Result<(Duration, Duration, u32)> {
        unsupported()
    }
}

/// Batches of UDP messages: one message after another, and no segmentation.
pub mod mmsg {
    use std::net::SocketAddr;

    use super::{BorrowedFd, io};
    use crate::sys::udp::{self, Arrival, Datagram, MAX_BATCH, NotCut};

    /// Sends messages, at most [`MAX_BATCH`], in order; returns how many were sent, at least one unless there
    /// was none.
    ///
    /// # Errors
    ///
    /// Returns the error of the first message. An error of a later one ends the batch. The next call returns
    /// it again, unless it was an error queued on the socket, which is returned only once.
    pub fn send_batch(fd: BorrowedFd<'_>, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
        one_by_one(datagrams.iter(), |one| match one.to {
            _ if !one.source.is_default() => Err(io::ErrorKind::Unsupported.into()),
            Some(to) => udp::send_to(fd, one.bytes, &to).map(drop),
            None => udp::send(fd, one.bytes).map(drop),
        })
    }

    /// Receives available messages into consecutive slots of `buffer`, each `length` bytes long, and
    /// describes each in `arrivals`: as many as both have, at most [`MAX_BATCH`]. Returns how many, at least
    /// one unless there is no slot.
    ///
    /// # Errors
    ///
    /// Returns the error of the first message. A later one ends the batch, and is lost if it was queued on
    /// the socket.
    pub fn recv_batch(
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        length: usize,
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        one_by_one(buffer.chunks_exact_mut(length).zip(arrivals), |(slot, arrival)| {
            *arrival = udp::recv_whole(fd, slot)?;
            Ok(())
        })
    }

    /// Calls `call` for each element until one fails; returns how many succeeded.
    fn one_by_one<T>(
        all: impl Iterator<Item = T>,
        mut call: impl FnMut(T) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut done = 0;
        for one in all.take(MAX_BATCH) {
            match call(one) {
                Ok(()) => done += 1,
                Err(error) if done == 0 => return Err(error),
                // The count of the messages that succeeded is returned, as by sendmmsg and recvmmsg.
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Returns false.
    pub fn can_cut(_fd: BorrowedFd<'_>) -> bool {
        false
    }

    /// Returns the only reason why [`send_cut`] fails.
    pub fn why_not_cut(error: &io::Error) -> Option<NotCut> {
        (error.kind() == io::ErrorKind::Unsupported).then_some(NotCut::Route)
    }

    /// Fails.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn send_cut(
        _fd: BorrowedFd<'_>,
        _bytes: &[u8],
        _segment: u16,
        _to: Option<&SocketAddr>,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails, unless `on` is false.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn set_gro(_fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
        if on { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }

    /// Fails, unless `on` is false.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn set_recv_packet_info(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
        set_gro(fd, on)
    }

    /// Fails, unless `on` is false.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn set_recv_traffic_class(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
        set_gro(fd, on)
    }
}

/// Descriptors of processes.
pub mod pidfd {
    use std::ffi::c_int;
    use std::os::fd::OwnedFd;

    use rustix::process::{Pid, Signal};

    use super::{BorrowedFd, Errno};

    /// Fails.
    ///
    /// # Errors
    ///
    /// Returns `ENOSYS`: this system has no descriptors of processes.
    pub fn open_process(_pid: Pid) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }

    /// Fails.
    ///
    /// # Errors
    ///
    /// Returns `ENOSYS`.
    pub fn reap_process(_fd: BorrowedFd<'_>) -> Result<Option<c_int>, Errno> {
        Err(Errno::NOSYS)
    }

    /// Fails.
    ///
    /// # Errors
    ///
    /// Returns `ENOSYS`.
    pub fn signal_process(_fd: BorrowedFd<'_>, _signal: Signal) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
}

/// Everything else that Linux has and the other systems lack.
pub mod linux {
    use std::io::IoSlice;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::SocketAddr;
    use std::sync::OnceLock;
    use std::time::Instant;

    use rustix::event::PollFlags;
    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix};

    use super::{BorrowedFd, Errno, io};
    use crate::sys::{fd, socket};

    /// Returns the error for an option.
    fn unsupported<T>(option: &str) -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("this system has no {option}")))
    }

    /// Fails with `Unsupported`.
    pub fn set_user_timeout(_fd: BorrowedFd<'_>, _ms: u32) -> io::Result<()> {
        unsupported("TCP_USER_TIMEOUT")
    }

    /// Fails with `Unsupported`.
    pub fn user_timeout(_fd: BorrowedFd<'_>) -> io::Result<u32> {
        unsupported("TCP_USER_TIMEOUT")
    }

    /// Fails with `Unsupported`.
    pub fn set_quickack(_fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
        unsupported("TCP_QUICKACK")
    }

    /// Fails with `Unsupported`.
    pub fn quickack(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        unsupported("TCP_QUICKACK")
    }

    /// Fails with `Unsupported`.
    pub fn set_fastopen(_fd: BorrowedFd<'_>, _queue: u32) -> io::Result<()> {
        unsupported("TCP_FASTOPEN as a queue")
    }

    /// Fails with `Unsupported`.
    pub fn fastopen(_fd: BorrowedFd<'_>) -> io::Result<u32> {
        unsupported("TCP_FASTOPEN as a queue")
    }

    /// Fails with `Unsupported`.
    pub fn set_fastopen_connect(_fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
        unsupported("TCP_FASTOPEN_CONNECT")
    }

    /// Fails with `Unsupported`.
    pub fn fastopen_connect(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        unsupported("TCP_FASTOPEN_CONNECT")
    }

    /// Fails with `Unsupported`.
    pub fn set_bind_address_no_port(_fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
        unsupported("IP_BIND_ADDRESS_NO_PORT")
    }

    /// As on Linux.
    pub fn bind_address_no_port(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        unsupported("IP_BIND_ADDRESS_NO_PORT")
    }

    /// Returns `None`: there is no Multipath TCP.
    pub fn mptcp_socket(_family: AddressFamily) -> Result<Option<OwnedFd>, Errno> {
        Ok(None)
    }

    /// Returns false.
    pub fn is_mptcp(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(false)
    }

    /// As on Linux.
    pub fn set_device(_fd: BorrowedFd<'_>, _name: &[u8]) -> io::Result<()> {
        unsupported("SO_BINDTODEVICE")
    }

    /// Fails with `Unsupported`.
    pub fn device(_fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        unsupported("SO_BINDTODEVICE")
    }

    /// Returns `None`: this system has no `TCP_INFO` with Linux's states.
    pub fn has_tcp_peer_ended(_fd: BorrowedFd<'_>) -> Option<bool> {
        None
    }

    /// Writes to a TCP socket as [`socket::send`] does.
    #[inline]
    pub fn send_tcp(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        socket::send(fd, bytes)
    }

    /// Writes several buffers as [`socket::sendv`] does.
    #[inline]
    pub fn sendv_tcp(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::sendv(fd, buffers)
    }

    fn no_abstract_names() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "this system has no abstract names for Unix sockets")
    }

    /// Returns `None`.
    pub fn abstract_name(_address: &SocketAddr) -> Option<&[u8]> {
        None
    }

    /// Fails.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`: this kernel has no abstract names.
    pub fn from_abstract_name(_name: &[u8]) -> io::Result<SocketAddr> {
        Err(no_abstract_names())
    }

    /// Fails with `Unsupported`.
    pub fn abstract_name_to_kernel(_name: &[u8]) -> io::Result<SocketAddrUnix> {
        Err(no_abstract_names())
    }

    /// Returns `None`.
    pub fn abstract_name_from_kernel(_address: &SocketAddrUnix) -> Option<&[u8]> {
        None
    }

    /// The flags of a receive with descriptors; [`set_cloexec`] makes up for the flag that is missing.
    pub const RECV_FLAGS: RecvFlags = RecvFlags::empty();

    /// The space for the data that the kernel adds to received descriptors, which is none.
    pub const SCM_CREDENTIALS_SPACE: usize = 0;

    /// Makes received descriptors close-on-exec. A child that another thread has spawned before inherits
    /// them.
    pub fn set_cloexec(fds: &[OwnedFd]) -> Result<(), Errno> {
        fds.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::CLOEXEC))
    }

    /// Returns whether both halves of a socket have ended. poll(2) does not report one half alone.
    pub fn is_read_ended(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
        Ok(fd::poll_now(fd, PollFlags::IN)?.contains(PollFlags::HUP))
    }

    /// Fails with `Unsupported`.
    pub fn pipe_capacity(_fd: BorrowedFd<'_>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails with `Unsupported`.
    pub fn set_pipe_capacity(_fd: BorrowedFd<'_>, _bytes: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails: the kernel ends a timed wait when it is due.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn timer_slack() -> io::Result<u64> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no timer slack"))
    }

    /// Does nothing.
    pub fn reset_timer_slack() -> Option<u64> {
        None
    }

    /// Fails: the kernel ends a timed wait when it is due, and has no slack to set.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported`.
    pub fn set_timer_slack(_nanoseconds: u64) -> io::Result<u64> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no timer slack"))
    }

    /// Returns the exact clock's value, because there is no cheaper clock.
    #[inline]
    pub fn coarse_now() -> u64 {
        exact_now()
    }

    /// Returns the nanoseconds since the first call.
    pub fn exact_now() -> u64 {
        anchor().0.elapsed().as_nanos() as u64
    }

    /// Returns the instant of the first call, and 0.
    pub fn anchor() -> (Instant, u64) {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        (*FIRST.get_or_init(Instant::now), 0)
    }

    /// Returns 0: the clock is exact.
    pub fn coarse_error() -> u64 {
        0
    }

    /// Copies between two descriptors within the kernel, which needs splice(2), or sendfile(2) as Linux has
    /// it.
    pub mod splice {
        use super::{BorrowedFd, io};

        /// Fails with `Unsupported`.
        pub fn splice_in(_from: BorrowedFd<'_>, _pipe: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Fails with `Unsupported`.
        pub fn splice_to_pipe(
            _pipe: BorrowedFd<'_>,
            _to: BorrowedFd<'_>,
            _length: usize,
        ) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Fails with `Unsupported`.
        pub fn splice_to_socket(
            _pipe: BorrowedFd<'_>,
            _to: BorrowedFd<'_>,
            _length: usize,
        ) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Fails with `Unsupported`.
        pub fn send_file(_file: BorrowedFd<'_>, _pipe: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Returns whether the error is that of the functions above.
        pub fn is_refused(error: &io::Error) -> bool {
            error.kind() == io::ErrorKind::Unsupported
        }
    }
}
