//! Readiness: the conditions that poll(2) reports, and the events that a poller gets.
//!
//! An event is that of an edge-triggered epoll: something has happened on a descriptor that is registered, and the wait that
//! takes it reports the conditions that hold by then. In a build with `netpoll_backend="poll"` it is that of poll(2): a wait
//! reports a direction that is armed as soon as its condition holds, which disarms it.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::Duration;

use netpoll_core::{Event as Report, Mode, PollKey};
use rustix::io::Errno;

use super::faults::FaultKind;
use super::tcp::State;
use super::world::{Body, Domain, Event, HostId, Id, POLL_COST, World};
use crate::sys::{Poller, Watch};
use netpoll_core::poll::translate::epoll::{ERR, HUP, IN, OUT, PRI, RDHUP};
use netpoll_core::poll::translate::{epoll, poll};

/// The longest time by which an event is late, in nanoseconds.
const LATEST: u64 = 5_000_000;

/// The message of a wait within the step of a host.
pub(super) const WAITS_FOR_EVER: &str = "netpoll: block_on would wait for ever: a host of a simulation waits only in its own step; await the future";

/// The time that a poll without a wait takes at most, after seconds without a wait.
const LONGEST_COST: u64 = 10_000_000;

/// The number of a poller.
pub type PollerId = usize;

/// A descriptor that a poller watches.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    pub(super) fd: RawFd,
    pub(super) poller: PollerId,
    pub(super) key: PollKey,
    pub(super) watch: Watch,
    /// The conditions that a wait reports.
    armed: u32,
}

/// The conditions by which a direction is ready.
const READ: u32 = if Poller::EDGES { IN | PRI | RDHUP } else { IN | RDHUP };
const WRITE: u32 = OUT;

/// Conditions that are reported whatever was asked for.
const ALWAYS: u32 = HUP | ERR;

impl Watched {
    /// Returns the event of the conditions that hold, of which an edge-triggered poller reports each that it watches, and another
    /// one those that are armed, once.
    fn report(&mut self, found: u32) -> Option<Report> {
        let asked = self.armed;
        let bits = if asked == 0 { 0 } else { found & (asked | ALWAYS) };
        if bits == 0 {
            return None;
        }
        if Poller::EDGES {
            return Some(epoll::translate(self.key, bits));
        }
        let event = poll::translate(self.key, asked as u16, bits as u16);
        let is_gone = bits & (RDHUP | ALWAYS) != 0;
        let disarmed = [(event.modes.read, IN | ALWAYS), (event.modes.write, WRITE), (is_gone, RDHUP)];
        disarmed.iter().filter(|(is_told, _)| *is_told).for_each(|(_, bits)| self.armed &= !bits);
        Some(event)
    }
}

/// A poller of a host.
#[derive(Debug)]
pub struct SimPoller {
    pub(super) host: HostId,
    /// The sockets on which something has happened.
    pub(super) queue: VecDeque<Id>,
    pub(super) break_pending: bool,
    /// Set while the host sleeps in it, until the time that follows.
    pub(super) is_asleep: bool,
    pub(super) sleeps_until: Option<u64>,
    /// The time since which its waits have neither slept nor taken an event.
    busy_since: u64,
}

/// The outcome of a wait.
#[derive(Default, Debug)]
pub struct Waited {
    pub events: Vec<Report>,
    pub was_broken: bool,
}

impl World {
    pub(in crate::sys) fn open_poller(&mut self) -> PollerId {
        let id = self.pollers.last_key_value().map_or(1, |(id, _)| id + 1);
        let host = self.current;
        let queue = VecDeque::new();
        let poller = SimPoller {
            host,
            queue,
            break_pending: false,
            is_asleep: false,
            sleeps_until: None,
            busy_since: self.now,
        };
        self.pollers.insert(id, poller);
        if let Some(host) = self.hosts.get_mut(host) {
            // That of a runtime within its code is another one, which nothing drives.
            host.poller.get_or_insert(id);
        }
        id
    }

    pub(in crate::sys) fn close_poller(&mut self, id: PollerId) {
        self.pollers.remove(&id);
    }

