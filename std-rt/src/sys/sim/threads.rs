//! Several threads in a simulation: those of a runtime with workers that the code of a host has created.
//!
//! One thread of a simulation runs at a time, the others wait for their turn. A turn passes on:
//!
//! | where | to |
//! |---|---|
//! | before an access to a word of core ([`seam`]) | any thread of the host, at one access in [`STRIDE`], as the seed has it |
//! | in a wait for a lock, a condition or a token, which is futex(2) | a thread of the host that can run |
//! | in a wait for events | the same |
//! | where no other thread of the host can run | the thread of the simulation, which gives other hosts their steps |
//!
//! So threads interleave where they touch shared words, and do so again with the same seed. A model of loom has a few
//! accesses in every order; here the whole program runs in one order for each seed. The memory is sequentially consistent.
//!
//! In one seed of two every thread that can run has the same chance of the next turn. In the others a thread that has to pass its
//! turn on within an access stays behind all threads that can run, until those wait: a short gap between two accesses is met by
//! everything that others do meanwhile. Few orders of that kind suffice for a fault of one gap (PCT, Burckhardt et al. 2010).

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use netpoll_core::sync::seam;

use super::interpose;
use super::readiness::PollerId;
use super::world::{HostId, World};
use super::{Kernel, current};

/// The number of accesses of which one, on average, passes the turn on.
const STRIDE: usize = 6;

/// The same where the thread stays behind.
const LONG_STRIDE: usize = 60;

/// The thread of the simulation.
const DRIVER: usize = 0;

/// The number of times that a simulation looks whether a thread outside has let a lock go, and the pause before each: 20 s in all.
const LOOKS: u32 = 20_000;
const PAUSE: Duration = Duration::from_millis(1);
/// The pause before each of the first ones, after which the clock moves on.
const SHORT: Duration = Duration::from_micros(100);
const SHORT_ONES: u32 = 100;

thread_local! {
    /// The number of this thread in its simulation.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    /// Set while this thread is in this module: its own locks are the real ones.
    static IS_SWITCHING: Cell<bool> = const { Cell::new(false) };
}

/// The reason why a thread does not run.
#[derive(Clone, Debug)]
enum Wait {
    /// It can run.
    None,
    /// The thread of the simulation has given the turn to a host.
    Idle,
    Futex {
        address: usize,
        expected: u32,
        until: Option<u64>,
    },
    Poller(PollerId),
    /// For one of several pollers.
    Pollers {
        pollers: Arc<[PollerId]>,
        until: Option<u64>,
    },
    Thread(ThreadId),
    Sleep {
        until: u64,
    },
    Ended,
}

#[derive(Debug)]
struct SimThread {
    host: HostId,
    wait: Wait,
    timed_out: bool,
    id: Option<ThreadId>,
    /// True if it has passed its turn on within an access, and others go first.
    is_behind: bool,
    turn: Arc<Turn>,
}

impl SimThread {
    fn new(host: HostId) -> Self {
        let (wait, timed_out, id, is_behind) = (Wait::None, false, None, false);
        Self { host, wait, timed_out, id, is_behind, turn: Arc::default() }
    }

    /// Returns when its wait ends by itself.
    fn until(&self) -> Option<u64> {
        match self.wait {
            Wait::Futex { until, .. } | Wait::Pollers { until, .. } => until,
            Wait::Sleep { until } => Some(until),
            _ => None,
        }
    }
}

/// The turn of a thread.
#[derive(Debug, Default)]
struct Turn {
    is_given: Mutex<bool>,
    changed: Condvar,
}

impl Turn {
    fn give(&self) {
        *locked(&self.is_given) = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let given = locked(&self.is_given);
        let mut given =
            self.changed.wait_while(given, |given| !*given).unwrap_or_else(PoisonError::into_inner);
        *given = false;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads of a simulation.
#[derive(Debug)]
pub(super) struct Threads(Mutex<State>);

#[derive(Debug)]
struct State {
    random: u64,
    /// True if a thread stays behind that passes its turn on within an access.
    stays_behind: bool,
    threads: Vec<SimThread>,
}

impl Threads {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = State { random: seed | 1, stays_behind: false, threads: vec![SimThread::new(0)] };
        // The first numbers of small seeds are alike.
        (0..3).for_each(|_| state.stays_behind = state.draw_below(2) == 0);
        Self(Mutex::new(state))
    }
}

impl State {
    fn draw_below(&mut self, end: usize) -> usize {
        let x = self.random ^ self.random << 13;
        let x = x ^ x >> 7;
        self.random = x ^ x << 17;
        ((u128::from(self.random) * end as u128) >> 64) as usize
    }

