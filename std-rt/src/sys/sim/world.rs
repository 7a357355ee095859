//! The state of a simulation: its hosts, descriptors, pending events, choices and trace.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use netpoll_core::sync::Flag;
use rustix::io::Errno;

use super::datagram::Datagrams;
pub use super::faults::{FaultConfig, FaultCounts};
use super::link::{LinkConfig, Links, Packet};
use super::local::Unix;
use super::pipes::{Pipe, PipeEnd, PipeId};
use super::readiness::{PollerId, SimPoller, Watched};
use super::signals::Disposition;
use super::sockets::Sockets;
use super::tcp::{BUFFERS, Listener, Stream};

/// The number of a socket, of which no other one has the same in this simulation.
pub type Id = u64;

/// The number of a host.
pub type HostId = usize;

/// The clock of a simulation begins here: a day after the machine's start.
const START: u64 = 86_400 * 1_000_000_000;

/// The clock of a simulation ends here, after 200 years.
pub const END: u64 = START + 200 * 365 * 86_400 * 1_000_000_000;

/// The time of day at the beginning: 2025-01-01 00:00 UTC.
const START_OF_DAY: u64 = 1_735_689_600 * 1_000_000_000;

/// The time that a poll without a wait takes, in nanoseconds.
pub const POLL_COST: u64 = 1_000;

/// The ports that a host gives to sockets without one.
const FIRST_PORT: u16 = 49_152;

/// A closure that a thread of its own would run.
pub struct SimJob(pub Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for SimJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimJob")
    }
}

/// A host.
#[derive(Debug)]
pub struct Host {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    pub(super) up: bool,
    /// The distance of its time of day, in nanoseconds.
    pub(super) skew: i64,
    /// The time by which each of its steps is delayed, in nanoseconds.
    pub(super) slowness: u64,
    /// The time from which it may run again.
    pub(super) ready_at: u64,
    pub(super) poller: Option<PollerId>,
    pub(super) jobs: Vec<SimJob>,
    /// Set while its process is stopped by a signal.
    pub(super) is_stopped: bool,
    /// Set to end the run of its tasks.
    pub(super) stop: Arc<Flag>,
    next_port: u16,
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    pub(super) host: HostId,
    pub(super) domain: Domain,
    /// The descriptors that refer to it.
    pub(super) fds: usize,
    pub(super) watches: Vec<Watched>,
    pub(super) local: Option<SocketAddr>,
    /// The error that `SO_ERROR` returns, or the next call.
    pub(super) error: Option<Errno>,
    /// The sizes of the buffers of a connection, for received bytes and for those to be sent.
    pub(super) buffers: (usize, usize),
    pub(super) body: Body,
}

/// The address family of a simulated socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// IPv4.
    V4,
    /// IPv6, which carries IPv4 too.
    V6,
    /// A Unix socket or a pipe.
    Local,
}

/// The state of a socket by its kind.
#[derive(Debug)]
pub enum Body {
    /// A TCP socket that is neither connected nor listens.
    Idle,
    /// A TCP socket that listens.
    Listener(Listener),
    /// A TCP socket that connects or is connected.
    Stream(Box<Stream>),
    /// A UDP socket.
    Datagrams(Datagrams),
    /// A Unix socket.
    Unix(Box<Unix>),
    /// An end of a pipe.
    Pipe(PipeEnd),
}

/// An event that is to come.
#[derive(Debug)]
pub(super) enum Event {
    Arrive(Packet),
    /// The peer of a socket has not answered since that time.
    GiveUp(Id, u64),
    /// A closed socket is forgotten.
    Reap(Id),
    /// A poller gets an event that was late.
    Notify(Id),
    /// Data that was taken in part is there in whole.
    Resume(Id),
}

/// The state of a simulation.
#[derive(Debug)]
pub struct World {
    pub(super) now: u64,
    random: u64,
    pub(super) hosts: Vec<Host>,
    /// The host that runs.
    pub(super) current: HostId,
    pub(super) sockets: Sockets,
    next_id: Id,
    by_fd: Vec<Id>,
    /// The sockets that are bound to a port of TCP (true) or UDP, without those that a listener has made.
    ports: BTreeMap<(HostId, bool, u16), Vec<Id>>,
    /// An empty list, whose memory is used again.
    pub(super) spare: Vec<HostId>,
    pub(super) events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub(super) links: Links,
    pub(super) pollers: BTreeMap<PollerId, SimPoller>,
    pub(super) pipes: BTreeMap<PipeId, Pipe>,
    pub(super) signals: BTreeMap<(HostId, i32), Disposition>,
    pub(super) faults: FaultConfig,
    pub(super) counts: Counts,
    pub(super) fault_counts: FaultCounts,
    /// The requests of the hosts to the owner of the simulation.
    pub(super) requests: Vec<Request>,
    trace: Trace,
}

