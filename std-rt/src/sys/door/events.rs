//! Events: which poller watches which descriptor, what each has still to hand up, and what becomes of the kernel's own.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netpoll_core::poll_key::{Event, EventFlags, Modes, PollKey};

use super::super::Call;
use super::rules::Disturbance;
use super::{NONE, state::State};

/// The pollers that there are, by a number of their own.
static POLLERS: Mutex<BTreeMap<u64, Known>> = Mutex::new(BTreeMap::new());

fn pollers() -> MutexGuard<'static, BTreeMap<u64, Known>> {
    POLLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of one poller.
struct Known {
    /// Eight bytes written to it end the poller's sleep.
    wake: Arc<OwnedFd>,
    /// By the descriptor's number. No map: a test counts what is allocated.
    watched: Vec<Option<PollKey>>,
    /// Events to be handed up, and when.
    due: Vec<(Instant, Event)>,
}

impl Known {
    fn fd_of(&self, key: PollKey) -> RawFd {
        let place = self.watched.iter().position(|of| *of == Some(key));
        place.map_or(NONE, |place| place as RawFd)
    }

    fn key_of(&self, fd: RawFd) -> Option<PollKey> {
        *self.watched.get(usize::try_from(fd).ok()?)?
    }

    /// The key, or none any more, in the place of the one before.
    fn watch(&mut self, fd: RawFd, key: Option<PollKey>) {
        let Ok(place) = usize::try_from(fd) else { return };
        if self.watched.len() <= place {
            self.watched.resize(place + 1, None);
        }
        self.watched[place] = key;
    }
}