    /// Draws one of the threads of a host that can run. Without one it is the thread of the simulation, if that is idle.
    fn next(&mut self, host: HostId) -> Option<usize> {
        let can_run = |(number, thread): (usize, &SimThread)| {
            let is_here = number == DRIVER || thread.host == host;
            (is_here && matches!(thread.wait, Wait::None)).then_some(number)
        };
        let mut runnable: Vec<usize> = self.threads.iter().enumerate().filter_map(can_run).collect();
        if runnable.iter().any(|&number| !self.threads[number].is_behind) {
            runnable.retain(|&number| !self.threads[number].is_behind);
        }
        match runnable.len() {
            0 => matches!(self.threads[DRIVER].wait, Wait::Idle).then_some(DRIVER),
            count => {
                let next = runnable[self.draw_below(count)];
                self.threads[next].is_behind = false;
                Some(next)
            }
        }
    }

    /// Lets every thread of a host run whose wait has ended. `probes`: also by a thread outside of the simulation.
    fn end_waits(&mut self, world: &World, host: HostId, probes: bool) {
        let ended: Vec<ThreadId> =
            self.threads.iter().filter(|t| matches!(t.wait, Wait::Ended)).filter_map(|t| t.id).collect();
        for (number, thread) in self.threads.iter_mut().enumerate() {
            if number != DRIVER && thread.host != host {
                continue;
            }
            let is_late = thread.until().is_some_and(|until| world.now >= until);
            let (is_over, timed_out) = match &thread.wait {
                Wait::Poller(poller) => (world.wakes(*poller), false),
                Wait::Pollers { pollers, .. } => {
                    (is_late || pollers.iter().any(|poller| world.wakes(*poller)), is_late)
                }
                Wait::Futex { address, expected, .. } => {
                    (is_late || probes && interpose::has_changed(*address, *expected), is_late)
                }
                Wait::Thread(id) => (ended.contains(id), false),
                Wait::Sleep { .. } => (is_late, is_late),
                _ => (false, false),
            };
            if is_over {
                (thread.wait, thread.timed_out) = (Wait::None, timed_out);
            }
        }
    }
}

/// Runs `call` as code of this module. Returns `None` for a thread that is in no simulation, or in this module already.
fn within<T>(call: impl FnOnce(&Kernel, usize) -> T) -> Option<T> {
    let own = OWN.try_with(Cell::get).ok().flatten()?;
    if IS_SWITCHING.replace(true) {
        return None;
    }
    let result = current().map(|kernel| call(&kernel, own));
    IS_SWITCHING.set(false);
    result
}

impl Kernel {
    /// Gives the turn to another thread, and waits for the next one.
    fn switch(&self, own: usize, next: usize, state: MutexGuard<'_, State>) {
        if own == next {
            return;
        }
        let (own_turn, next_turn) = (state.threads[own].turn.clone(), state.threads[next].turn.clone());
        drop(state);
        next_turn.give();
        own_turn.wait();
        self.lock().show_time();
    }

    /// Waits until the wait is over, while others run. Returns whether its time is over.
    fn wait_as(&self, own: usize, wait: Wait) -> bool {
        let mut state = locked(&self.threads.0);
        let sleeps = matches!(wait, Wait::Sleep { .. });
        (state.threads[own].wait, state.threads[own].timed_out) = (wait, false);
        drop(state);
        for round in 0..LOOKS {
            let world = self.lock();
            let mut state = locked(&self.threads.0);
            state.end_waits(&world, world.current, round > 0);
            let next = state.next(world.current);
            let event = world.next_event(world.current);
            drop(world);
            if let Some(next) = next {
                self.switch(own, next, state);
                return locked(&self.threads.0).threads[own].timed_out;
            }
            // The thread of the simulation waits, too: nothing but the time ends a wait, or a thread outside that has a lock.
            let until = state.threads.iter().filter_map(SimThread::until).min();
            drop(state);
            match until {
                Some(until) if round > 0 || sleeps => self.lock().advance_to(until),
                _ if round < SHORT_ONES => thread::sleep(SHORT),
                _ => match event {
                    Some(event) => self.lock().advance_to(event),
                    None => thread::sleep(PAUSE),
                },
            }
        }
        self.abort_for_wait();
    }

