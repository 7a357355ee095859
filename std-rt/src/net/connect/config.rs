//! The configuration of a connect: options, local addresses and times for the attempts of a race.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use super::{Connector, connect, plan};
use crate::error::OpError;
use crate::net::addr::ToSocketAddrs;
use crate::net::{TcpSocket, TcpStream};
use crate::time;

type Hook = dyn Fn(&TcpSocket, SocketAddr) -> io::Result<()> + Send + Sync;

/// A configuration for TCP connects, and then [`connect`](ConnectConfig::connect), which may be called several times.
///
/// It looks names up and lets several addresses race as [`TcpStream::connect`] does; the race's attempts have the options of the
/// configuration. To connect one socket to one address, use [`TcpSocket`].
///
/// ```
/// # use std::time::Duration;
/// use netpoll_rt::net::{ConnectConfig, TcpListener};
///
/// # netpoll_rt::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let name = listener.local_addr()?;
/// let config = ConnectConfig::new()
///     .local_addr("127.0.0.1:0".parse().unwrap())
///     .timeout(Duration::from_secs(5))
///     .on_socket(|socket, _address| socket.set_recv_buffer_size(1 << 20));
/// let stream = config.connect(name).await?;
/// # assert!(stream.local_addr()?.ip().is_loopback());
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a config does nothing until it connects"]
pub struct ConnectConfig {
    local_v4: Option<SocketAddrV4>,
    local_v6: Option<SocketAddrV6>,
    device: Option<String>,
    mptcp: bool,
    delay: Duration,
    timeout: Option<Duration>,
    hook: Option<Arc<Hook>>,
}

impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            local_v4: None,
            local_v6: None,
            device: None,
            mptcp: false,
            delay: plan::DELAY,
            timeout: None,
            hook: None,
        }
    }
}

impl ConnectConfig {
    /// Returns a configuration that connects as [`TcpStream::connect`] does.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the local address for peers of its family. Call it once for each family. A peer of a family without a local address is
    /// not tried then, unless neither family has one. With port 0 the kernel chooses the port at the connect, by the addresses
    /// of both sides where it can (`IP_BIND_ADDRESS_NO_PORT`, on Linux), so that each peer has all ports. With another port
    /// `SO_REUSEADDR` is set, so that on Linux the attempts at several addresses can have it at the same time.
    pub fn local_addr(self, address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self { local_v4: Some(address), ..self },
            SocketAddr::V6(address) => Self { local_v6: Some(address), ..self },
        }
    }

    /// Restricts the connection to one network interface, such as `eth0` (`SO_BINDTODEVICE`). On Linux only; a connect fails with
    /// `Unsupported` elsewhere.
    pub fn bind_device(self, name: impl Into<String>) -> Self {
        Self { device: Some(name.into()), ..self }
    }

    /// Uses Multipath TCP if the kernel and the peer have it, and TCP otherwise; see [`TcpSocket::new_v4_mptcp`].
    pub fn mptcp(self, on: bool) -> Self {
        Self { mptcp: on, ..self }
    }

    /// Sets the time from the start of one attempt to that of the next, which starts at once when the one before has failed. The
    /// default is 250 ms. RFC 8305 allows no less than 10 ms, and recommends 100 ms to 2 s.
    pub fn attempt_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Limits each connect, from the call of [`connect`](ConnectConfig::connect), the look-up of a name included. The addresses share
    /// the time as with [`TcpStream::connect_deadline`]. A time that is too long for the clock is no limit.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Calls `hook` with each socket and the address that it is to connect to, before it is bound and connected: for options that
    /// this configuration does not have. An address that is dialed again, after it lost its port to another socket, gets another
    /// socket. An error of it is that of the attempt, and the next address is tried.
    ///
    /// `hook` runs within the poll of the connect, so it must not block. It may panic; then the connect does.
    pub fn on_socket(
        self,
        hook: impl Fn(&TcpSocket, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { hook: Some(Arc::new(hook)), ..self }
    }

    /// Connects as [`TcpStream::connect`] does, with this configuration.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the attempts end and their sockets are closed.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`TcpStream::connect`]; `TimedOut` after the timeout; `AddrInUse`, `AddrNotAvailable` and
    /// `PermissionDenied` for the local address; `InvalidInput` for a peer whose family has no local address while the other
    /// family has; the errors of the options and of the hook, for each address.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> impl Future<Output = io::Result<TcpStream>> {
        let deadline = self.timeout.and_then(|timeout| time::now().checked_add(timeout));
        connect(addr, deadline, self)
    }

    /// Returns the local address for a peer.
    fn local_for(&self, peer: &SocketAddr) -> io::Result<Option<SocketAddr>> {
        let local = match peer {
            SocketAddr::V4(_) => self.local_v4.map(SocketAddr::from),
            SocketAddr::V6(_) => self.local_v6.map(SocketAddr::from),
        };
        if local.is_none() && (self.local_v4.is_some() || self.local_v6.is_some()) {
            let why =
                io::Error::new(io::ErrorKind::InvalidInput, "no local address of this family was given");
            return Err(OpError::new("connect", why).between(None, Some((*peer).into())).into());
        }
        Ok(local)
    }
}

impl Connector for &ConnectConfig {
    fn socket(&self, address: &SocketAddr) -> io::Result<TcpSocket> {
        let local = self.local_for(address)?;
        let socket = if self.mptcp { TcpSocket::of_mptcp(address)? } else { TcpSocket::of(address)? };
        if let Some(device) = &self.device {
            socket.bind_device(Some(device))?;
        }
        if let Some(hook) = &self.hook {
            hook(&socket, *address)?;
        }
        let Some(local) = local else { return Ok(socket) };
        if local.port() == 0 {
            match socket.set_bind_address_no_port(true) {
                // The port is chosen at the bind then.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                set => set?,
            }
        } else {
            socket.set_reuseaddr(true)?;
        }
        socket.bind(local)?;
        Ok(socket)
    }

    fn delay(&self) -> Duration {
        self.delay
    }
}

/// Omits the hook's code.
impl fmt::Debug for ConnectConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { local_v4, local_v6, device, mptcp, delay, timeout, hook } = self;
        let mut shown = f.debug_struct("ConnectConfig");
        shown.field("local_v4", local_v4).field("local_v6", local_v6).field("device", device);
        shown.field("mptcp", mptcp).field("delay", delay).field("timeout", timeout);
        shown.field("has_hook", &hook.is_some()).finish()
    }
}