    pub(in crate::sys) fn watch(
        &mut self,
        poller: PollerId,
        fd: RawFd,
        key: PollKey,
        watch: Watch,
    ) -> Result<(), Errno> {
        let Some(id) = self.id_of(fd) else { return Err(Errno::PERM) };
        let watches = &mut self.socket(id).watches;
        if watches.iter().any(|watched| watched.fd == fd && watched.poller == poller) {
            return Err(Errno::EXIST);
        }
        let armed = match watch {
            Watch::Both => READ | WRITE,
            // Nothing but an error comes in a simulation.
            Watch::Priority | Watch::Error => ALWAYS,
        };
        watches.push(Watched { fd, poller, key, watch, armed });
        self.notify(id);
        Ok(())
    }

    pub(in crate::sys) fn unwatch(&mut self, poller: PollerId, fd: RawFd) -> Result<(), Errno> {
        // A socket of a host that has lost its power is gone.
        let Some(id) = self.id_of(fd) else { return Ok(()) };
        let watches = &mut self.socket(id).watches;
        let before = watches.len();
        watches.retain(|watched| watched.fd != fd || watched.poller != poller);
        if watches.len() < before { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// Arms a direction of a descriptor in a level-triggered poller. A condition that holds already is an event.
    pub(in crate::sys) fn arm(
        &mut self,
        poller: PollerId,
        fd: RawFd,
        key: PollKey,
        mode: Mode,
    ) -> Result<(), Errno> {
        // A socket of a host that has lost its power is gone.
        let Some(id) = self.id_of(fd) else { return Ok(()) };
        let is_same = |watched: &&mut Watched| (watched.fd, watched.poller, watched.key) == (fd, poller, key);
        let watched = self.socket(id).watches.iter_mut().find(is_same).ok_or(Errno::NOENT)?;
        watched.armed |= match (watched.watch, mode) {
            (Watch::Both, Mode::Read) => READ,
            (Watch::Both, Mode::Write) => WRITE,
            (Watch::Priority | Watch::Error, _) => ALWAYS,
        };
        let asked = watched.armed | ALWAYS;
        if self.poll(id) & asked != 0 {
            self.notify(id);
        }
        Ok(())
    }

    /// Records that something has happened on a socket, for those that watch it.
    pub(super) fn notify(&mut self, id: Id) {
        let Some(socket) = self.sockets.get(&id) else { return };
        for watched in socket.watches.iter().filter(|watched| watched.armed != 0) {
            if let Some(poller) = self.pollers.get_mut(&watched.poller)
                && !poller.queue.contains(&id)
            {
                poller.queue.push_back(id);
            }
        }
    }

    /// Ends the sleep in a poller, or the next one.
    pub(in crate::sys) fn break_poller(&mut self, id: PollerId) {
        if let Some(poller) = self.pollers.get_mut(&id) {
            poller.break_pending = true;
        }
    }

    /// Takes the events of a poller, at most `limit`. If there are none and there is a timeout, the host is asleep
    /// afterwards, and the caller is to leave its step.
    ///
    /// # Panics
    ///
    /// Panics if the host is asleep already, so that the caller waits within its step.
    pub(in crate::sys) fn wait(&mut self, id: PollerId, limit: usize, timeout: Option<Duration>) -> Waited {
        let sleeps = timeout != Some(Duration::ZERO);
        if !sleeps && let Some(poller) = self.pollers.get(&id) {
            // A host that does nothing but yield would not see the end of a day otherwise.
            let cost = ((self.now - poller.busy_since) / 1000).clamp(POLL_COST, LONGEST_COST);
            self.advance_to(self.now + cost);
        }
        let mut waited = Waited::default();
        let is_interrupted = self.fault(FaultKind::InterruptedWait, 0);
        if !is_interrupted {
            self.take_events(id, limit, &mut waited);
        }
        let now = self.now;
        let Some(poller) = self.pollers.get_mut(&id) else { return waited };
        if sleeps || !waited.events.is_empty() {
            poller.busy_since = now;
        }
        // The other hosts have their turn.
        self.hosts[poller.host].stop.set();
        if is_interrupted {
            return waited;
        }
        waited.was_broken = std::mem::take(&mut poller.break_pending);
        if sleeps && !waited.was_broken && waited.events.is_empty() {
            // Events that were left to the next wait.
            if !poller.queue.is_empty() {
                return waited;
            }
            assert!(!poller.is_asleep, "{WAITS_FOR_EVER}");
            poller.is_asleep = true;
            poller.sleeps_until =
                timeout.map(|left| now.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)));
        }
        waited
    }