    /// Ends the process: the wait is in a call of the C library, from which no panic may come.
    fn abort_for_wait(&self) -> ! {
        let host = self.lock().current;
        let threads = self.describe_threads(host);
        let name = self.lock().name_of(host);
        let text = format!(
            "netpoll: host {name:?} of a simulation waits without `.await`, for a lock, a channel or a thread, and no thread \
             of it can go on; await, or wait in `spawn_blocking`\n{threads}"
        );
        // Without the lock of the stream, which may be the one that is waited for.
        let _ = rustix::io::write(io::stderr(), text.as_bytes());
        std::process::abort();
    }

    /// Returns whether a thread of the host can run.
    pub fn has_runnable_thread(&self, world: &World, host: HostId) -> bool {
        let mut state = locked(&self.threads.0);
        state.end_waits(world, host, false);
        let mut others = state.threads[DRIVER + 1..].iter();
        others.any(|thread| thread.host == host && matches!(thread.wait, Wait::None))
    }

    /// Describes the threads of a host, one a line.
    pub fn describe_threads(&self, host: HostId) -> String {
        let state = locked(&self.threads.0);
        let own = state.threads.iter().enumerate().skip(DRIVER + 1);
        let running = own.filter(|(_, thread)| thread.host == host && !matches!(thread.wait, Wait::Ended));
        running.map(|(number, thread)| format!("  thread {number}: {:?}\n", thread.wait)).collect()
    }

    /// Returns whether the host that runs has threads beside that of the simulation.
    pub(super) fn has_threads(&self) -> bool {
        let host = self.lock().current;
        let runs = |thread: &SimThread| thread.host == host && !matches!(thread.wait, Wait::Ended);
        locked(&self.threads.0).threads[DRIVER + 1..].iter().any(runs)
    }

    /// Lets the threads of a host run until none can.
    pub fn run_threads(&self, host: HostId) {
        let has_runnable = self.has_runnable_thread(&self.lock(), host);
        if has_runnable {
            within(|kernel, own| kernel.wait_as(own, Wait::Idle));
        }
    }

    /// Returns the next time at which a wait of a thread ends.
    pub fn next_timeout(&self) -> Option<u64> {
        locked(&self.threads.0).threads.iter().filter_map(SimThread::until).min()
    }

    /// Returns whether the calling thread is one of a host, and not that of the simulation.
    pub(in crate::sys) fn is_own_thread(&self) -> bool {
        OWN.get().is_some_and(|own| own != DRIVER)
    }

    /// Waits until a poller would return something.
    pub(in crate::sys) fn wait_for_poller(&self, poller: PollerId) {
        within(|kernel, own| kernel.wait_as(own, Wait::Poller(poller)));
    }

    /// Waits until one of several pollers would return something, or the time is over. Returns which would.
    ///
    /// # Panics
    ///
    /// Panics on the thread of the simulation, which waits only in its own step.
    pub(in crate::sys) fn wait_for_pollers(
        &self,
        pollers: &[PollerId],
        timeout: Option<Duration>,
    ) -> Vec<bool> {
        let is_over = timeout == Some(Duration::ZERO);
        assert!(is_over || self.is_own_thread(), "{}", super::readiness::WAITS_FOR_EVER);
        if !is_over {
            let until = timeout.map(|timeout| self.lock().tick_after(timeout));
            within(|kernel, own| kernel.wait_as(own, Wait::Pollers { pollers: pollers.into(), until }));
        }
        let world = self.lock();
        pollers.iter().map(|poller| world.wakes(*poller)).collect()
    }

