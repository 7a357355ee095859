//! The options of sockets, each documented once, and the ranges of their values. The system calls are in
//! [`sockopt`](crate::sys::sockopt); the table at [`TcpSocket`](super::TcpSocket) has the defaults.
//!
//! See [`methods`](super::methods) for why this is a macro.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys::sockopt;

/// Writes options into a type that has a method `call`, as [`Descriptor`](super::methods::Descriptor) has.
macro_rules! option_methods {
    ($type:ident: $($group:ident),+) => {
        $($crate::net::options::option_methods!(@$group $type);)+
    };

    // One option: the type of its value, its setter and its getter.
    ($type:ident, $value:ty;
        $(#[$set_doc:meta])* $set:ident = $setter:path;
        $(#[$get_doc:meta])* $get:ident = $getter:path;
    ) => {
        impl $type {
            $(#[$set_doc])*
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed, or if the kernel refuses the value.
            pub fn $set(&self, value: $value) -> io::Result<()> {
                self.call(stringify!($set), |fd| $setter(fd, value))
            }

            $(#[$get_doc])*
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn $get(&self) -> io::Result<$value> {
                self.call(stringify!($get), $getter)
            }
        }
    };

    // Any socket.
    (@buffers $type:ident) => {
        $crate::net::options::option_methods! {
            $type, usize;
            /// Requests a receive buffer of this many bytes (`SO_RCVBUF`), instead of one that grows as
            /// needed. Linux reserves twice as much, for its bookkeeping, at most `net.core.rmem_max`. A TCP
            /// window of more than 64 KiB must be requested before the connection is made.
            set_recv_buffer_size = $crate::sys::sockopt::set_recv_buffer_size;
            /// Returns how large the receive buffer may grow now, in bytes, bookkeeping included.
            recv_buffer_size = $crate::sys::sockopt::recv_buffer_size;
        }
        $crate::net::options::option_methods! {
            $type, usize;
            /// Requests a send buffer of this many bytes (`SO_SNDBUF`), instead of one that grows as needed.
            /// Linux reserves twice as much, for its bookkeeping, at most `net.core.wmem_max`.
            set_send_buffer_size = $crate::sys::sockopt::set_send_buffer_size;
            /// Returns how large the send buffer may grow now, in bytes, bookkeeping included.
            send_buffer_size = $crate::sys::sockopt::send_buffer_size;
        }
    };

    // Any socket of IP.
    (@ip $type:ident) => {
        $crate::net::options::option_methods! {
            $type, u32;
            /// Sets how many routers a packet may pass, 1 to 255: the time to live of IPv4, the hop limit of
            /// IPv6. On an IPv6 socket that carries IPv4 too, it is set for both.
            set_ttl = $crate::net::options::set_ttl;
            /// Returns how many routers a packet may pass.
            ttl = $crate::sys::sockopt::hops;
        }
        $crate::net::options::option_methods! {
            $type, u8;
            /// Sets the byte of a packet's header by which routers classify traffic: `IP_TOS`, the traffic
            /// class of IPv6. Its upper six bits are the DSCP. On TCP the lower two are the kernel's, and do
            /// not change.
            set_traffic_class = $crate::sys::sockopt::set_traffic_class;
            /// Returns the byte by which routers classify traffic.
            traffic_class = $crate::sys::sockopt::traffic_class;
        }
    };

    (@v6only $type:ident) => {
        impl $type {
            /// Returns whether an IPv6 socket carries no IPv4 (`IPV6_V6ONLY`).
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; the kernel's on an IPv4 socket.
            pub fn v6only(&self) -> io::Result<bool> {
                self.call("v6only", $crate::sys::sockopt::v6only)
            }
        }
    };

    (@reuse $type:ident) => {
        $crate::net::options::option_methods! {
            $type, bool;
            /// Lets it bind a port whose former connections are still in TIME_WAIT (`SO_REUSEADDR`). Set it
            /// before bind.
            set_reuseaddr = $crate::sys::sockopt::set_reuseaddr;
            /// Returns whether it may bind a port with former connections.
            reuseaddr = $crate::sys::sockopt::reuseaddr;
        }
        $crate::net::options::option_methods! {
            $type, bool;
            /// Lets several sockets of one user bind one port, over which the kernel spreads the peers
            /// (`SO_REUSEPORT`). Set it on each of them, before bind.
            set_reuseport = $crate::sys::sockopt::set_reuseport;
            /// Returns whether it shares its port.
            reuseport = $crate::sys::sockopt::reuseport;
        }
    };

    (@device $type:ident) => {
        impl $type {
            /// Restricts it to one network interface, such as `eth0` (`SO_BINDTODEVICE`); `None` ends that.
            /// On Linux only.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `Unsupported` on other systems; `ENODEV` if there is no such
            /// interface; `PermissionDenied` for a change of an earlier choice without `CAP_NET_RAW`.
            pub fn bind_device(&self, name: Option<&str>) -> io::Result<()> {
                self.call("bind_device", |fd| $crate::net::options::bind_device(fd, name))
            }

            /// Returns the interface that it is restricted to.
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed; `Unsupported` on systems other than Linux; `InvalidData` for
            /// a name that is not UTF-8.
            pub fn device(&self) -> io::Result<Option<String>> {
                self.call("device", $crate::net::options::device)
            }
        }
    };

    // TCP: connections, and listeners for them.
    (@tcp $type:ident) => {
        $crate::net::options::option_methods! {
            $type, bool;
            /// Sets whether small writes are sent at once (`TCP_NODELAY`, on by default) instead of waiting
            /// until earlier bytes are acknowledged.
            set_nodelay = $crate::sys::sockopt::set_nodelay;
            /// Returns whether small writes are sent at once.
            nodelay = $crate::sys::sockopt::nodelay;
        }
        $crate::net::options::option_methods! {
            $type, Option<$crate::net::Keepalive>;
            /// Sets when the kernel probes a silent connection (`SO_KEEPALIVE`); `None` disables probes. The
            /// default is [`Keepalive::default`](crate::net::Keepalive). A value out of range is refused and
            /// changes nothing.
            set_keepalive = $crate::net::options::set_keepalive;
            /// Returns when the kernel probes a silent connection; `None` if it never does.
            keepalive = $crate::net::options::keepalive;
        }
        $crate::net::options::option_methods! {
            $type, Option<Duration>;
            /// Sets what a close does with bytes that are not sent yet (`SO_LINGER`). With `None`, the
            /// default, the kernel sends them after the close has returned. With `Some(Duration::ZERO)` they
            /// are discarded and the connection is reset, which leaves no TIME_WAIT.
            ///
            /// A longer time is refused: close(2) would block the thread for that time, and with it every
            /// other task there, although the socket is non-blocking; and it waits for the peer's kernel, not
            /// for the peer. To know that everything was read,
            /// [shut down the writing half](std::net::Shutdown::Write) and read until the end of the stream,
            /// under a deadline.
            set_linger = $crate::net::options::set_linger;
            /// Returns what a close does with bytes that are not sent yet. An adopted socket may have a time
            /// here, and then its close blocks.
            linger = $crate::sys::sockopt::linger;
        }
        $crate::net::options::option_methods! {
            $type, Option<Duration>;
            /// Sets how long bytes may stay unacknowledged, or a window closed, before the connection fails
            /// with `TimedOut` (`TCP_USER_TIMEOUT`): 1 ms to 2^31 - 1 ms (24.8 days), rounded up to
            /// milliseconds. With `None`, the default, the kernel tries for about 15 minutes. It also ends
            /// the probes of keepalive, whatever their count. On Linux only; `Unsupported` elsewhere.
            set_user_timeout = $crate::net::options::set_user_timeout;
            /// Returns how long bytes may stay unacknowledged; `None` if the kernel decides. On Linux only.
            user_timeout = $crate::net::options::user_timeout;
        }
    };

    (@fastopen $type:ident) => {
        $crate::net::options::option_methods! {
            $type, u32;
            /// Accepts data with a peer's first packet (`TCP_FASTOPEN`), and lets this many connections wait
            /// whose handshake is not complete, at most the kernel's limit on the backlog. 0, the default,
            /// disables it. The same data may come twice, so it must be safe to process twice. Without the 2
            /// in `net.ipv4.tcp_fastopen` the kernel accepts the option and ignores it. On Linux only;
            /// `Unsupported` elsewhere.
            set_fastopen = $crate::sys::sockopt::set_fastopen;
            /// Returns how many connections with early data may wait. On Linux only.
            fastopen = $crate::sys::sockopt::fastopen;
        }
    };

    (@quickack $type:ident) => {
        $crate::net::options::option_methods! {
            $type, bool;
            /// Acknowledges input at once instead of waiting up to 40 ms for an answer to carry the
            /// acknowledgement (`TCP_QUICKACK`). The kernel leaves this mode when it sees an exchange of
            /// requests and answers, so it holds for the next reads only. On Linux only; `Unsupported`
            /// elsewhere.
            set_quickack = $crate::sys::sockopt::set_quickack;
            /// Returns whether input is acknowledged at once now. On Linux only.
            quickack = $crate::sys::sockopt::quickack;
        }
    };
}

pub(crate) use option_methods;

/// The probes of a silent TCP connection.
///
/// The default is that of Go: a probe after 15 s of silence and then every 15 s. After 9 unanswered probes,
/// 2.5 minutes after the last input, the connection fails. Times are rounded up to whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Keepalive {
    /// The silence before the first probe; 1 s to 32,767 s.
    pub idle: Duration,
    /// The time between two probes; 1 s to 32,767 s.
    pub interval: Duration,
    /// The number of unanswered probes after which the connection fails; 1 to 127.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        let fifteen = Duration::from_secs(15);
        Keepalive { idle: fifteen, interval: fifteen, count: 9 }
    }
}

impl Keepalive {
    /// Checks all values before the first is set: the kernel checks each as it is set, and keeps the ones
    /// before it.
    fn checked(self) -> io::Result<Self> {
        const LONGEST: Duration = Duration::from_secs(32_767);
        for (what, time) in
            [("the idle time of keepalive", self.idle), ("the interval of keepalive", self.interval)]
        {
            if time.is_zero() || time > LONGEST {
                return Err(out_of_range(what, "1 s to 32767 s"));
            }
        }
        if !(1..=127).contains(&self.count) {
            return Err(out_of_range("the count of keepalive", "1 to 127"));
        }
        Ok(self)
    }
}

/// Returns an error that tells which values are allowed.
fn out_of_range(what: &str, range: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} must be within {range}"))
}

pub(crate) fn set_ttl(fd: BorrowedFd<'_>, hops: u32) -> io::Result<()> {
    match u8::try_from(hops) {
        Ok(hops @ 1..) => sockopt::set_hops(fd, hops),
        _ => Err(out_of_range("the time to live", "1 to 255")),
    }
}

pub(crate) fn bind_device(fd: BorrowedFd<'_>, name: Option<&str>) -> io::Result<()> {
    if name.is_some_and(|name| name.is_empty() || name.len() > 15) {
        return Err(out_of_range("the length of an interface's name", "1 to 15 bytes"));
    }
    // The kernel would read the name up to there: that of another interface, or none, which ends the restriction.
    if name.is_some_and(|name| name.contains('\0')) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface's name must not contain a null",
        ));
    }
    sockopt::set_device(fd, name.unwrap_or_default().as_bytes())
}

