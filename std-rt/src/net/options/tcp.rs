//! Options of TCP.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::outside;
use crate::sys::{socket, sockopt};

/// When a silent connection is asked whether its peer is still there, and when it is given up.
///
/// The default is that of Go: asked after 15 s of silence and then every 15 s, given up after 9 questions without an
/// answer, 2.5 minutes after the last that was heard. Times are rounded up to whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Keepalive {
    /// The silence before the first question; 1 s to 32,767 s.
    pub idle: Duration,
    /// From one question to the next; 1 s to 32,767 s.
    pub interval: Duration,
    /// How many stay unanswered before the connection is given up; 1 to 127.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        let fifteen = Duration::from_secs(15);
        Keepalive { idle: fifteen, interval: fifteen, count: 9 }
    }
}

impl Keepalive {
    /// The kernel checks each value as it is set; checked before, a refused one leaves the others as they were.
    fn checked(self) -> io::Result<Self> {
        const LONGEST: Duration = Duration::from_secs(32_767);
        for (what, time) in
            [("the idle time of keepalive", self.idle), ("the interval of keepalive", self.interval)]
        {
            if time.is_zero() || time > LONGEST {
                return Err(outside(what, "1 s to 32767 s"));
            }
        }
        if !(1..=127).contains(&self.count) {
            return Err(outside("the count of keepalive", "1 to 127"));
        }
        Ok(self)
    }
}

/// What connections have, and listeners for them: `nodelay keepalive linger user_timeout`.
macro_rules! tcp_options {
    ($type:ty) => {
        $crate::net::options::option! {
            $type, bool;
            /// Whether small writes are sent at once (`TCP_NODELAY`, on by default) instead of waiting for the
            /// acknowledgement of what went before.
            set_nodelay = $crate::sys::socket::set_nodelay;
            /// Whether small writes are sent at once.
            nodelay = $crate::sys::socket::nodelay;
        }
        $crate::net::options::option! {
            $type, Option<$crate::net::Keepalive>;
            /// When a silent connection is asked whether its peer is still there; `None` never asks. By default it is
            /// [`Keepalive::default`](crate::net::Keepalive). A value out of range is refused and changes nothing.
            set_keepalive = $crate::net::options::set_keepalive;
            /// When a silent connection is asked whether its peer is still there; `None` if never.
            keepalive = $crate::net::options::keepalive;
        }
        $crate::net::options::option! {
            $type, Option<std::time::Duration>;
            /// What closing does with bytes that are not sent yet (`SO_LINGER`): with `None`, the default, the kernel goes
            /// on sending them after the close has returned; with `Some(Duration::ZERO)` they are thrown away and the
            /// connection is reset, which leaves no TIME_WAIT.
            ///
            /// A longer time is refused: close(2) would block the thread for so long, and with it every other task there,
            /// non-blocking or not; and what it waits for is the peer's kernel, not the peer. To know that everything was
            /// read, [shut the writing half down](std::net::Shutdown::Write) and read until the end of the stream, under a
            /// deadline.
            set_linger = $crate::net::options::set_linger;
            /// What closing does with bytes that are not sent yet. A socket that was adopted may have a time here, and
            /// its closing blocks.
            linger = $crate::sys::socket::linger;
        }
        $crate::net::options::option! {
            $type, Option<std::time::Duration>;
            /// How long bytes may stay unacknowledged, or a window closed, before the connection fails with `TimedOut`
            /// (`TCP_USER_TIMEOUT`): 1 ms to 2^31 - 1 ms (24.8 days), rounded up to milliseconds. With `None`, the default,
            /// the kernel tries for about 15 minutes. It also ends keepalive's asking, whatever the count. On Linux only,
            /// `Unsupported` elsewhere.
            set_user_timeout = $crate::net::options::set_user_timeout;
            /// How long bytes may stay unacknowledged; `None` if that is left to the kernel. On Linux only.
            user_timeout = $crate::net::options::user_timeout;
        }
    };
}

/// Data in the first packet, of who is connected to: `fastopen`.
macro_rules! fastopen_options {
    ($type:ty) => {
        $crate::net::options::option! {
            $type, u32;
            /// Takes data with a peer's first packet (`TCP_FASTOPEN`), and lets so many connections wait whose handshake
            /// is not complete; at most the kernel's limit on the backlog. 0, the default, is off. The same data may come
            /// twice, so let it ask only for what may be done twice. Without the 2 in `net.ipv4.tcp_fastopen` the kernel
            /// accepts the option and ignores it. On Linux only, `Unsupported` elsewhere.
            set_fastopen = $crate::sys::sockopt::set_fastopen;
            /// How many connections may wait that came with data. On Linux only.
            fastopen = $crate::sys::sockopt::fastopen;
        }
    };
}

/// Whether an IPv6 socket keeps IPv4 off: `v6only`.
macro_rules! v6only_option {
    ($type:ty) => {
        impl $type {
            /// Whether IPv4 is kept off an IPv6 socket (`IPV6_V6ONLY`).
            ///
            /// # Errors
            ///
            /// Closed; the kernel's on a socket of IPv4.
            pub fn v6only(&self) -> std::io::Result<bool> {
                self.option("v6only", $crate::sys::socket::v6only)
            }
        }
    };
}

/// Acknowledgements without delay: `quickack`.
macro_rules! quickack_option {
    ($type:ty) => {
        $crate::net::options::option! {
            $type, bool;
            /// Acknowledges what comes at once instead of waiting up to 40 ms for an answer to ride on (`TCP_QUICKACK`).
            /// The kernel falls back when it sees an exchange of questions and answers, so this holds for the next reads,
            /// not for ever. On Linux only, `Unsupported` elsewhere.
            set_quickack = $crate::sys::sockopt::set_quickack;
            /// Whether it acknowledges at once now. On Linux only.
            quickack = $crate::sys::sockopt::quickack;
        }
    };
}

pub(crate) use {fastopen_options, quickack_option, tcp_options, v6only_option};

pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, keepalive: Option<Keepalive>) -> io::Result<()> {
    match keepalive.map(Keepalive::checked).transpose()? {
        Some(Keepalive { idle, interval, count }) => socket::set_keepalive(fd, idle, interval, count),
        None => socket::clear_keepalive(fd),
    }
}

pub(crate) fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<Keepalive>> {
    let times = socket::keepalive(fd)?;
    Ok(times.map(|(idle, interval, count)| Keepalive { idle, interval, count }))
}

pub(crate) fn set_linger(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    if time.is_some_and(|time| !time.is_zero()) {
        let why = "close(2) would block this thread for that time: shut the writing half down and read to the end instead";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    socket::set_linger(fd, time)
}

pub(crate) fn set_user_timeout(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    let Some(time) = time else { return sockopt::set_user_timeout(fd, 0) };
    match u32::try_from(time.as_nanos().div_ceil(1_000_000)) {
        Ok(ms @ 1..=0x7fff_ffff) => sockopt::set_user_timeout(fd, ms),
        _ => Err(outside("the user timeout", "1 ms to 2147483647 ms")),
    }
}

pub(crate) fn user_timeout(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    let ms = sockopt::user_timeout(fd)?;
    Ok((ms > 0).then(|| Duration::from_millis(ms.into())))
}