/// A request to the owner of the simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Takes the power of a host, and ends its runtime.
    Crash(HostId),
    /// Starts the host again.
    Restart(HostId),
    /// Ends the process of a host.
    Kill(HostId),
}

/// The number of things that have happened in a simulation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counts {
    /// Steps of hosts.
    pub steps: u64,
    /// Events of the network and of timers of the kernel.
    pub events: u64,
    /// Calls that failed, or did a part, because the seed said so, and events that it altered.
    pub faults: u64,
}

/// The record of a run.
#[derive(Debug, Default)]
struct Trace {
    hash: u64,
    text: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: START,
            random: seed,
            hosts: Vec::new(),
            current: 0,
            sockets: Sockets::default(),
            next_id: 1,
            by_fd: Vec::new(),
            ports: BTreeMap::new(),
            spare: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            links: Links::new(LinkConfig::LAN),
            pollers: BTreeMap::new(),
            pipes: BTreeMap::new(),
            signals: BTreeMap::new(),
            faults: FaultConfig::HIDDEN,
            counts: Counts::default(),
            fault_counts: FaultCounts::default(),
            requests: Vec::new(),
            trace: Trace::default(),
        }
    }

    /// Returns the next number that the seed determines (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number below `end`; 0 if that is 0.
    pub fn draw_below(&mut self, end: u64) -> u64 {
        // The bias of the multiplication is below 2^-32 for the ranges that are used here.
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// Draws whether something of this probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.draw() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    /// Publishes the clock to this thread.
    pub(super) fn show_time(&self) {
        let skew = self.hosts.get(self.current).map_or(0, |host| host.skew);
        let time_of_day = (START_OF_DAY + (self.now - START)).saturating_add_signed(skew);
        super::set_now(self.now, time_of_day);
    }

    /// Adds an event that comes `delay` nanoseconds from now.
    pub(super) fn schedule(&mut self, delay: u64, event: Event) {
        self.schedule_at(self.now.saturating_add(delay), event);
    }

    pub(super) fn schedule_at(&mut self, at: u64, event: Event) {
        self.events.insert((at.max(self.now), self.next_event), event);
        self.next_event += 1;
    }

    /// Moves the clock to a time, and lets everything happen that is due by then.
    pub(super) fn advance_to(&mut self, at: u64) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= at) {
            let ((due, _), event) = entry.remove_entry();
            self.now = self.now.max(due);
            self.counts.events += 1;
            self.happen(event);
        }
        self.now = self.now.max(at);
        self.show_time();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(packet) => self.arrive(packet),
            Event::GiveUp(id, since) => self.give_up(id, since),
            Event::Reap(id) => self.remove_socket(id),
            Event::Notify(id) | Event::Resume(id) => self.notify(id),
        }
    }

    /// Adds an entry to the trace.
    pub(super) fn note(&mut self, what: &'static str, id: u64, n: u64) {
        let host = self.current as u64;
        let text = what.as_bytes().chunks(8).map(|part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(word)
        });
        for word in [self.now, host, id, n].into_iter().chain(text) {
            self.trace.hash = (self.trace.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        if let Some(text) = &mut self.trace.text {
            let at = Duration::from_nanos(self.now - START);
            let name = self.hosts.get(self.current).map_or("-", |host| &host.name);
            let written = writeln!(text, "{:>16.9} {name} {what} #{id} {n}", at.as_secs_f64());
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }

    /// Keeps the text of the trace from now on.
    pub fn keep_trace(&mut self) {
        self.trace.text.get_or_insert_default();
    }

    /// Takes the text of the trace.
    pub fn take_trace(&mut self) -> String {
        self.trace.text.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Returns a number that two runs share only if the same things happened in them in the same order.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now - START)
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the numbers of faults by kind.
    pub fn fault_counts(&self) -> FaultCounts {
        self.fault_counts
    }

    /// Adds a host; the first has the address 10.0.0.1.
    pub fn add_host(&mut self, name: &str) -> HostId {
        let id = self.hosts.len();
        let [.., high, low] = (id as u32 + 1).to_be_bytes();
        self.hosts.push(Host {
            name: name.to_owned(),
            ip: Ipv4Addr::new(10, 0, high, low).into(),
            up: true,
            skew: 0,
            slowness: 0,
            ready_at: 0,
            poller: None,
            jobs: Vec::new(),
            is_stopped: false,
            stop: Arc::default(),
            next_port: FIRST_PORT,
        });
        id
    }

    /// Returns the host of that name or address.
    pub fn find_host(&self, name: &str) -> Option<HostId> {
        let ip = name.parse::<IpAddr>().ok();
        self.hosts.iter().position(|host| host.name == name || Some(host.ip) == ip)
    }

    /// Returns the host to which a packet of `from` for an address goes.
    pub(super) fn route(&self, from: HostId, to: IpAddr) -> Option<HostId> {
        if to.is_loopback() || to.is_unspecified() {
            return Some(from);
        }
        self.hosts.iter().position(|host| host.ip == to)
    }

    pub(super) fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = self.find_host(name).map(|host| self.hosts[host].ip);
        let local = (name == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        match local.or(host).or_else(|| name.parse().ok()) {
            Some(ip) => Ok(vec![SocketAddr::new(ip, port)]),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no host of the simulation has this name")),
        }
    }

    pub(super) fn add_job(&mut self, job: SimJob) {
        if let Some(host) = self.hosts.get_mut(self.current) {
            host.jobs.push(job);
        }
    }

    /// Returns the socket of a descriptor.
    pub(super) fn id_of(&self, fd: RawFd) -> Option<Id> {
        let id = *self.by_fd.get(usize::try_from(fd).ok()?)?;
        (id != 0).then_some(id)
    }

    /// Adds a socket of the current host, which has no descriptor yet.
    pub(super) fn add_socket(&mut self, host: HostId, domain: Domain, body: Body) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        let (watches, local, error, buffers) = (Vec::new(), None, None, BUFFERS);
        self.sockets.insert(id, Socket { host, domain, fds: 0, watches, local, error, buffers, body });
        id
    }

    /// Makes a descriptor one of a socket.
    pub(super) fn attach(&mut self, fd: RawFd, id: Id) {
        let index = usize::try_from(fd).unwrap_or_default();
        if self.by_fd.len() <= index {
            self.by_fd.resize(index + 1, 0);
        }
        // A number whose close was not seen belongs to another socket by now.
        self.detach(fd, false);
        self.by_fd[index] = id;
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.fds += 1;
        }
    }

    /// Forgets a descriptor that is about to be closed. The last one of a socket closes that; `resets`: at once, whatever is
    /// still to be sent.
    pub(super) fn detach(&mut self, fd: RawFd, resets: bool) {
        let Some(id) = self.id_of(fd) else { return };
        self.by_fd[fd as usize] = 0;
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.watches.retain(|watched| watched.fd != fd);
        socket.fds -= 1;
        if socket.fds == 0 {
            self.note("close", id, 0);
            if resets {
                self.reset_stream(id);
            }
            self.close_socket(id);
        }
    }

    pub(super) fn close_socket(&mut self, id: Id) {
        match self.sockets.get(&id).map(|socket| &socket.body) {
            Some(Body::Listener(_)) => self.close_listener(id),
            Some(Body::Stream(_)) => self.close_stream(id),
            Some(Body::Unix(_)) => self.close_unix(id),
            Some(Body::Pipe(_)) => self.close_pipe_end(id),
            _ => self.remove_socket(id),
        }
    }

    pub(super) fn remove_socket(&mut self, id: Id) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        if let Some(local) = socket.local
            && let Some(bound) = self.ports.get_mut(&socket.key(local.port()))
        {
            bound.retain(|bound| *bound != id);
            if bound.is_empty() {
                self.ports.remove(&socket.key(local.port()));
            }
        }
    }

    /// Sets the local address of a socket that no listener has made.
    pub(super) fn set_local(&mut self, id: Id, local: SocketAddr) {
        let socket = self.socket(id);
        let is_known = socket.local.replace(local).is_some_and(|before| before.port() == local.port());
        let key = socket.key(local.port());
        if !is_known {
            self.ports.entry(key).or_default().push(id);
        }
    }

    /// Returns the sockets of a port, the first that was bound first.
    pub(super) fn bound_to(
        &self,
        host: HostId,
        is_tcp: bool,
        port: u16,
    ) -> impl Iterator<Item = (Id, &Socket)> {
        let ids = self.ports.get(&(host, is_tcp, port)).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.sockets.get(id)?)))
    }

    /// Returns the sockets of a host that a process has open, whose descriptors are forgotten.
    pub(super) fn open_of(&mut self, host: HostId) -> Vec<Id> {
        let is_open = |socket: &Socket| socket.host == host && socket.fds > 0;
        let open: Vec<Id> =
            self.sockets.iter().filter(|(_, socket)| is_open(socket)).map(|(&id, _)| id).collect();
        for id in &open {
            self.socket(*id).fds = 0;
            self.socket(*id).watches.clear();
        }
        self.forget_descriptors(&open);
        open
    }

    /// Forgets the sockets of a host that has lost its power.
    pub(super) fn forget_sockets(&mut self, host: HostId) {
        let gone: Vec<Id> =
            self.sockets.iter().filter(|(_, socket)| socket.host == host).map(|(&id, _)| id).collect();
        for &id in &gone {
            match self.sockets[&id].body {
                Body::Pipe(_) => self.close_pipe_end(id),
                _ => self.remove_socket(id),
            }
        }
        self.forget_descriptors(&gone);
    }

    fn forget_descriptors(&mut self, gone: &[Id]) {
        for entry in self.by_fd.iter_mut().filter(|entry| gone.contains(entry)) {
            *entry = 0;
        }
    }

    /// Sets the local address of a socket; port 0 takes a free one.
    pub(super) fn bind(&mut self, id: Id, address: SocketAddr) -> Result<(), Errno> {
        let socket = &self.sockets[&id];
        let (host, is_tcp) = (socket.host, !matches!(socket.body, Body::Datagrams(_)));
        if socket.local.is_some() {
            return Err(Errno::INVAL);
        }
        let ip = canonical(address).ip();
        if !(ip.is_unspecified() || ip.is_loopback() || ip == self.hosts[host].ip) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let port = match address.port() {
            0 => self.free_port(host, is_tcp)?,
            port if self.is_bound(host, is_tcp, port, ip) => return Err(Errno::ADDRINUSE),
            port => port,
        };
        self.note("bind", id, port.into());
        self.set_local(id, SocketAddr::new(ip, port));
        Ok(())
    }

    /// Returns whether a socket that has no peer is bound to the port and to the address, or to all.
    fn is_bound(&self, host: HostId, is_tcp: bool, port: u16, ip: IpAddr) -> bool {
        self.bound_to(host, is_tcp, port).any(|(_, socket)| {
            !matches!(socket.body, Body::Stream(_))
                && socket.local.is_some_and(|local| {
                    local.ip() == ip || local.ip().is_unspecified() || ip.is_unspecified()
                })
        })
    }

    pub(super) fn free_port(&mut self, host: HostId, is_tcp: bool) -> Result<u16, Errno> {
        for _ in FIRST_PORT..=u16::MAX {
            let port = self.hosts[host].next_port;
            self.hosts[host].next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.ports.contains_key(&(host, is_tcp, port)) {
                return Ok(port);
            }
        }
        Err(Errno::ADDRINUSE)
    }

    /// Returns a socket that exists.
    pub(super) fn socket(&mut self, id: Id) -> &mut Socket {
        self.sockets.get_mut(&id).expect("a descriptor refers to a socket of the simulation")
    }

    /// Returns the address of a socket as its owner sees it.
    pub(super) fn sock_name(&self, id: Id) -> SocketAddr {
        let socket = &self.sockets[&id];
        match (socket.local, socket.domain) {
            (Some(local), domain) => domain.show(local),
            (None, Domain::V4 | Domain::Local) => SocketAddr::from(([0; 4], 0)),
            (None, Domain::V6) => SocketAddr::from(([0_u16; 8], 0)),
        }
    }
}

impl Socket {
    /// Returns the key of a port among the ports of its host.
    fn key(&self, port: u16) -> (HostId, bool, u16) {
        (self.host, !matches!(self.body, Body::Datagrams(_)), port)
    }
}

impl Domain {
    /// Returns an address as a socket of this family shows it.
    pub(super) fn show(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Domain::V6, IpAddr::V4(ip)) if ip.is_unspecified() => {
                SocketAddr::from(([0_u16; 8], address.port()))
            }
            (Domain::V6, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }
}

/// Returns the address that the network uses: of IPv4 if it is one that is mapped into IPv6, or means every address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ip if ip.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
