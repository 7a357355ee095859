//! The load under injected faults: `cargo xtask sim --faults N` runs seeds until N faults have happened, and prints how many of
//! each kind there were. Every byte is compared, and no wait may last: a simulation that can do nothing any more fails.
//!
//! | scenario | faults | what is allowed |
//! |---|---|---|
//! | hidden | all that a program does not see, often; links that lose, double and reorder; partitions, stops, delays | nothing: every exchange ends in full |
//! | visible | those, and `EMFILE`, `ENOBUFS`, `ENOMEM`, `ECONNABORTED` | a call that is repeated; a connection that is reset before its first byte |
//! | crashes | the same, and the server crashes | a connection that is reset, and what was read until then is right |

mod cases;
mod hosts;

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use netpoll_rt::sim::{FaultCounts, FaultKind, Faults, Link, Sim};

/// The faults that the kinds of a full run are judged by.
const FULL: u64 = 20_000_000;

/// The fewest of each kind in a full run.
const FEWEST: u64 = 10_000;

/// The virtual time of a seed after which it counts as one that hangs.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// The number of faults without the variable.
const DEFAULT: u64 = 50_000;

/// The faults of a seed, and the ends of a connection that are allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scenario {
    Hidden,
    Visible,
    Crashes,
}

impl Scenario {
    fn of(seed: u64) -> Self {
        [Self::Hidden, Self::Visible, Self::Crashes][(seed % 3) as usize]
    }

    fn faults(self) -> Faults {
        let often = Faults { interrupt: 0.08, again: 0.2, short: 0.5, merge: 0.2, ..Faults::ALL };
        match self {
            Self::Hidden => Faults { exhaust: 0.0, abort: 0.0, no_buffers: 0.0, no_memory: 0.0, ..often },
            Self::Visible | Self::Crashes => {
                Faults { exhaust: 0.05, abort: 0.2, no_buffers: 0.02, no_memory: 0.02, ..often }
            }
        }
    }
}

/// Runs one seed; returns its faults.
fn run(seed: u64) -> Result<FaultCounts, String> {
    let body = || {
        let scenario = Scenario::of(seed);
        let mut sim = Sim::new(seed);
        sim.set_faults(scenario.faults());
        let jitter = Duration::from_millis(seed % 5);
        sim.set_links(Link { jitter, loss: 0.05, duplicate: 0.05, reorder: true, ..Link::LAN });
        hosts::add(&mut sim, scenario);
        sim.limit(LIMIT);
        let outcome = sim.run();
        outcome.map(|()| sim.fault_counts()).map_err(|failure| failure.to_string())
    };
    // A thread of its own has the hash maps of the seed.
    thread::scope(|scope| {
        let thread = scope.spawn(|| panic::catch_unwind(AssertUnwindSafe(body)));
        match thread.join() {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(payload)) | Err(payload) => {
                let text = payload.downcast_ref::<String>().cloned();
                Err(text
                    .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_default())
            }
        }
    })
}

/// The seeds that have run.
#[derive(Default)]
struct Load {
    seeds: u64,
    counts: FaultCounts,
    failures: Vec<(u64, String)>,
}

impl Load {
    /// Returns the next seed, unless there were enough faults or one has failed.
    fn next(&mut self, wanted: u64) -> Option<u64> {
        if self.counts.total() >= wanted || !self.failures.is_empty() {
            return None;
        }
        self.seeds += 1;
        Some(self.seeds - 1)
    }

    fn record(&mut self, seed: u64, outcome: Result<FaultCounts, String>) {
        match outcome {
            Ok(counts) => self.counts.add(&counts),
            Err(what) => self.failures.push((seed, what)),
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect(name))
}

#[test]
fn nothing_is_lost_and_nothing_hangs_under_injected_faults() {
    if let Some(seed) = variable("NETPOLL_SIM_SEED") {
        let counts = run(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        return print!("{counts}");
    }
    let wanted = variable("NETPOLL_SIM_FAULTS").unwrap_or(DEFAULT);
    let start = Instant::now();
    let load = Mutex::new(Load::default());
    let work = || {
        loop {
            let Some(seed) = load.lock().unwrap().next(wanted) else { return };
            let outcome = run(seed);
            load.lock().unwrap().record(seed, outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let Load { seeds, counts, failures } = load.into_inner().unwrap();
    print!("{counts}");
    println!(
        "load: {} faults in {} seeds, {} failed, {:.0} s",
        counts.total(),
        seeds,
        failures.len(),
        start.elapsed().as_secs_f64()
    );
    if let Some((seed, what)) = failures.first() {
        panic!("seed {seed} fails; NETPOLL_SIM_SEED={seed} repeats it: {what}");
    }
    for kind in FaultKind::ALL {
        let fewest = (FEWEST * wanted).div_ceil(FULL);
        assert!(counts.of(kind) >= fewest, "{kind}: {} faults, at least {fewest} expected", counts.of(kind));
    }
}
