//! TCP by smoltcp, each connection on a descriptor of netpoll-core.
//!
//! ```text
//!   peer ── frame ──▶ interrupt handler ── event ──▶ the port's descriptor
//!                                                         │ wakes
//!   connection's task ◀── event ── its descriptor ◀── Stack::drive: smoltcp takes the frames
//!         │ has read or written                           ▲
//!         └────────────── event ──────────────────────────┘ smoltcp sends what is due
//! ```
//!
//! smoltcp has no threads and no wakers here (its feature `async` is off): a socket is memory that the two tasks access one
//! after the other. The descriptor of a connection parks its task, counts its deadlines and refuses late events, as a kernel's
//! poller would have it. An operation forgets an older event, tries, and waits, in this order.

use core::cell::{Cell, RefCell};

use netpoll_core::{Mode, Modes, PollErr, PollKey};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address};

use crate::ethernet::{self, MAX_FRAME};
use crate::runtime::{Runtime, Source};

/// The number of connections that can be open at once.
pub const CONNECTIONS: usize = 16;
/// The bytes of each of the two buffers of a connection.
const BUFFER: usize = 1024;
/// The time for the peer to acknowledge the end of a connection, in ticks. After it the connection is reset.
const LINGER_TICKS: usize = 5_000;
const HARDWARE_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x07];
/// The address that QEMU's user networking forwards connections to, and its gateway.
const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const GATEWAY: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

/// The memory of all sockets.
pub type Sockets = [SocketStorage<'static>; CONNECTIONS];
/// Memory without a socket.
pub const NO_SOCKETS: Sockets = [SocketStorage::EMPTY; CONNECTIONS];
/// The receive and the send buffer of each connection.
pub type Buffers = [[[u8; BUFFER]; 2]; CONNECTIONS];
/// Empty buffers.
pub const EMPTY_BUFFERS: Buffers = [[[0; BUFFER]; 2]; CONNECTIONS];

/// The Ethernet port, smoltcp, and the keys of the connections' descriptors.
#[expect(missing_debug_implementations, reason = "smoltcp's interface has no such implementation")]
pub struct Stack {
    runtime: &'static Runtime,
    /// The tick at which smoltcp's time is zero.
    start: usize,
    /// The descriptor of the port, which [`Stack::drive`] awaits.
    port: Source,
    /// Held by one task at a time, and never while it waits.
    net: RefCell<Net>,
    handles: [SocketHandle; CONNECTIONS],
    keys: [Cell<Option<PollKey>>; CONNECTIONS],
    lost: Cell<usize>,
}

struct Net {
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Device,
}

/// The reason why an operation on a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The wait was refused: the deadline has passed, or the descriptor is closed.
    Wait(PollErr),
    /// The peer has reset the connection.
    Reset,
}

impl From<PollErr> for Error {
    fn from(refused: PollErr) -> Self {
        Error::Wait(refused)
    }
}

impl Stack {
    /// Turns the Ethernet port on and creates a closed socket for each connection.
    ///
    /// # Panics
    ///
    /// Panics if the runtime has no free descriptor.
    pub fn new(
        runtime: &'static Runtime,
        sockets: &'static mut Sockets,
        buffers: &'static mut Buffers,
    ) -> Self {
        let mut device = Device { received: [0; MAX_FRAME], sent: [0; MAX_FRAME] };
        let config = Config::new(EthernetAddress(HARDWARE_ADDRESS).into());
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        // The defaults have room for more than one address and one route.
        interface
            .update_ip_addrs(|addresses| addresses.push(IpCidr::new(ADDRESS.into(), 24)).expect("has room"));
        interface.routes_mut().add_default_ipv4_route(GATEWAY).expect("has room");
        let mut sockets = SocketSet::new(&mut sockets[..]);
        let mut buffers = buffers.iter_mut();
        let handles = core::array::from_fn(|_| {
            let [receive, send] = buffers.next().expect("each connection has two buffers");
            let buffer = |memory: &'static mut [u8; BUFFER]| SocketBuffer::new(&mut memory[..]);
            let mut socket = Socket::new(buffer(receive), buffer(send));
            socket.set_nagle_enabled(false);
            sockets.add(socket)
        });
        let port = Source::open(runtime).expect("a descriptor is free");
        ethernet::start(HARDWARE_ADDRESS);
        Self {
            runtime,
            start: runtime.now(),
            port,
            net: RefCell::new(Net { interface, sockets, device }),
            handles,
            keys: [const { Cell::new(None) }; CONNECTIONS],
            lost: Cell::new(0),
        }
    }

