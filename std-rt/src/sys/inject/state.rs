//! Injected faults at run time: the state of the table in force, and of the pollers whose events it alters.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netpoll_core::{Event, EventFlags, Mode, Modes, PollKey};
use rustix::io::Errno;

use super::super::{Call, PerProcess};
use super::NONE;
use super::rules::{Entry, EventFault, Fault, Rule, Table, Trigger, Watcher};

/// An upper bound of the numbers of calls.
const CALLS: usize = 64;

thread_local! {
    /// The calls of this thread that a rule `before_each` has failed once; each succeeds the next time.
    static STOPPED: RefCell<[bool; CALLS]> = const { RefCell::new([false; CALLS]) };
}

/// A random number generator (SplitMix64).
#[derive(Debug)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A rule and its history.
struct RuleState {
    rule: Rule,
    /// Number of matching calls so far.
    seen: usize,
    hits: usize,
    since: Option<Instant>,
    /// Number of times that the rule has failed each call since it last let that call through.
    repeats: BTreeMap<(RawFd, Call), usize>,
}

impl RuleState {
    /// Decides whether the rule applies to a matching call. `made`: the call has been made, so it cannot be
    /// repeated.
    fn applies(&mut self, call: Call, fd: RawFd, made: bool, rng: &mut Rng) -> bool {
        self.seen += 1;
        let applies = match self.rule.when {
            Trigger::Always => true,
            Trigger::Nth(n) => self.seen == n,
            Trigger::From(n) => self.seen >= n,
            Trigger::First(n) => self.seen <= n,
            Trigger::Chance(probability) => (rng.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability,
            Trigger::During(time) => self.since.get_or_insert_with(Instant::now).elapsed() < time,
            Trigger::BeforeEach if made => true,
            Trigger::BeforeEach => STOPPED.with_borrow_mut(|stopped| {
                let stopped = &mut stopped[call as usize];
                *stopped = !*stopped;
                *stopped
            }),
            Trigger::Repeat(k) => {
                let stopped = self.repeats.entry((fd, call)).or_default();
                *stopped = if *stopped < k { *stopped + 1 } else { 0 };
                *stopped > 0
            }
        };
        self.hits += usize::from(applies);
        applies
    }
}

/// The state of a table in force.
pub(super) struct TableState {
    rules: Vec<RuleState>,
    rng: Rng,
    calls: [usize; CALLS],
    log: Option<Vec<Entry>>,
    watcher: Option<Watcher>,
}

impl TableState {
    pub(super) fn new(table: Table) -> TableState {
        let fresh = |rule| RuleState { rule, seen: 0, hits: 0, since: None, repeats: BTreeMap::new() };
        TableState {
            rules: table.rules.into_iter().map(fresh).collect(),
            rng: Rng(table.seed),
            calls: [0; CALLS],
            log: table.logs.then(Vec::new),
            watcher: table.watcher,
        }
    }

    pub(super) fn hits(&self) -> Vec<usize> {
        self.rules.iter().map(|active| active.hits).collect()
    }

    pub(super) fn calls(&self, call: Call) -> usize {
        self.calls[call as usize]
    }

    pub(super) fn log(&self) -> &[Entry] {
        self.log.as_deref().unwrap_or_default()
    }

    /// Decides the error of a call, among those that `fits` allows. Returns the log entry, and the watcher to
    /// call.
    pub(super) fn decide(
        &mut self,
        call: Call,
        fd: RawFd,
        made: bool,
        fits: impl Fn(Errno) -> bool,
    ) -> (Entry, Option<Watcher>) {
        let rng = &mut self.rng;
        let error = self.rules.iter_mut().find_map(|active| match active.rule.fault {
            Fault::Error(errno)
                if is_for(&active.rule, call, fd) && suits(errno, &active.rule, call) && fits(errno) =>
            {
                active.applies(call, fd, made, rng).then_some(errno)
            }
            _ => None,
        });
        let entry = Entry { call, fd, error };
        // The decision before the call has counted it already.
        let counted = made && error.is_none() && call != Call::Close;
        if counted {
            return (entry, None);
        }
        self.calls[call as usize] += 1;
        if let Some(log) = &mut self.log {
            log.push(entry);
        }
        (entry, self.watcher.clone())
    }

