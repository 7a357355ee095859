//! Options of every socket, and of those of IP.

use std::io;
use std::os::fd::BorrowedFd;

use super::outside;
use crate::sys;

/// The buffers of any socket: `recv_buffer_size send_buffer_size`.
macro_rules! socket_options {
    ($type:ty) => {
        $crate::net::options::option! {
            $type, usize;
            /// Asks for a receive buffer of so many bytes (`SO_RCVBUF`), instead of one that grows as it is needed. Linux
            /// reserves twice as much, for its bookkeeping, at most `net.core.rmem_max`. A window of TCP that is to be
            /// larger than 64 KiB must be asked for before the connection is made.
            set_recv_buffer_size = $crate::sys::socket::set_recv_buffer_size;
            /// How large the receive buffer may grow now, in bytes, bookkeeping included.
            recv_buffer_size = $crate::sys::socket::recv_buffer_size;
        }
        $crate::net::options::option! {
            $type, usize;
            /// Asks for a send buffer of so many bytes (`SO_SNDBUF`), instead of one that grows as it is needed. Linux
            /// reserves twice as much, for its bookkeeping, at most `net.core.wmem_max`.
            set_send_buffer_size = $crate::sys::socket::set_send_buffer_size;
            /// How large the send buffer may grow now, in bytes, bookkeeping included.
            send_buffer_size = $crate::sys::socket::send_buffer_size;
        }
    };
}

/// What the packets of a socket carry: `ttl traffic_class`.
macro_rules! ip_options {
    ($type:ty) => {
        $crate::net::options::option! {
            $type, u32;
            /// How many routers a packet may pass, 1 to 255: the time to live of IPv4, the hop limit of IPv6. An IPv6
            /// socket that carries IPv4 too has it set for both.
            set_ttl = $crate::net::options::set_ttl;
            /// How many routers a packet may pass.
            ttl = $crate::sys::sockopt::hops;
        }
        $crate::net::options::option! {
            $type, u8;
            /// The byte of a packet's header by which routers tell traffic apart: `IP_TOS`, the traffic class of IPv6. Its
            /// upper six bits are the DSCP; on TCP the lower two are the kernel's, and stay as they are.
            set_traffic_class = $crate::sys::sockopt::set_traffic_class;
            /// The byte by which routers tell traffic apart.
            traffic_class = $crate::sys::sockopt::traffic_class;
        }
    };
}

/// Who may bind the same address: `reuseaddr reuseport`.
macro_rules! reuse_options {
    ($type:ty) => {
        $crate::net::options::option! {
            $type, bool;
            /// Lets it bind a port whose former connections are still in TIME_WAIT (`SO_REUSEADDR`). Before bind.
            set_reuseaddr = $crate::sys::socket::set_reuseaddr;
            /// Whether it may bind a port with former connections.
            reuseaddr = $crate::sys::socket::reuseaddr;
        }
        $crate::net::options::option! {
            $type, bool;
            /// Lets several sockets of one user bind one port, among which the kernel spreads what comes
            /// (`SO_REUSEPORT`). Before bind, and on each of them.
            set_reuseport = $crate::sys::socket::set_reuseport;
            /// Whether it shares its port.
            reuseport = $crate::sys::socket::reuseport;
        }
    };
}

/// The interface that a socket is kept to: `bind_device device`.
macro_rules! device_options {
    ($type:ty) => {
        impl $type {
            /// Keeps it to one network interface, such as `eth0` (`SO_BINDTODEVICE`); `None` frees it. On Linux only.
            ///
            /// # Errors
            ///
            /// Closed; `Unsupported` elsewhere; `ENODEV`; `PermissionDenied` to change a choice without `CAP_NET_RAW`.
            pub fn bind_device(&self, name: Option<&str>) -> std::io::Result<()> {
                self.option("bind_device", |fd| $crate::net::options::bind_device(fd, name))
            }

            /// The interface that it is kept to.
            ///
            /// # Errors
            ///
            /// Closed; `Unsupported` elsewhere than on Linux; `InvalidData` for a name that is not UTF-8.
            pub fn device(&self) -> std::io::Result<Option<String>> {
                self.option("device", $crate::net::options::device)
            }
        }
    };
}

pub(crate) use {device_options, ip_options, reuse_options, socket_options};

pub(crate) fn set_ttl(fd: BorrowedFd<'_>, hops: u32) -> io::Result<()> {
    match u8::try_from(hops) {
        Ok(hops @ 1..) => sys::sockopt::set_hops(fd, hops),
        _ => Err(outside("the time to live", "1 to 255")),
    }
}

pub(crate) fn bind_device(fd: BorrowedFd<'_>, name: Option<&str>) -> io::Result<()> {
    if name.is_some_and(|name| name.is_empty() || name.len() > 15) {
        return Err(outside("the length of an interface's name", "1 to 15 bytes"));
    }
    sys::sockopt::set_device(fd, name.unwrap_or_default().as_bytes())
}

pub(crate) fn device(fd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let name = sys::sockopt::device(fd)?;
    let name = String::from_utf8(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(name).filter(|name| !name.is_empty()))
}