/// Ends a poller's sleep, so that it sees what is due.
fn wake(fd: &OwnedFd) {
    // A full counter ends the sleep as well; nothing else can be wrong with an eventfd that is open.
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

/// An event of a descriptor is handed up by each poller that watches it, as soon as it waits.
pub fn send(fd: RawFd, modes: Modes) {
    send_with(fd, modes, EventFlags::default());
}

/// As [`send`]: both directions, an error and nothing else. A connection's reset looks so while it is being made.
pub fn send_error(fd: RawFd) {
    send_with(fd, Modes::BOTH, EventFlags { event_err: true, err: true, ..EventFlags::default() });
}

fn send_with(fd: RawFd, modes: Modes, flags: EventFlags) {
    let mut pollers = pollers();
    for known in pollers.values_mut() {
        if let Some(key) = known.key_of(fd) {
            known.due.push((Instant::now(), Event { key, modes, flags }));
            wake(&known.wake);
        }
    }
}

/// A call was told that its descriptor is not ready: the kernel has not heard of it, so the edge is ours to send.
pub(super) fn ready_again(call: Call, fd: RawFd) {
    if let Some(mode) = call.mode() {
        send(fd, mode.into());
    }
}

/// What the door keeps of a poller.
#[derive(Debug)]
pub(in super::super) struct Watch {
    number: u64,
}

impl Watch {
    /// `wake`: eight bytes written to it end the poller's sleep.
    pub(in super::super) fn new(wake: BorrowedFd<'_>) -> io::Result<Self> {
        let wake = Arc::new(wake.try_clone_to_owned()?);
        let mut pollers = pollers();
        let number = pollers.last_key_value().map_or(0, |(last, _)| last + 1);
        pollers.insert(number, Known { wake, watched: vec![None; 1024], due: Vec::new() });
        Ok(Watch { number })
    }

    /// The poller watches the descriptor under this key.
    pub(in super::super) fn opened(&self, fd: BorrowedFd<'_>, key: PollKey) {
        self.with(|known| known.watch(fd.as_raw_fd(), Some(key)));
    }

    /// The poller is about to stop watching the descriptor: what is due for it is not handed up any more, but what a
    /// rule wants to come too late.
    pub(in super::super) fn closing(&self, fd: BorrowedFd<'_>) {
        let fd = fd.as_raw_fd();
        let late = super::with(|state| {
            let stale = |disturbance| matches!(disturbance, Disturbance::Stale(_));
            match state.disturbances(fd, stale) {
                Some(Disturbance::Stale(most)) => Some(Instant::now() + up_to(most, state)),
                _ => None,
            }
        });
        self.with(|known| {
            let Some(key) = known.key_of(fd) else { return };
            known.watch(fd, None);
            known.due.retain(|(_, event)| event.key != key);
            if let Some(at) = late {
                known.due.push((at, Event { key, modes: Modes::BOTH, flags: EventFlags::default() }));
                wake(&known.wake);
            }
        });
    }

    /// How long a wait may sleep: no longer than until the next event is due.
    pub(in super::super) fn shorten(&self, timeout: Option<Duration>) -> Option<Duration> {
        let next = self.with(|known| known.due.iter().map(|(at, _)| *at).min());
        let Some(left) = next.map(|at| at.saturating_duration_since(Instant::now())) else { return timeout };
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    /// The kernel's events of one wait, of which at most `limit` may be handed up.
    pub(in super::super) fn disturb(
        &self,
        batch: &mut Batch,
        limit: usize,
        kernel: impl Iterator<Item = Event>,
    ) {
        super::with(|state| {
            self.with(|known| {
                batch.active = state.disturbs() || !known.due.is_empty();
                batch.events.clear();
                if batch.active {
                    let delayed = collect(state, known, batch, kernel);
                    if shape(state, known, batch, limit) || delayed {
                        // Another thread may sleep in this poller, who has not heard of what comes later.
                        wake(&known.wake);
                    }
                }
            });
        });
    }

    /// Who holds the state takes this lock second.
    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(pollers().get_mut(&self.number).expect("a poller is known until it is dropped"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        pollers().remove(&self.number);
    }
}

/// The kernel's events as the rules leave them, those that are due, and one that is neither. True if one was put off.
fn collect(
    state: &mut State,
    known: &mut Known,
    batch: &mut Batch,
    kernel: impl Iterator<Item = Event>,
) -> bool {
    let (now, mut delayed) = (Instant::now(), false);
    for mut event in kernel {
        let fd = known.fd_of(event.key);
        if state.disturbances(fd, |of| of == Disturbance::Both).is_some() {
            event.modes = Modes::BOTH;
        }
        if state.disturbances(fd, |of| of == Disturbance::Duplicate).is_some() {
            batch.events.push(event);
        }
        match state.disturbances(fd, |of| matches!(of, Disturbance::Delay(_))) {
            Some(Disturbance::Delay(most)) => {
                known.due.push((now + up_to(most, state), event));
                delayed = true;
            }
            _ => batch.events.push(event),
        }
    }
    known.due.retain(|(at, event)| {
        let later = *at > now;
        if !later {
            batch.events.push(*event);
        }
        later
    });
    let watched = known.watched.iter().flatten().count();
    if watched > 0 && state.disturbances(NONE, |of| of == Disturbance::Spurious).is_some() {
        let key = known.watched.iter().flatten().nth(state.below(watched)).copied();
        let spurious = |key| Event { key, modes: Modes::BOTH, flags: EventFlags::default() };
        batch.events.extend(key.map(spurious));
    }
    delayed
}

/// Order and number. True if some did not fit: they come with the next wait.
fn shape(state: &mut State, known: &mut Known, batch: &mut Batch, limit: usize) -> bool {
    let events = &mut batch.events;
    if events.len() > 1 && state.disturbances(NONE, |of| of == Disturbance::Reorder).is_some() {
        for place in (1..events.len()).rev() {
            events.swap(place, state.below(place + 1));
        }
    }
    let one = events.len() > 1 && state.disturbances(NONE, |of| of == Disturbance::One).is_some();
    let limit = if one { 1 } else { limit };
    if events.len() <= limit {
        return false;
    }
    let now = Instant::now();
    known.due.extend(events.drain(limit..).map(|event| (now, event)));
    true
}

/// A time from zero to `most`.
fn up_to(most: Duration, state: &mut State) -> Duration {
    let nanos = usize::try_from(most.as_nanos()).unwrap_or(usize::MAX - 1);
    Duration::from_nanos(state.below(nanos + 1) as u64)
}

/// What one wait hands up in place of the kernel's events.
#[derive(Debug, Default)]
pub(in super::super) struct Batch {
    active: bool,
    events: Vec<Event>,
}

impl Batch {
    /// How many events, if they are in the place of the kernel's.
    pub(in super::super) fn len(&self) -> Option<usize> {
        self.active.then_some(self.events.len())
    }

    /// One of them.
    pub(in super::super) fn get(&self, index: usize) -> Option<Event> {
        self.active.then(|| self.events[index])
    }
}