pub(crate) fn device(fd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let name = String::from_utf8(sockopt::device(fd)?);
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(name).filter(|name| !name.is_empty()))
}

pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, keepalive: Option<Keepalive>) -> io::Result<()> {
    match keepalive.map(Keepalive::checked).transpose()? {
        Some(Keepalive { idle, interval, count }) => sockopt::set_keepalive(fd, idle, interval, count),
        None => sockopt::clear_keepalive(fd),
    }
}

pub(crate) fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<Keepalive>> {
    let times = sockopt::keepalive(fd)?;
    Ok(times.map(|(idle, interval, count)| Keepalive { idle, interval, count }))
}

pub(crate) fn set_linger(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    if time.is_some_and(|time| !time.is_zero()) {
        let why = "close(2) would block this thread for that time: shut the writing half down and read to the end instead";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    sockopt::set_linger(fd, time)
}

pub(crate) fn set_user_timeout(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    let Some(time) = time else { return sockopt::set_user_timeout(fd, 0) };
    match u32::try_from(time.as_nanos().div_ceil(1_000_000)) {
        Ok(ms @ 1..=0x7fff_ffff) => sockopt::set_user_timeout(fd, ms),
        _ => Err(out_of_range("the user timeout", "1 ms to 2147483647 ms")),
    }
}

pub(crate) fn user_timeout(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    let ms = sockopt::user_timeout(fd)?;
    Ok((ms > 0).then(|| Duration::from_millis(ms.into())))
}
