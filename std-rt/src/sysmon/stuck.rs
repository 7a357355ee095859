//! Tasks that hold their worker for too long.
//!
//! A worker counts its tasks. While the count stands still it runs the same one, and the backstop, which looks at it
//! every 10 ms, is the only one who looks at a clock for that.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::foreign;
use crate::sched::{Sched, TaskName};

/// A task that has held its worker for longer than [`Builder::stuck_after`](crate::Builder::stuck_after) and may do so
/// still.
///
/// Nobody can take the worker from it. Until it returns, the other workers do all the work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckTask {
    /// Its name, if it was spawned with one.
    pub name: Option<Arc<str>>,
    /// The call of `spawn`.
    pub location: &'static Location<'static>,
    /// The worker's number.
    pub worker: usize,
    /// For how long it has held it: up to 10 ms more than this.
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

/// Who is told, if anybody.
#[derive(Clone, Default)]
pub struct OnStuck {
    report: Option<Arc<Callback>>,
}

type Callback = dyn Fn(&StuckTask) + Send + Sync;

impl OnStuck {
    /// Tells `report`.
    pub fn new(report: impl Fn(&StuckTask) + Send + Sync + 'static) -> Self {
        Self { report: Some(Arc::new(report)) }
    }

    fn tell(&self, task: &StuckTask) {
        if let Some(report) = &self.report {
            // If it panics the backstop goes on.
            foreign::catch_panic(|| report(task));
        }
    }

    /// Somebody is told.
    pub fn is_set(&self) -> bool {
        self.report.is_some()
    }
}

impl fmt::Debug for OnStuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnStuck").field("set", &self.is_set()).finish()
    }
}

/// What was last seen of a worker.
struct Seen {
    tick: usize,
    since: Instant,
    told: bool,
}

/// Watches the workers.
pub(super) struct Watch {
    seen: Vec<Seen>,
    after: Duration,
    report: OnStuck,
}

impl Watch {
    pub(super) fn new(sched: &Sched, after: Duration, report: OnStuck) -> Self {
        let seen =
            |worker| Seen { tick: sched.worker(worker).stats.tick(), since: Instant::now(), told: false };
        Self { seen: (0..sched.workers()).map(seen).collect(), after, report }
    }

    /// Looks at every worker, every 10 ms; calls `held` with those that have run the same task since the last look.
    pub(super) fn look(&mut self, sched: &Sched, mut held: impl FnMut(usize)) {
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
            // What was read above is that task's if it is the one that ran before.
            if seen.told || held_for < self.after || sched.worker(worker).stats.tick() != tick {
                continue;
            }
            seen.told = true;
            sched.counts().stuck.inc();
            self.report.tell(&StuckTask { name, location, worker, held_for });
        }
    }
}