    /// Returns the key of the port's descriptor, to which the Ethernet interrupt delivers its events.
    pub fn port(&self) -> PollKey {
        self.port.key()
    }

    /// Returns the number of events after which no task was woken, although they came before its deadline.
    pub fn lost(&self) -> usize {
        self.lost.get()
    }

    /// Exchanges frames until `finished` returns true, and wakes the connections' tasks. One task runs this.
    ///
    /// # Errors
    ///
    /// Returns an error if the port's descriptor is closed.
    pub async fn drive(&self, finished: impl Fn() -> bool) -> Result<(), PollErr> {
        loop {
            self.port.set_deadline(Mode::Read, None)?;
            self.port.reset(Mode::Read)?;
            let ticks = self.exchange();
            if finished() {
                return Ok(());
            }
            self.port.set_deadline(Mode::Read, ticks)?;
            match self.port.ready(Mode::Read).await {
                Ok(()) => {}
                Err(PollErr::Timeout) => {
                    // The handler of a frame's interrupt has run, or runs before the next instruction.
                    if ethernet::has_frame()
                        && !ethernet::is_raised()
                        && !self.port.has_event(Mode::Read).await
                    {
                        self.lost.update(|lost| lost + 1);
                    }
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Lets smoltcp take the frames that came and send those that are due, and reports what the connections can do. Returns
    /// the number of ticks until smoltcp has something to do again.
    fn exchange(&self) -> Option<usize> {
        let Net { interface, sockets, device } = &mut *self.net.borrow_mut();
        let now = Instant::from_millis(self.runtime.now().wrapping_sub(self.start) as i64);
        interface.poll(now, device, sockets);
        for (handle, key) in self.handles.iter().zip(&self.keys) {
            let modes = possible(sockets.get::<Socket<'_>>(*handle));
            if let Some(key) = key.get().filter(|_| modes != Modes::NONE) {
                self.runtime.event(key, modes);
            }
        }
        interface.poll_delay(now, sockets).map(|delay| (delay.total_millis() as usize).max(1))
    }

    /// Listens on a port with one of the sockets, which is closed before. [`Connection::accept`] waits for the peer.
    ///
    /// # Panics
    ///
    /// Panics if no descriptor is free, or if `port` is 0.
    pub fn listen(&self, socket: usize, port: u16) -> Connection<'_> {
        let source = Source::open(self.runtime).expect("each socket has a descriptor");
        self.keys[socket].set(Some(source.key()));
        let connection = Connection { stack: self, socket, source };
        connection.with(|socket| {
            socket.abort();
            socket.listen(port).expect("an aborted socket is closed, and the port is not 0");
        });
        connection
    }
}

fn is_opening(socket: &Socket<'_>) -> bool {
    matches!(socket.state(), State::Listen | State::SynReceived)
}

fn is_over(socket: &Socket<'_>) -> bool {
    matches!(socket.state(), State::Closed | State::TimeWait)
}

/// Returns the directions in which an operation on the socket would not wait. A task that closes waits in the write direction.
fn possible(socket: &Socket<'_>) -> Modes {
    match socket.state() {
        State::Listen | State::SynReceived | State::SynSent => Modes::NONE,
        State::Established | State::CloseWait => {
            Modes { read: socket.can_recv() || !socket.may_recv(), write: socket.can_send() }
        }
        State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck => Modes::NONE,
        State::TimeWait | State::Closed => Modes::BOTH,
    }
}

/// A connection, which one task uses. Dropping it resets the connection unless it is over.
#[expect(missing_debug_implementations, reason = "the stack has no such implementation")]
pub struct Connection<'a> {
    stack: &'a Stack,
    socket: usize,
    source: Source,
}

impl Connection<'_> {
    /// Waits until a peer has connected.
    ///
    /// # Errors
    ///
    /// Returns an error if the wait is refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection: a later call returns at once.
    pub async fn accept(&self) -> Result<(), PollErr> {
        self.retry(Mode::Write, |socket| (!is_opening(socket)).then_some(())).await
    }

    /// Reads at least one byte. Returns 0 at the end of the peer's data.
    ///
    /// # Errors
    ///
    /// Returns an error if the peer has reset the connection, or if the wait is refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no byte.
    pub async fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let attempt = |socket: &mut Socket<'static>| match socket.recv_slice(buffer) {
            Ok(0) => None,
            Ok(count) => Some(Ok(count)),
            Err(RecvError::Finished) => Some(Ok(0)),
            Err(RecvError::InvalidState) => Some(Err(Error::Reset)),
        };
        self.retry(Mode::Read, attempt).await?
    }

