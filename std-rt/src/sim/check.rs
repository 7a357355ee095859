//! Many seeds: [`Sim::check`].

use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::{env, thread};

use super::{Result, Sim};
use crate::sync::{Mutex, lock};

/// The variable with the one seed that [`Sim::check`] runs.
const SEED: &str = "NETPOLL_SIM_SEED";

/// The variable with the number of seeds that [`Sim::check`] runs.
const SEEDS: &str = "NETPOLL_SIM_SEEDS";

impl Sim {
    /// Runs a simulation with each of the seeds 0 to `seeds` - 1, on as many threads as the process may use CPUs. `body` adds
    /// hosts, runs the simulation and looks at the outcome.
    ///
    /// The environment variable `NETPOLL_SIM_SEEDS` sets another number of seeds; with `NETPOLL_SIM_SEED` only that one runs.
    ///
    /// ```
    /// use netpoll_rt::sim::Sim;
    /// use netpoll_rt::time;
    /// use std::time::Duration;
    ///
    /// Sim::check(100, |sim| {
    ///     sim.client("one", async {
    ///         time::sleep(Duration::from_secs(3600)).await;
    ///         Ok(())
    ///     });
    ///     sim.run()?;
    ///     Ok(())
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `body` returns an error or panics with a seed. The message has the smallest seed that was seen to fail, and
    /// the variable that repeats it.
    #[track_caller]
    pub fn check(seeds: u64, body: impl Fn(&mut Sim) -> Result + Sync) {
        if let Some(seed) = variable(SEED) {
            if let Err(what) = run(seed, &body) {
                panic!("seed {seed} fails: {what}");
            }
            return;
        }
        let seeds = variable(SEEDS).unwrap_or(seeds);
        let progress = Mutex::new(Progress::default());
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    // The lock is not held while a seed runs.
                    let next = || lock(&progress).take(seeds);
                    while let Some(seed) = next() {
                        let outcome = run(seed, &body);
                        lock(&progress).record(seed, outcome);
                    }
                });
            }
        });
        if let Some((seed, what)) = lock(&progress).failed.take() {
            panic!("seed {seed} of {seeds} fails; run this test with {SEED}={seed} to repeat it: {what}");
        }
    }
}

/// The seeds that have run.
#[derive(Default)]
struct Progress {
    next: u64,
    /// The smallest seed that has failed, and why.
    failed: Option<(u64, String)>,
}

impl Progress {
    /// Returns the next seed, unless there is none or one has failed.
    fn take(&mut self, seeds: u64) -> Option<u64> {
        let seed = Some(self.next).filter(|seed| *seed < seeds && self.failed.is_none());
        self.next += u64::from(seed.is_some());
        seed
    }

    fn record(&mut self, seed: u64, outcome: std::result::Result<(), String>) {
        if let Err(what) = outcome
            && self.failed.as_ref().is_none_or(|(smallest, _)| seed < *smallest)
        {
            self.failed = Some((seed, what));
        }
    }
}

/// Runs one seed on a thread of its own, whose hash maps have the keys of the seed.
fn run(seed: u64, body: &(impl Fn(&mut Sim) -> Result + Sync)) -> std::result::Result<(), String> {
    let one = || {
        let mut sim = Sim::new(seed);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| body(&mut sim)));
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(payload) => Err(text(&*payload)),
        }
    };
    thread::scope(|scope| scope.spawn(one).join()).unwrap_or_else(|payload| Err(text(&*payload)))
}

/// Returns the message of a panic.
fn text(payload: &(dyn std::any::Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// Returns the number in a variable.
///
/// # Panics
///
/// Panics if it is not a number: a run with another seed would mislead.
fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: must be a number from 0 to 2^64 - 1")))
}