    /// Lets other threads run; at a poll that does not wait also other hosts.
    pub(in crate::sys) fn pause(&self) {
        within(|kernel, own| {
            let mut state = locked(&kernel.threads.0);
            let host = if own == DRIVER { kernel.lock().current } else { state.threads[own].host };
            let hands_back = matches!(state.threads[DRIVER].wait, Wait::Idle) && state.draw_below(4) == 0;
            // What it waits for may be up to a thread that is behind.
            state.threads[own].is_behind = state.stays_behind;
            let next = if hands_back { Some(DRIVER) } else { state.next(host) };
            kernel.switch(own, next.unwrap_or(own), state);
        });
    }
}

/// Makes this thread the one of a simulation, or ends that.
pub(super) fn set_driver(is_driver: bool) {
    OWN.set(is_driver.then_some(DRIVER));
    // The first thread that a host starts sets it: until then the turn cannot pass on.
    seam::set(None);
}

/// Passes the turn on, sometimes, before an access to a shared word.
fn reach() {
    within(|kernel, own| {
        // Not within the simulated kernel, which the other thread would need.
        let Ok(world) = kernel.world.try_lock() else { return };
        let host = world.current;
        drop(world);
        let mut state = locked(&kernel.threads.0);
        let stride = if state.stays_behind { LONG_STRIDE } else { STRIDE };
        if state.threads.len() > 1 && state.draw_below(stride) == 0 {
            state.threads[own].is_behind = state.stays_behind;
            if let Some(next) = state.next(host) {
                kernel.switch(own, next, state);
            }
        }
    });
}

/// Waits for a word of futex(2) to change. Returns whether the time is over, or `None` if this thread is in no simulation.
pub(super) fn wait_for_futex(address: usize, expected: u32, until: Option<u64>) -> Option<bool> {
    within(|kernel, own| {
        let changed = interpose::has_changed(address, expected);
        // A panic of this thread within the simulated kernel, or a thread outside, has the state. std looks at its word again.
        if matches!(kernel.world.try_lock(), Err(TryLockError::WouldBlock)) {
            thread::sleep(SHORT);
            return false;
        }
        !changed && kernel.wait_as(own, Wait::Futex { address, expected, until })
    })
}

/// Waits until a time, while other threads of the host run. Returns whether this thread is in a simulation.
pub(super) fn sleep_until(until: u64) -> bool {
    within(|kernel, own| kernel.wait_as(own, Wait::Sleep { until })).is_some()
}

/// Lets threads run that wait for a word, at most `count`. Returns how many.
pub(super) fn wake_futex(address: usize, count: usize) -> usize {
    let wake = |kernel: &Kernel, _| {
        let mut state = locked(&kernel.threads.0);
        let waits = |thread: &&mut SimThread| matches!(thread.wait, Wait::Futex { address: other, .. } if other == address);
        let woken = state.threads.iter_mut().filter(waits).take(count);
        woken.map(|thread| thread.wait = Wait::None).count()
    };
    within(wake).unwrap_or(0)
}

/// Lets another thread run, for sched_yield(2). Returns whether this thread is in a simulation.
pub(super) fn yield_now() -> bool {
    let is_here = OWN.get().is_some() && !IS_SWITCHING.get();
    if let Some(kernel) = current().filter(|_| is_here) {
        kernel.pause();
    }
    is_here
}

/// Waits until a thread has ended that a host has started: from then on it may be joined.
pub fn wait_for_end(id: ThreadId) {
    within(|kernel, own| {
        let state = locked(&kernel.threads.0);
        // One without an identity has not begun.
        let may_run = |t: &SimThread| t.id.is_none_or(|own| own == id) && !matches!(t.wait, Wait::Ended);
        if state.threads[DRIVER + 1..].iter().any(may_run) {
            drop(state);
            kernel.wait_as(own, Wait::Thread(id));
        }
    });
}

/// Returns the body of a thread that the calling one is about to start. In a simulation the thread belongs to the host that
/// runs, and waits for its turn first.
pub fn thread_body(body: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
    let entry = current().filter(|_| OWN.get().is_some()).map(|kernel| {
        let (host, random) = {
            let mut world = kernel.lock();
            (world.current, world.draw())
        };
        IS_SWITCHING.set(true);
        let mut state = locked(&kernel.threads.0);
        let thread = SimThread::new(host);
        let turn = thread.turn.clone();
        state.threads.push(thread);
        let number = state.threads.len() - 1;
        drop(state);
        IS_SWITCHING.set(false);
        // The first one is started by the thread of the simulation.
        seam::set(Some(reach));
        (kernel, number, random, turn)
    });
    move || {
        let _leave = entry.map(|(kernel, number, random, turn)| {
            IS_SWITCHING.set(true);
            turn.wait();
            locked(&kernel.threads.0).threads[number].id = Some(thread::current().id());
            let inside = kernel.enter_with(random);
            OWN.set(Some(number));
            seam::set(Some(reach));
            IS_SWITCHING.set(false);
            Leave(kernel, number, Some(inside))
        });
        body();
    }
}

/// Gives the turn of a thread away that ends.
struct Leave(Arc<Kernel>, usize, Option<super::InSimulation>);

impl Drop for Leave {
    fn drop(&mut self) {
        IS_SWITCHING.set(true);
        seam::set(None);
        OWN.set(None);
        let Self(kernel, own, inside) = self;
        let mut state = locked(&kernel.threads.0);
        state.threads[*own].wait = Wait::Ended;
        drop(state);
        let world = kernel.lock();
        let mut state = locked(&kernel.threads.0);
        state.end_waits(&world, world.current, false);
        // The thread of the simulation waits for this one, or is idle.
        let next = state.next(world.current).unwrap_or(DRIVER);
        let turn = state.threads[next].turn.clone();
        drop((state, world));
        drop(inside.take());
        turn.give();
    }
}
