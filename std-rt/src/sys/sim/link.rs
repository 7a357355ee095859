//! The links between hosts: when a packet arrives, and which packets wait.
//!
//! TCP sees no loss: a lost segment arrives later, by the time of a retransmission. While a link is cut, or the receiver is
//! down, segments are kept, and arrive when their sender repeats them after that has ended: after pauses that double, from
//! [`RETRANSMIT`], or from [`RETRANSMIT_SYN`] while it connects. The sender gives up after [`GIVE_UP`]. Only the segments of
//! the same connection wait behind a late one. Datagrams are lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::faults::FaultKind;
use super::tcp::Segment;
use super::world::{Body, Event, HostId, Id, World};

/// The time after which a lost segment is sent again, in nanoseconds.
const RETRANSMIT: u64 = 200_000_000;

/// The same while a connection is opened, when the time of a round trip is not known.
const RETRANSMIT_SYN: u64 = 1_000_000_000;

/// The time for which a connection is kept whose peer does not answer: Linux's 15 repetitions take 924.6 s.
const GIVE_UP: u64 = 924_600_000_000;

/// The same while it connects: 6 repetitions take 127 s.
const GIVE_UP_CONNECT: u64 = 127_000_000_000;

/// The longest pause between two repetitions: 120 s.
const LONGEST_PAUSE: u64 = 120_000_000_000;

/// The time that a packet to the own host takes, in nanoseconds.
const LOOPBACK: u64 = 10_000;

/// The bytes of the headers of a packet.
const HEADERS: u64 = 54;

/// The properties of the links between two hosts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkConfig {
    /// The time that each packet takes.
    pub latency: Duration,
    /// The largest time that is added to that, drawn for each packet.
    pub jitter: Duration,
    /// The probability that a packet is lost, 0 to 1. A datagram is gone; a segment of TCP is late.
    pub loss: f64,
    /// The probability that a datagram arrives twice, 0 to 1.
    pub duplicate: f64,
    /// True if datagrams may overtake others by the jitter.
    pub reorder: bool,
    /// The bytes that a direction carries in a second; `None` is no limit.
    pub bandwidth: Option<u64>,
}

impl LinkConfig {
    /// A local network: 100 to 200 us, no loss.
    pub const LAN: Self = Self {
        latency: Duration::from_micros(100),
        jitter: Duration::from_micros(100),
        loss: 0.0,
        duplicate: 0.0,
        reorder: false,
        bandwidth: None,
    };
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub from: HostId,
    pub to: HostId,
    pub source: SocketAddr,
    pub target: SocketAddr,
    /// The socket that has sent it, and the one that it is for if the sender knows that.
    pub of: Id,
    pub to_socket: Option<Id>,
    /// Set once it has been put behind the segments of its sender that a cut link has held back.
    pub is_behind: bool,
    pub payload: Payload,
}

#[derive(Clone, Debug)]
pub(super) enum Payload {
    Tcp(Segment),
    Udp(Vec<u8>),
}

/// One direction between two hosts.
#[derive(Debug, Default)]
struct Direction {
    is_cut: bool,
    /// The time until which earlier packets occupy it.
    busy_until: u64,
    /// The latest arrival of a datagram.
    last_datagram: u64,
    /// The packets that wait until it carries again, and since when.
    held: Vec<(u64, Packet)>,
    /// The time at which the held segments of a socket arrive.
    resumes: BTreeMap<Id, u64>,
}

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    pub default: LinkConfig,
    configs: BTreeMap<(HostId, HostId), LinkConfig>,
    directions: BTreeMap<(HostId, HostId), Direction>,
}

impl Links {
    pub(super) fn new(default: LinkConfig) -> Self {
        Self { default, configs: BTreeMap::new(), directions: BTreeMap::new() }
    }

    pub(super) fn set_config(&mut self, one: HostId, other: HostId, config: LinkConfig) {
        self.configs.insert((one.min(other), one.max(other)), config);
    }

