//! The clock of a poller: exact, coarse, and one that stands still, for tests.
//!
//! # The coarse clock
//!
//! The exact clock takes some twenty nanoseconds to read, which is more than the rest of moving a deadline. The coarse clock
//! takes four, and is behind by a tick of the kernel or two. It is used where that does not matter:
//!
//! | question | clock |
//! |---|---|
//! | has this instant passed? | the coarse one if it says that a tenth of a second is left, else the exact one |
//! | when is a second from now, or later? | the coarse one, plus the time that it may be behind: never too early |
//! | when is less than a second from now? | the exact one |
//!
//! # The paused clock
//!
//! | the clock | now | a worker without work |
//! |---|---|---|
//! | was never paused | the system's tick | sleeps until the next timer |
//! | is paused at `t` | `t` | moves `t` to the next timer, or sleeps until an event, see [`PollGuard::block`](super::PollGuard::block) |
//! | goes on after a pause | the system's tick and a constant | sleeps until the next timer |
//!
//! A clock that was never paused costs the load of a flag. The thread's own clock is that of the runtime that it works for;
//! as long as no clock of the process was paused, it is not looked up.

use std::ops::Range;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use netpoll_core::When;
use netpoll_core::sync::{Flag, RelaxedUsize};

use super::clock::{is_representable, later, round_down, round_up, to_nanos};
use super::{Netpoll, PollBuffer, clock};
use crate::context;
use crate::sync::{Mutex, lock};
use crate::sys;

/// The distance in nanoseconds beyond which the coarse clock is good enough to tell that an instant is ahead.
const COARSE_HORIZON: u64 = 100_000_000;

/// The time in nanoseconds after which the tick of a poll is recorded again if several threads poll.
const COARSE_POLL: u64 = 1_000_000;

/// The durations, in seconds, that are added to the coarse clock. Shorter ones are exact; longer ones could exceed a tick.
const COARSE_RANGE: Range<u64> = 1..1 << 32;

/// Set once any clock of the process was paused.
static ANY_PAUSED: Flag = Flag::new();

/// The relation of a clock to the system's.
#[derive(Debug)]
pub(super) struct Pace {
    /// Set once the clock was paused: it differs from the system's from then on.
    differs: Flag,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The clock goes on; it is this number of nanoseconds ahead of the system's.
    Running(i64),
    /// The clock stands at this tick.
    Paused(u64),
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { differs: Flag::new(), state: Mutex::new(State::Running(0)) }
    }

    /// Returns whether the clock is the system's: it was never paused.
    #[inline]
    pub(super) fn is_system(&self) -> bool {
        !self.differs.is_set()
    }

    /// Returns the tick of the clock at the tick `system` of the system's.
    #[inline]
    pub(super) fn at(&self, system: u64) -> u64 {
        if self.is_system() { system } else { self.shifted(system) }
    }

    #[cold]
    fn shifted(&self, system: u64) -> u64 {
        match *lock(&self.state) {
            State::Running(ahead) => system.saturating_add_signed(ahead),
            State::Paused(at) => at,
        }
    }

    /// Returns whether the clock stands still.
    #[inline]
    fn is_paused(&self) -> bool {
        !self.is_system() && self.paused_at().is_some()
    }

    #[cold]
    fn paused_at(&self) -> Option<u64> {
        match *lock(&self.state) {
            State::Running(_) => None,
            State::Paused(at) => Some(at),
        }
    }

    /// Stops the clock at the tick of the present instant. Returns false if it stands still already.
    fn pause(&self) -> bool {
        let mut state = lock(&self.state);
        let State::Running(ahead) = *state else { return false };
        // A tick that is not before an instant that was taken shortly before.
        *state = State::Paused(clock::tick(Instant::now()).saturating_add_signed(ahead));
        self.differs.set();
        ANY_PAUSED.set();
        true
    }

    /// Lets the clock go on from where it stands. Returns false if it was not paused.
    fn resume(&self) -> bool {
        let mut state = lock(&self.state);
        let State::Paused(at) = *state else { return false };
        // Both are at most 2^63 - 1.
        *state = State::Running(at as i64 - clock::now() as i64);
        true
    }

    /// Moves the paused clock to a tick, unless it is there or later already.
    pub(super) fn advance_to(&self, tick: u64) {
        if let State::Paused(at) = &mut *lock(&self.state) {
            *at = tick.max(*at);
        }
    }
}

/// The clock of a poller, exact and coarse.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) pace: Pace,
    /// The time in nanoseconds by which the coarse clock may be behind.
    coarse_error: u64,
    /// The word of the tick of the last poll. The fields beside it are read for each message.
    polled: CachePadded<RelaxedUsize>,
}

impl Clock {
    pub(super) fn new() -> Self {
        let this =
            Self { pace: Pace::new(), coarse_error: sys::coarse_error(), polled: CachePadded::default() };
        this.set_polled(clock::now());
        this
    }