    /// Writes all bytes into the send buffer, in parts as room becomes free.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is reset or closed, or if a wait is refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the parts that were written.
    pub async fn write_all(&self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let attempt = |socket: &mut Socket<'static>| match socket.send_slice(bytes) {
                Ok(0) => None,
                Ok(count) => Some(Ok(count)),
                Err(_invalid_state) => Some(Err(Error::Reset)),
            };
            let count = self.retry(Mode::Write, attempt).await??;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Sets the deadline of reads or writes, `ticks` ticks from now; `None` removes it.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed.
    pub fn set_deadline(&self, mode: Mode, ticks: Option<usize>) -> Result<(), PollErr> {
        self.source.set_deadline(mode, ticks)
    }

    /// Returns whether a read timed out although smoltcp has bytes for it and no event tells of them. Removes the deadline.
    pub async fn lost_read(&self) -> bool {
        self.with(|socket| socket.can_recv()) && !self.source.has_event(Mode::Read).await
    }

    /// Ends the connection: sends what is in the send buffer, and waits until the peer has closed its half, for at most five
    /// seconds. Returns whether it has.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the connection.
    pub async fn close(self) -> bool {
        self.with(|socket| socket.close());
        self.stack.runtime.event(self.stack.port(), Modes::READ);
        let limited = self.set_deadline(Mode::Write, Some(LINGER_TICKS)).is_ok();
        limited && self.retry(Mode::Write, |socket| is_over(socket).then_some(())).await.is_ok()
    }

    /// Runs an operation, and waits before it runs it again if it returns `None`. After it smoltcp may have something to send,
    /// so the port's task is woken.
    async fn retry<R>(
        &self,
        mode: Mode,
        mut attempt: impl FnMut(&mut Socket<'static>) -> Option<R>,
    ) -> Result<R, PollErr> {
        let mut woken = false;
        loop {
            self.source.reset(mode)?;
            if let Some(result) = self.with(&mut attempt) {
                self.stack.runtime.event(self.stack.port(), Modes::READ);
                return Ok(result);
            }
            if woken {
                self.source.found_nothing();
            }
            self.source.ready(mode).await?;
            woken = true;
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Socket<'static>) -> R) -> R {
        work(self.stack.net.borrow_mut().sockets.get_mut(self.stack.handles[self.socket]))
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // The key first: the slot may have another owner after this.
        self.stack.keys[self.socket].set(None);
        self.with(|socket| {
            if !is_over(socket) {
                socket.abort();
            }
        });
        self.stack.runtime.event(self.stack.port(), Modes::READ);
    }
}

/// The port as smoltcp wants it, with memory for one frame in each direction.
struct Device {
    received: [u8; MAX_FRAME],
    sent: [u8; MAX_FRAME],
}

struct Received<'a>(&'a [u8]);

struct Sent<'a>(&'a mut [u8; MAX_FRAME]);

impl phy::Device for Device {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let length = ethernet::receive(&mut self.received)?;
        Some((Received(&self.received[..length]), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl phy::TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let frame = &mut self.0[..length];
        let result = f(frame);
        ethernet::transmit(frame);
        result
    }
}
