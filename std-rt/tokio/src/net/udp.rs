//! UDP sockets.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::BufMut;
use socket2::{SockAddr, SockRef};

use crate::io::buffer::{self, Receive};
use crate::io::evented::Evented;
use crate::io::{Interest, ReadBuf};
use crate::net::ToSocketAddrs;
use crate::net::addr::{last_error, resolve};
use crate::net::methods::methods;

/// The conditions that end the wait of a receive.
const INPUT: Interest = Interest::READABLE.add(Interest::ERROR);

/// A UDP socket, as tokio's.
pub struct UdpSocket {
    io: Evented<net::UdpSocket>,
}

impl UdpSocket {
    /// Binds a socket to the first address that works.
    ///
    /// # Errors
    ///
    /// Returns the error of the last address; `InvalidInput` without an address.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let mut last = None;
        for addr in resolve(addr).await? {
            match net::UdpSocket::bind(addr) {
                Ok(socket) => {
                    socket.set_nonblocking(true)?;
                    return Self::from_std(socket);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last_error(last))
    }

    /// Chooses the first address that works as the peer.
    ///
    /// # Errors
    ///
    /// Returns the error of the last address; `InvalidInput` without an address.
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        let mut last = None;
        for addr in resolve(addr).await? {
            match self.io.get_ref().connect(addr) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last_error(last))
    }

    /// Returns the address on this side.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// Returns the peer.
    ///
    /// # Errors
    ///
    /// Returns `NotConnected` if none was chosen.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Sends a datagram to the peer.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.async_io(Interest::WRITABLE, || self.io.get_ref().send(buf)).await
    }

    /// Polls to send a datagram to the peer.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write_io(cx, || self.io.get_ref().send(buf))
    }

    /// Sends a datagram to the peer if there is space.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no space; the kernel's error.
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_io(Interest::WRITABLE, || self.io.get_ref().send(buf))
    }

    /// Sends a datagram to the first address of `addr`.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; `InvalidInput` without an address.
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        match resolve(addr).await?.next() {
            Some(to) => self.io.async_io(Interest::WRITABLE, || self.io.get_ref().send_to(buf, to)).await,
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to")),
        }
    }

    /// Polls to send a datagram to an address.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_io(cx, || self.io.get_ref().send_to(buf, target))
    }

    /// Sends a datagram to an address if there is space.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no space; the kernel's error.
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.io.try_io(Interest::WRITABLE, || self.io.get_ref().send_to(buf, target))
    }

    /// Receives a datagram of the peer.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.async_io(INPUT, || self.io.get_ref().recv(buf)).await
    }

    /// Polls to receive a datagram of the peer.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io.poll_read_io(cx, || buffer::recv(self.io.get_ref(), buf, Receive::Take).map(|_| ()))
    }

    /// Receives a datagram of the peer if there is one.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is none; the kernel's error.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.io.get_ref().recv(buf))
    }

    /// Receives a datagram of the peer into a buffer that need not be initialized.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.io.async_io(INPUT, || self.receive_chunk(buf)).await
    }

    /// Receives a datagram of the peer into a buffer that need not be initialized, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.receive_chunk(buf))
    }

    fn receive_chunk<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let receive = |room: &mut ReadBuf<'_>| buffer::recv(self.io.get_ref(), room, Receive::Take);
        buffer::with_chunk(buf, receive).map(|(n, _)| n)
    }

    /// Receives a datagram with its sender.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; an error if the runtime has ended.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.async_io(INPUT, || self.io.get_ref().recv_from(buf)).await
    }

    /// Polls to receive a datagram with its sender.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_from`](Self::recv_from).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.io.poll_read_io(cx, || self.receive_from(buf, Receive::Take))
    }

    fn receive_from(&self, buf: &mut ReadBuf<'_>, how: Receive) -> io::Result<SocketAddr> {
        sender(buffer::recv_from(self.io.get_ref(), buf, how)?)
    }

    /// Receives a datagram with its sender if there is one.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is none; the kernel's error.
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Interest::READABLE, || self.io.get_ref().recv_from(buf))
    }

    /// Receives a datagram with its sender into a buffer that need not be initialized.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_from`](Self::recv_from).
    pub async fn recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.io.async_io(INPUT, || self.receive_chunk_from(buf)).await
    }

    /// Receives a datagram with its sender into a buffer that need not be initialized, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv_from`](Self::try_recv_from).
    pub fn try_recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Interest::READABLE, || self.receive_chunk_from(buf))
    }

    fn receive_chunk_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        buffer::with_chunk(buf, |room| self.receive_from(room, Receive::Take))
    }

    /// Receives a datagram of the peer and leaves it in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.async_io(INPUT, || self.io.get_ref().peek(buf)).await
    }

    /// Polls to receive a datagram of the peer and leave it in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io.poll_read_io(cx, || buffer::recv(self.io.get_ref(), buf, Receive::Peek).map(|_| ()))
    }

    /// Receives a datagram of the peer if there is one, and leaves it in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv`](Self::try_recv).
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.io.get_ref().peek(buf))
    }

    /// Receives a datagram with its sender and leaves it in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_from`](Self::recv_from).
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.async_io(INPUT, || self.io.get_ref().peek_from(buf)).await
    }

    /// Polls to receive a datagram with its sender and leave it in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_from`](Self::recv_from).
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.io.poll_read_io(cx, || self.receive_from(buf, Receive::Peek))
    }

    /// Receives a datagram with its sender if there is one, and leaves it in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv_from`](Self::try_recv_from).
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Interest::READABLE, || self.io.get_ref().peek_from(buf))
    }

    /// Returns the sender of the next datagram, which stays in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_from`](Self::recv_from).
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        self.io.async_io(INPUT, || self.next_sender()).await
    }

    /// Polls for the sender of the next datagram, which stays in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_from`](Self::recv_from).
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.io.poll_read_io(cx, || self.next_sender())
    }

    /// Returns the sender of the next datagram if there is one. The datagram stays in the queue.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`try_recv_from`](Self::try_recv_from).
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        self.io.try_io(Interest::READABLE, || self.next_sender())
    }

    fn next_sender(&self) -> io::Result<SocketAddr> {
        sender(SockRef::from(self).peek_sender()?)
    }
}

