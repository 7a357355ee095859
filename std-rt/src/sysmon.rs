//! The monitor of the workers, a thread of its own (Go's `sysmon`).
//!
//! A task that does not yield holds its worker. The monitor keeps that from harming other tasks: it polls when no worker has
//! polled for 10 ms, and moves the tasks in the queue of such a worker to the others. It also reports such tasks: a worker
//! counts its tasks, and while the count stands still it runs the same one. Only the monitor reads a clock for that.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::foreign;
use crate::netpoll::PollBuffer;
use crate::sched::{Sched, SchedHandle, StealBuffer};
use crate::task::TaskName;

/// The time between two looks of the monitor while a worker is busy: the network is polled at least that often. After a worker
/// has woken the monitor, the next look comes after this time, too.
const INTERVAL: Duration = Duration::from_millis(10);

/// The longest sleep of the monitor while every worker sleeps. The first worker that wakes up wakes the monitor; this bounds
/// the harm if the two miss each other.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// The looks that find a worker asleep in a poller while another one is awake, after which the poller's descriptors are checked.
const SLEPT_LOOKS: usize = 100;

/// Watches the workers of a scheduler until it is shut down.
pub fn run(sched: &Arc<SchedHandle>, stuck_after: Duration, on_stuck: OnStuck) {
    let _entered = sched.enter();
    sched.set_sysmon(thread::current());
    let netpoll = sched.netpoll();
    // The stack may be of the smallest size that the system allows.
    let (mut buffer, steal_buffer) = (Box::<PollBuffer>::default(), StealBuffer::new());
    let mut watch = Watch::new(sched, stuck_after, on_stuck);
    let mut polls: Vec<_> = (0..netpoll.pollers()).map(|poller| netpoll.polls_of(poller)).collect();
    let (mut woken, mut slept) = (false, 0);
    while !sched.is_closed() {
        let all_sleep = || sched.idle().num_parked() == sched.workers();
        // Workers with little to do sleep and wake up all the time. They wake the monitor once in an interval at most.
        if all_sleep() && !woken {
            sched.sysmon_sleeps();
            // A worker that has woken up since may not have seen that.
            thread::park_timeout(if all_sleep() { IDLE_INTERVAL } else { INTERVAL });
            woken = sched.sysmon_was_woken();
            // A worker that sleeps does not learn that its poller's descriptors were closed.
            netpoll.check_descriptors();
        } else {
            thread::park_timeout(INTERVAL);
            woken = false;
        }
        // The tasks of the only worker can go to no other.
        let alone = sched.workers() == 1;
        watch.look(sched, |worker| {
            if !alone {
                sched.take_over_queue(worker, &steal_buffer);
            }
        });
        if alone {
            continue;
        }
        if sched.has_next() || sched.has_work() {
            // A task is in the slot or the ring of a worker that may be busy with another one: no worker was woken for it.
            sched.wake_one();
            // The worker in whose naps tasks have come may be busy too. If it is not, it soon naps again.
            sched.wake_rule().set_stream(false);
        }
        for (poller, polls) in polls.iter_mut().enumerate() {
            let seen = std::mem::replace(polls, netpoll.polls_of(poller));
            if *polls == seen && !all_sleep() {
                slept += usize::from(!poll(sched, poller, &mut buffer));
                *polls = netpoll.polls_of(poller);
            }
        }
        if slept >= SLEPT_LOOKS {
            // A worker sleeps in a poller while another one is awake. Or all sleep, one of them although it was woken: a break
            // is lost that is written just before its descriptor is closed by its number, and no other one is written after it.
            slept = 0;
            netpoll.check_descriptors();
        }
    }
}

/// Polls a poller that no worker polls or sleeps in, and wakes a worker to go on. Returns false if a worker does.
fn poll(sched: &Sched, poller: usize, buffer: &mut PollBuffer) -> bool {
    let Some(guard) = sched.netpoll().try_lock_of(poller, sched.workers()) else { return false };
    // A worker reports an error: it polls the same descriptor.
    let _ = guard.poll(buffer);
    sched.inject(buffer);
    // A worker that went to sleep while this thread held the poller's lock sleeps elsewhere, so no thread polls.
    sched.wake_one();
    true
}

/// A task that has held its worker for longer than [`Builder::stuck_after`](crate::Builder::stuck_after) and may do so
/// still.
///
/// Its worker cannot be taken away from it. Until it returns, the other workers do all the work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckTask {
    /// Its name, if it was spawned with one.
    pub name: Option<Arc<str>>,
    /// The call of `spawn`.
    pub location: &'static Location<'static>,
    /// The worker's number.
    pub worker: usize,
    /// The time for which it has held the worker, which may be up to 10 ms more.
    pub held_for: Duration,
}

impl fmt::Display for StuckTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task \"{name}\"")?,
            None => f.write_str("a task")?,
        }
        let Self { location, worker, held_for, .. } = self;
        write!(f, " spawned at {location} has held worker {worker} for {held_for:.1?}")
    }
}

/// The callback of [`Builder::on_stuck`](crate::Builder::on_stuck), if there is one.
#[derive(Clone, Default)]
pub struct OnStuck {
    report: Option<Arc<Callback>>,
}

type Callback = dyn Fn(&StuckTask) + Send + Sync;

impl OnStuck {
    /// Creates the value for a callback.
    pub fn new(report: impl Fn(&StuckTask) + Send + Sync + 'static) -> Self {
        Self { report: Some(Arc::new(report)) }
    }

    fn tell(&self, task: &StuckTask) {
        if let Some(report) = &self.report {
            // If the callback panics, the monitor goes on.
            foreign::catch_panic(|| report(task));
        }
    }

    /// Returns whether there is a callback.
    pub fn is_set(&self) -> bool {
        self.report.is_some()
    }
}

impl fmt::Debug for OnStuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnStuck").field("set", &self.is_set()).finish()
    }
}

/// The state of a worker at the last look at which it had changed.
struct Seen {
    tick: usize,
    since: Instant,
    told: bool,
}

/// The watch for stuck tasks.
struct Watch {
    seen: Vec<Seen>,
    after: Duration,
    report: OnStuck,
}

impl Watch {
    fn new(sched: &Sched, after: Duration, report: OnStuck) -> Self {
        let seen =
            |worker| Seen { tick: sched.worker(worker).stats.tick(), since: Instant::now(), told: false };
        Self { seen: (0..sched.workers()).map(seen).collect(), after, report }
    }

    /// Looks at every worker; calls `held` with those that have run the same task since the last look.
    fn look(&mut self, sched: &Sched, mut held: impl FnMut(usize)) {
        let now = Instant::now();
        for (worker, seen) in self.seen.iter_mut().enumerate() {
            let tick = sched.worker(worker).stats.tick();
            let Some(TaskName { name, location }) = sched.running(worker).filter(|_| tick == seen.tick)
            else {
                *seen = Seen { tick, since: now, told: false };
                continue;
            };
            held(worker);
            let held_for = now.saturating_duration_since(seen.since);
            // The name read above is that of the stuck task only if no other task began meanwhile.
            if seen.told || held_for < self.after || sched.worker(worker).stats.tick() != tick {
                continue;
            }
            seen.told = true;
            sched.counts().stuck.inc();
            self.report.tell(&StuckTask { name, location, worker, held_for });
        }
    }
}