    /// Returns whether a wait in a poller would return.
    pub(super) fn wakes(&self, id: PollerId) -> bool {
        self.pollers.get(&id).is_none_or(|poller| {
            let is_due = poller.sleeps_until.is_some_and(|at| at <= self.now);
            !poller.queue.is_empty() || poller.break_pending || is_due
        })
    }

    /// Returns whether a thread or a host is asleep in a poller.
    pub(in crate::sys) fn is_asleep(&self, id: PollerId) -> bool {
        self.pollers.get(&id).is_some_and(|poller| poller.is_asleep)
    }

    /// Ends the sleep of a thread in a poller. Returns how much of its time is left, or `None` if the poller is gone.
    pub(in crate::sys) fn end_sleep(&mut self, id: PollerId) -> Option<Option<Duration>> {
        let now = self.now;
        let poller = self.pollers.get_mut(&id)?;
        poller.is_asleep = false;
        let until = poller.sleeps_until.take();
        Some(until.map(|until| Duration::from_nanos(until.saturating_sub(now))))
    }

    fn take_events(&mut self, id: PollerId, limit: usize, waited: &mut Waited) {
        let Some(poller) = self.pollers.get_mut(&id) else { return };
        let mut queue = std::mem::take(&mut poller.queue);
        let mut merged = Vec::new();
        while waited.events.len() < limit && !queue.is_empty() {
            // Any order is one in which they may have happened.
            let place = self.place(FaultKind::Reordered, queue.len(), 0);
            let Some(socket) = queue.remove(place) else { break };
            if self.fault(FaultKind::Late, socket) {
                let delay = self.draw_below(LATEST);
                self.schedule(delay, Event::Notify(socket));
                continue;
            }
            if self.fault(FaultKind::Merged, socket) {
                merged.push(socket);
                continue;
            }
            let is_spurious = self.fault(FaultKind::Spurious, socket);
            self.report(id, socket, is_spurious, waited);
        }
        queue.extend(merged);
        if let Some(poller) = self.pollers.get_mut(&id) {
            queue.append(&mut poller.queue);
            poller.queue = queue;
        }
    }

    fn report(&mut self, poller: PollerId, id: Id, is_spurious: bool, waited: &mut Waited) {
        let Some(found) = self.sockets.contains_key(&id).then(|| self.poll(id)) else { return };
        let reported = found | if is_spurious { IN | OUT } else { 0 };
        let watches = self.socket(id).watches.iter_mut().filter(|watched| watched.poller == poller);
        waited.events.extend(watches.filter_map(|watched| watched.report(reported)));
        self.note("event", id, found.into());
    }

    /// Returns the conditions that hold, and lets the next space be reported if there is none.
    pub(super) fn poll(&mut self, id: Id) -> u32 {
        let socket = self.socket(id);
        let error = if socket.error.is_some() { ERR } else { 0 };
        let is_local = socket.domain == Domain::Local;
        let found = match &mut socket.body {
            Body::Idle => OUT | HUP,
            Body::Listener(listener) => bits(!listener.queue.is_empty(), IN),
            Body::Stream(stream) if stream.is_connecting() => 0,
            Body::Stream(stream) => {
                let is_dead = stream.state == State::Dead;
                let ended = stream.fin_received || stream.read_shut || is_dead;
                let shut = stream.write_shut || is_dead;
                let is_writable = shut || stream.is_writable();
                stream.wants_space |= !is_writable;
                bits(stream.received.len() > stream.skipped() || ended, IN)
                    | bits(stream.urgent_byte.is_some(), PRI)
                    | bits(ended, RDHUP)
                    | bits(ended && shut, HUP)
                    | bits(is_writable, OUT)
            }
            Body::Datagrams(datagrams) => OUT | bits(!datagrams.queue.is_empty(), IN),
            Body::Unix(_) => self.poll_unix(id),
            Body::Pipe(_) => self.poll_pipe(id),
        };
        // A connection of TCP that has failed can be read and written, which returns the error.
        let of_error = if error == 0 || is_local { 0 } else { IN | OUT };
        found | error | of_error
    }
}

fn bits(holds: bool, bits: u32) -> u32 {
    if holds { bits } else { 0 }
}