    fn config(&self, one: HostId, other: HostId) -> LinkConfig {
        *self.configs.get(&(one.min(other), one.max(other))).unwrap_or(&self.default)
    }

    pub(super) fn set_cut(&mut self, from: HostId, to: HostId, is_cut: bool) {
        self.direction(from, to).is_cut = is_cut;
    }

    fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.directions.get(&(from, to)).is_some_and(|direction| direction.is_cut)
    }

    fn direction(&mut self, from: HostId, to: HostId) -> &mut Direction {
        self.directions.entry((from, to)).or_default()
    }

    /// Forgets the packets of a socket that wait.
    fn forget(&mut self, of: Id) {
        for direction in self.directions.values_mut() {
            direction.held.retain(|(_, packet)| packet.of != of);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.directions.values().map(|direction| direction.held.len()).sum()
    }
}

impl World {
    /// Sends a packet on its way.
    pub(super) fn transmit(&mut self, packet: Packet) {
        if !self.hosts[packet.from].up {
            return;
        }
        if packet.from == packet.to {
            self.schedule(LOOPBACK, Event::Arrive(packet));
            return;
        }
        let config = self.links.config(packet.from, packet.to);
        let size = HEADERS + packet.payload.len();
        let jitter = self.draw_below(nanoseconds(config.jitter) + 1);
        let mut delay = nanoseconds(config.latency).saturating_add(jitter);
        let is_lost = self.chance(config.loss);
        let is_tcp = matches!(packet.payload, Payload::Tcp(_));
        match is_lost {
            true if !is_tcp => return self.count_fault(FaultKind::Lost, packet.of),
            true => {
                self.count_fault(FaultKind::Retransmitted, packet.of);
                delay += self.first_pause(packet.of);
            }
            false => {}
        }
        let now = self.now;
        let direction = self.links.direction(packet.from, packet.to);
        let start = direction.busy_until.max(now);
        if let Some(bandwidth) = config.bandwidth {
            direction.busy_until = start.saturating_add(size * 1_000_000_000 / bandwidth.max(1));
            delay = delay.saturating_add(direction.busy_until - now);
        }
        let mut at = now.saturating_add(delay);
        if is_tcp {
            at = self.put_in_order(packet.of, at);
            return self.schedule_at(at, Event::Arrive(packet));
        }
        let overtakes = at < direction.last_datagram;
        if overtakes && !config.reorder {
            at = direction.last_datagram;
        }
        direction.last_datagram = direction.last_datagram.max(at);
        if overtakes && config.reorder {
            self.count_fault(FaultKind::Overtaken, packet.of);
        }
        if self.chance(config.duplicate) {
            self.count_fault(FaultKind::Doubled, packet.of);
            self.schedule_at(at.saturating_add(jitter), Event::Arrive(packet.clone()));
        }
        self.schedule_at(at, Event::Arrive(packet));
    }

    /// Returns when a segment arrives that would at `at`: not before the last one of its socket.
    fn put_in_order(&mut self, of: Id, at: u64) -> u64 {
        let Some(Body::Stream(stream)) = self.sockets.get_mut(&of).map(|socket| &mut socket.body) else {
            return at;
        };
        stream.last_arrival = stream.last_arrival.max(at);
        stream.last_arrival
    }

    /// Returns the time after which a socket repeats a segment for the first time.
    fn first_pause(&self, of: Id) -> u64 {
        match self.sockets.get(&of).map(|socket| &socket.body) {
            Some(Body::Stream(stream)) if stream.is_connecting() => RETRANSMIT_SYN,
            _ => RETRANSMIT,
        }
    }