    /// Returns the current tick.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.pace.at(clock::now())
    }

    /// Returns the tick that is `duration` from now, at most [`LATEST`].
    #[inline]
    pub(super) fn after(&self, duration: Duration) -> u64 {
        later(self.now(), duration)
    }

    /// Returns whether a tick has passed.
    #[inline]
    pub(super) fn is_over(&self, tick: u64) -> bool {
        tick <= self.coarse() + COARSE_HORIZON && tick <= self.now()
    }

    /// Returns the tick that is `duration` from now, or up to a few milliseconds later, if `duration` is in
    /// [`COARSE_RANGE`]. A clock that was paused has no coarse one.
    #[inline]
    pub(super) fn coarse_after(&self, duration: Duration) -> Option<u64> {
        let seconds = duration.as_secs();
        if !COARSE_RANGE.contains(&seconds) || !self.pace.is_system() {
            return None;
        }
        let nanoseconds = seconds * 1_000_000_000 + u64::from(duration.subsec_nanos());
        Some(self.coarse() + self.coarse_error + nanoseconds)
    }

    /// Returns the deadline of a tick that is still to come; never, if it is too far ahead for a word.
    #[inline]
    pub(super) fn deadline(&self, at: u64) -> When {
        if is_representable(at, || self.coarse()) { When::At(round_up(at)) } else { When::Never }
    }

    /// Reads the coarse clock. A virtual machine may not have updated it for a while: the tick of the last poll, which was
    /// exact, corrects it.
    #[inline]
    fn coarse(&self) -> u64 {
        if !self.pace.is_system() {
            return self.now();
        }
        sys::coarse_now().max(to_nanos(self.polled(), sys::coarse_now))
    }

    /// Returns the word of the tick of the last poll.
    #[inline]
    pub(super) fn polled(&self) -> usize {
        self.polled.get()
    }

    /// Records the tick of a poll.
    #[inline]
    pub(super) fn set_polled(&self, now: u64) {
        self.polled.set(round_down(now));
    }

    /// Records the tick of a poll if the last one that was recorded is a millisecond ago: several threads poll, and every
    /// operation that waits reads the word.
    pub(super) fn set_polled_coarsely(&self, now: u64) {
        if now.saturating_sub(to_nanos(self.polled(), || now)) >= COARSE_POLL {
            self.set_polled(now);
        }
    }
}

/// Returns the current tick of the clock that this thread goes by: that of the runtime that it works for, or the system's.
#[inline]
pub fn now() -> u64 {
    if ANY_PAUSED.is_set() { current_pace(clock::now()) } else { clock::now() }
}

#[cold]
fn current_pace(system: u64) -> u64 {
    context::with(|context| {
        let netpoll = context.netpoll.borrow();
        netpoll.as_ref().map_or(system, |netpoll| netpoll.clock.pace.at(system))
    })
}

/// Returns the instant of [`now`].
#[inline]
pub fn instant() -> Instant {
    if ANY_PAUSED.is_set() { clock::instant(now()) } else { Instant::now() }
}

/// Returns the tick that is `duration` from now, at most [`LATEST`], by the clock that this thread goes by.
#[inline]
pub fn after(duration: Duration) -> u64 {
    later(now(), duration)
}

impl Netpoll {
    /// Returns the current tick of this poller's clock.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Returns whether the clock stands still.
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.clock.pace.is_paused()
    }

    /// Stops the clock. Returns false if it stands still already.
    pub fn pause(&self) -> bool {
        let paused = self.clock.pace.pause();
        self.look_at_clock();
        paused
    }

    /// Lets the clock go on from where it stands. Returns false if it was not paused.
    pub fn resume(&self) -> bool {
        let resumed = self.clock.pace.resume();
        self.look_at_clock();
        resumed
    }

    /// Moves the paused clock forward to a tick. The timers that are due then fire in the next poll.
    pub fn advance_to(&self, tick: u64) {
        self.clock.pace.advance_to(tick);
        self.look_at_clock();
    }

    /// Fires timers that are due, if there are any and this thread is the worker of the runtime, which is to be the only one.
    /// The tasks to be run are in `buffer`. Returns whether it fired some.
    pub fn fire_due(&self, buffer: &mut PollBuffer) -> bool {
        let now = self.now();
        let next = self.shards.iter().filter_map(|shard| shard.wheels.next()).min();
        let fires = next.is_some_and(|next| next <= now) && self.is_own_worker();
        if fires {
            self.fire_alone(buffer, now);
        }
        fires
    }

    /// Ends the sleep of the poller after a change of the clock, if another thread may sleep there.
    fn look_at_clock(&self) {
        if !self.is_own_worker() {
            self.wake();
        }
    }
}