    /// Returns how many of `length` bytes, at least two, a call passes on.
    pub(super) fn truncate(&mut self, call: Call, fd: RawFd, length: usize) -> usize {
        for active in &mut self.rules {
            let Fault::Short(most) = active.rule.fault else { continue };
            if is_for(&active.rule, call, fd) && active.applies(call, fd, false, &mut self.rng) {
                let drawn = 1 + self.rng.next() % (length as u64 - 1);
                return most.unwrap_or(drawn as usize).min(length);
            }
        }
        length
    }

    /// Returns whether a rule is about events.
    pub(super) fn has_event_faults(&self) -> bool {
        self.rules.iter().any(|active| matches!(active.rule.fault, Fault::Events(_)))
    }

    /// Returns the first fault about events, of the wanted kind, that applies to an event of a descriptor or
    /// to a whole wait.
    pub(super) fn event_fault(
        &mut self,
        fd: RawFd,
        wanted: impl Fn(EventFault) -> bool,
    ) -> Option<EventFault> {
        let rng = &mut self.rng;
        self.rules.iter_mut().find_map(|active| match active.rule.fault {
            Fault::Events(fault) if wanted(fault) && active.rule.fd.is_none_or(|only| only == fd) => {
                active.applies(Call::PollerWait, fd, true, rng).then_some(fault)
            }
            _ => None,
        })
    }

    /// Draws a number below `end`, which must not be 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.rng.next() % end as u64) as usize
    }
}

fn is_for(rule: &Rule, call: Call, fd: RawFd) -> bool {
    rule.call.is_none_or(|only| only == call) && rule.fd.is_none_or(|only| only == fd)
}

/// Returns whether a rule may inject this error. A rule for any call injects `EAGAIN` only where readiness
/// can follow.
fn suits(errno: Errno, rule: &Rule, call: Call) -> bool {
    // `EAGAIN` of pthread_create(3) and fork(2) is about a limit, not about readiness.
    let is_limit = matches!(rule.call, Some(Call::StartThread | Call::StartChild));
    errno != Errno::AGAIN || mode_of(call).is_some() || call == Call::Break || is_limit
}

/// Returns the direction whose readiness the call needs, if it may fail with `EAGAIN`.
fn mode_of(call: Call) -> Option<Mode> {
    match call {
        Call::Accept | Call::Recv | Call::RecvBatch | Call::Read | Call::SpliceIn => Some(Mode::Read),
        Call::Send | Call::SendBatch | Call::Write | Call::SpliceOut | Call::SendFile => Some(Mode::Write),
        _ => None,
    }
}

/// All live pollers of this process. A child of fork(2) has a list of its own: its parent's may be locked for ever.
static POLLERS: PerProcess<Mutex<Vec<Arc<Mutex<PollerState>>>>> = PerProcess::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state that fault injection keeps of one poller.
#[derive(Debug)]
struct PollerState {
    /// A descriptor to which eight written bytes end the poller's wait.
    wake: Arc<OwnedFd>,
    /// The keys of the open descriptors, by number. A vector and not a map, because a test counts
    /// allocations.
    watched: Vec<Option<PollKey>>,
    /// Events still to deliver, and when.
    due: Vec<(Instant, Event)>,
}

impl PollerState {
    fn fd_of(&self, key: PollKey) -> RawFd {
        let place = self.watched.iter().position(|of| *of == Some(key));
        place.map_or(NONE, |place| place as RawFd)
    }

    fn key_of(&self, fd: RawFd) -> Option<PollKey> {
        *self.watched.get(usize::try_from(fd).ok()?)?
    }