    /// Takes a packet that has reached its host, unless it cannot.
    pub(super) fn arrive(&mut self, mut packet: Packet) {
        let is_open = self.hosts[packet.to].up && !self.links.is_cut(packet.from, packet.to);
        // A segment must not overtake one that waits.
        let now = self.now;
        let direction = self.links.direction(packet.from, packet.to);
        let is_behind = !direction.held.is_empty();
        if let Some(&at) = direction.resumes.get(&packet.of)
            && matches!(packet.payload, Payload::Tcp(_))
        {
            // It was on its way when the link was mended.
            if at >= now && !packet.is_behind {
                packet.is_behind = true;
                return self.schedule_at(at, Event::Arrive(packet));
            }
            if at < now {
                direction.resumes.remove(&packet.of);
            }
        }
        match packet.payload {
            Payload::Udp(_) if is_open => self.take_datagram(packet),
            Payload::Udp(_) => self.note("lost", packet.of, packet.payload.len()),
            Payload::Tcp(_) if is_open && !is_behind => self.take_segment(packet),
            Payload::Tcp(_) => self.hold(packet),
        }
    }

    /// Keeps a segment that its sender repeats until it arrives.
    fn hold(&mut self, packet: Packet) {
        let (now, of) = (self.now, packet.of);
        self.note("held", of, packet.payload.len());
        self.links.direction(packet.from, packet.to).held.push((now, packet));
        let Some(Body::Stream(stream)) = self.sockets.get_mut(&of).map(|socket| &mut socket.body) else {
            return;
        };
        if stream.stuck_since.is_none() {
            stream.stuck_since = Some(now);
            let limit = if stream.is_connecting() { GIVE_UP_CONNECT } else { GIVE_UP };
            self.schedule(limit, Event::GiveUp(of, now));
        }
    }

    /// Ends a connection whose peer has not answered since a time.
    pub(super) fn give_up(&mut self, id: Id, since: u64) {
        let Some(Body::Stream(stream)) = self.sockets.get(&id).map(|socket| &socket.body) else { return };
        if stream.stuck_since == Some(since) {
            self.links.forget(id);
            self.fail_stream(id, rustix::io::Errno::TIMEDOUT);
        }
    }

    /// Lets the packets go on that waited for a link or a host, in order, when their senders next repeat them.
    pub(super) fn release_held(&mut self) {
        let open: Vec<(HostId, HostId)> = self.links.directions.keys().copied().collect();
        for (from, to) in open {
            if self.links.is_cut(from, to) || !self.hosts[to].up || !self.hosts[from].up {
                continue;
            }
            let held = std::mem::take(&mut self.links.direction(from, to).held);
            let mut pauses: BTreeMap<Id, u64> = BTreeMap::new();
            for (since, mut packet) in held {
                let at = match pauses.get(&packet.of) {
                    Some(&at) => at,
                    None => {
                        let repeated = next_repetition(since, self.first_pause(packet.of), self.now);
                        self.put_in_order(packet.of, repeated)
                    }
                };
                pauses.insert(packet.of, at);
                if let Some(Body::Stream(stream)) = self.sockets.get_mut(&packet.of).map(|s| &mut s.body) {
                    stream.stuck_since = None;
                }
                self.links.direction(from, to).resumes.insert(packet.of, at);
                packet.is_behind = true;
                self.schedule_at(at, Event::Arrive(packet));
            }
        }
    }

    /// Forgets what a host that has lost its power still had to send.
    pub(super) fn forget_held_of(&mut self, host: HostId) {
        for ((from, _), direction) in &mut self.links.directions {
            if *from == host {
                direction.held.clear();
            }
        }
    }
}

impl Payload {
    fn len(&self) -> u64 {
        match self {
            Payload::Tcp(segment) => segment.len(),
            Payload::Udp(bytes) => bytes.len() as u64,
        }
    }
}

/// Returns when a segment is next repeated that was sent at `since`: after pauses that double from `first`.
fn next_repetition(since: u64, first: u64, now: u64) -> u64 {
    let (mut at, mut pause) = (since, first);
    while at <= now {
        at += pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    at
}

/// Returns a time in nanoseconds, of which a few do not overflow a clock.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 8)
}