/// Returns the address of a sender.
fn sender(address: SockAddr) -> io::Result<SocketAddr> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "the sender's address is not one of IP");
    address.as_socket().ok_or_else(other)
}

/// Writes options of the socket.
macro_rules! options {
    ($($(#[$doc:meta])* $value:ty: $set:ident, $get:ident of $on:ident;)+) => {$(
        impl UdpSocket {
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn $set(&self, value: $value) -> io::Result<()> {
                self.$on().$set(value)
            }

            #[doc = concat!("Returns what [`", stringify!($set), "`](Self::", stringify!($set), ") sets.")]
            ///
            /// # Errors
            ///
            /// Returns the kernel's error.
            pub fn $get(&self) -> io::Result<$value> {
                self.$on().$get()
            }
        }
    )+};
}

options! {
    /// Lets it send to a broadcast address (`SO_BROADCAST`).
    bool: set_broadcast, broadcast of std;
    /// Sets whether members on this host receive what it sends to an IPv4 group (`IP_MULTICAST_LOOP`).
    bool: set_multicast_loop_v4, multicast_loop_v4 of std;
    /// Sets how many routers a packet to an IPv4 group may pass (`IP_MULTICAST_TTL`).
    u32: set_multicast_ttl_v4, multicast_ttl_v4 of std;
    /// Sets whether members on this host receive what it sends to an IPv6 group (`IPV6_MULTICAST_LOOP`).
    bool: set_multicast_loop_v6, multicast_loop_v6 of std;
    /// Sets the hops that a packet may make (`IP_TTL`).
    u32: set_ttl, ttl of std;
    /// Sets the traffic class of IPv6 packets (`IPV6_TCLASS`).
    u32: set_tclass_v6, tclass_v6 of socket;
    /// Sets the type of service of IPv4 packets (`IP_TOS`).
    u32: set_tos_v4, tos_v4 of socket;
}

impl UdpSocket {
    fn std(&self) -> &net::UdpSocket {
        self.io.get_ref()
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// The former name of [`tos_v4`](Self::tos_v4).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    /// The former name of [`set_tos_v4`](Self::set_tos_v4).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// Joins an IPv4 group on the interface with an address.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn join_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.std().join_multicast_v4(&multiaddr, &interface)
    }

    /// Joins an IPv6 group on the interface with an index.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.std().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves an IPv4 group.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn leave_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.std().leave_multicast_v4(&multiaddr, &interface)
    }

    /// Leaves an IPv6 group.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.std().leave_multicast_v6(multiaddr, interface)
    }
}

/// Options of Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
impl UdpSocket {
    /// Returns the interface that it is restricted to (`SO_BINDTODEVICE`).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.socket().device()
    }

    /// Restricts it to one network interface (`SO_BINDTODEVICE`); `None` ends that.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.socket().bind_device(interface)
    }
}

methods!(
    UdpSocket: descriptor, std(net::UdpSocket), take_error, ready, readable(poll_recv_ready),
    writable(poll_send_ready), any_io,
);