    /// Sets or clears the key of a descriptor.
    fn watch(&mut self, fd: RawFd, key: Option<PollKey>) {
        let Ok(place) = usize::try_from(fd) else { return };
        if self.watched.len() <= place {
            self.watched.resize(place + 1, None);
        }
        self.watched[place] = key;
    }
}

/// Ends a poller's wait, so that it delivers what is due.
fn wake(fd: &OwnedFd) {
    // A full counter ends the wait as well, and a write to an open eventfd has no other error.
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

/// Sends an event of a descriptor to each poller that has it open; the poller's next wait returns it.
pub fn send(fd: RawFd, modes: Modes) {
    send_with(fd, modes, EventFlags::default());
}

/// Sends an event of both directions with an error and no other flag, as the reset of a connection attempt
/// looks.
pub fn send_error(fd: RawFd) {
    send_with(fd, Modes::BOTH, EventFlags { event_err: true, err: true, ..EventFlags::default() });
}

fn send_with(fd: RawFd, modes: Modes, flags: EventFlags) {
    for poller in lock(POLLERS.get()).iter() {
        let mut poller = lock(poller);
        if let Some(key) = poller.key_of(fd) {
            poller.due.push((Instant::now(), Event { key, modes, flags }));
            wake(&poller.wake);
        }
    }
}

/// Sends the edge that follows an injected `EAGAIN`: the kernel has not seen that call, so it sends none.
pub(super) fn ready_again(call: Call, fd: RawFd) {
    if let Some(mode) = mode_of(call) {
        send(fd, mode.into());
    }
}

/// The part of a poller that fault injection owns.
#[derive(Debug)]
pub(in crate::sys) struct PollerHook {
    state: Arc<Mutex<PollerState>>,
}

impl PollerHook {
    /// Registers a poller. Eight bytes written to `wake` end its wait.
    pub(in crate::sys) fn new(wake: BorrowedFd<'_>) -> io::Result<Self> {
        let wake = Arc::new(wake.try_clone_to_owned()?);
        let state = PollerState { wake, watched: vec![None; 1024], due: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        lock(POLLERS.get()).push(state.clone());
        Ok(PollerHook { state })
    }

    /// Records that the poller has opened the descriptor under this key.
    pub(in crate::sys) fn opened(&self, fd: BorrowedFd<'_>, key: PollKey) {
        self.with(|poller| poller.watch(fd.as_raw_fd(), Some(key)));
    }

    /// Records that the poller is about to close the descriptor. Its pending events are dropped, except those
    /// that a rule wants to arrive too late.
    pub(in crate::sys) fn closing(&self, fd: BorrowedFd<'_>) {
        let fd = fd.as_raw_fd();
        let late = super::with(|state| {
            let stale = |fault| matches!(fault, EventFault::Stale(_));
            match state.event_fault(fd, stale) {
                Some(EventFault::Stale(most)) => Some(Instant::now() + up_to(most, state)),
                _ => None,
            }
        });
        self.with(|poller| {
            let Some(key) = poller.key_of(fd) else { return };
            poller.watch(fd, None);
            poller.due.retain(|(_, event)| event.key != key);
            if let Some(at) = late {
                poller.due.push((at, Event { key, modes: Modes::BOTH, flags: EventFlags::default() }));
                wake(&poller.wake);
            }
        });
    }

    /// Limits a wait's timeout to the time until the next event is due.
    pub(in crate::sys) fn cap_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        let next = self.with(|poller| poller.due.iter().map(|(at, _)| *at).min());
        let Some(left) = next.map(|at| at.saturating_duration_since(Instant::now())) else { return timeout };
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    /// Replaces the kernel's events of one wait, of which at most `limit` may be returned.
    pub(in crate::sys) fn alter(
        &self,
        batch: &mut EventBatch,
        limit: usize,
        kernel: impl Iterator<Item = Event>,
    ) {
        super::with(|state| {
            self.with(|poller| {
                batch.active = state.has_event_faults() || !poller.due.is_empty();
                batch.events.clear();
                if batch.active {
                    let delayed = collect(state, poller, batch, kernel);
                    if shape(state, poller, batch, limit) || delayed {
                        // Another thread may be in a wait of this poller with a timeout that is now too long.
                        wake(&poller.wake);
                    }
                }
            });
        });
    }

    /// Runs `change` on the state of this poller. Lock order: the table's lock comes first.
    fn with<T>(&self, change: impl FnOnce(&mut PollerState) -> T) -> T {
        change(&mut lock(&self.state))
    }
}

impl Drop for PollerHook {
    fn drop(&mut self) {
        lock(POLLERS.get()).retain(|state| !Arc::ptr_eq(state, &self.state));
    }
}

/// Collects the kernel's events as the rules change them, the events that are due, and a spurious one.
/// Returns whether an event was delayed.
fn collect(
    state: &mut TableState,
    poller: &mut PollerState,
    batch: &mut EventBatch,
    kernel: impl Iterator<Item = Event>,
) -> bool {
    let (now, mut delayed) = (Instant::now(), false);
    for mut event in kernel {
        let fd = poller.fd_of(event.key);
        if state.event_fault(fd, |of| of == EventFault::Both).is_some() {
            event.modes = Modes::BOTH;
        }
        if state.event_fault(fd, |of| of == EventFault::Duplicate).is_some() {
            batch.events.push(event);
        }
        match state.event_fault(fd, |of| matches!(of, EventFault::Delay(_))) {
            Some(EventFault::Delay(most)) => {
                poller.due.push((now + up_to(most, state), event));
                delayed = true;
            }
            _ => batch.events.push(event),
        }
    }
    poller.due.retain(|(at, event)| {
        let later = *at > now;
        if !later {
            batch.events.push(*event);
        }
        later
    });
    let watched = poller.watched.iter().flatten().count();
    if watched > 0 && state.event_fault(NONE, |of| of == EventFault::Spurious).is_some() {
        let key = poller.watched.iter().flatten().nth(state.below(watched)).copied();
        let spurious = |key| Event { key, modes: Modes::BOTH, flags: EventFlags::default() };
        batch.events.extend(key.map(spurious));
    }
    delayed
}

/// Applies the rules about order and number. Returns whether some events did not fit; the next wait returns
/// those.
fn shape(state: &mut TableState, poller: &mut PollerState, batch: &mut EventBatch, limit: usize) -> bool {
    let events = &mut batch.events;
    if events.len() > 1 && state.event_fault(NONE, |of| of == EventFault::Reorder).is_some() {
        for place in (1..events.len()).rev() {
            events.swap(place, state.below(place + 1));
        }
    }
    let one = events.len() > 1 && state.event_fault(NONE, |of| of == EventFault::One).is_some();
    let limit = if one { 1 } else { limit };
    if events.len() <= limit {
        return false;
    }
    let now = Instant::now();
    poller.due.extend(events.drain(limit..).map(|event| (now, event)));
    true
}

/// Draws a time from zero to `most`.
fn up_to(most: Duration, state: &mut TableState) -> Duration {
    let nanos = usize::try_from(most.as_nanos()).unwrap_or(usize::MAX - 1);
    Duration::from_nanos(state.below(nanos + 1) as u64)
}

/// The events that one wait returns in place of the kernel's.
#[derive(Debug, Default)]
pub(in crate::sys) struct EventBatch {
    active: bool,
    events: Vec<Event>,
}

impl EventBatch {
    /// Returns how many events there are, if they replace the kernel's.
    pub(in crate::sys) fn len(&self) -> Option<usize> {
        self.active.then_some(self.events.len())
    }

    /// Returns one event, if they replace the kernel's.
    pub(in crate::sys) fn get(&self, index: usize) -> Option<Event> {
        self.active.then(|| self.events[index])
    }
}
