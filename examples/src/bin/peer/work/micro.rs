//! The measurements of one thread, and which is where.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::line::line;
use super::options::Options;
use super::samples::time_samples;
use super::sync::Baton;
use super::{Form, Side, fire, multi, timers};

/// What a measurement is given.
pub struct Micro {
    pub bench: String,
    /// Operations in a sample.
    pub n: u64,
    pub samples: usize,
    /// Microseconds of a sleep, or of a period.
    pub us: u64,
    /// Microseconds between the phases of two timers.
    pub apart: u64,
    /// Timers that are armed all the time.
    pub outstanding: usize,
    /// How long periodic timers tick.
    pub length: Duration,
}

impl Micro {
    /// Times `sample` on a runtime of so many threads.
    fn time<S: Side>(&self, threads: usize, sample: impl AsyncFn(u64)) -> Result<(), String> {
        let runtime = S::runtime(threads).map_err(|error| error.to_string())?;
        time_samples(&self.bench, self.samples, self.n, || S::block_on(&runtime, sample(self.n)));
        Ok(())
    }
}

/// Operations that make a sample last some tens of milliseconds.
fn usual_n(bench: &str) -> u64 {
    match bench {
        "mt_ping_pong" => 200_000,
        "timer_fire" => 100_000,
        "cross_wake" => 20_000,
        "periodic" => 1000,
        "sleep" => 500,
        _ => 1_000_000,
    }
}

pub fn run<S: Side>(options: &Options) -> Result<(), String> {
    let bench = options.get("bench", String::new())?;
    let micro = Micro {
        n: options.get("n", usual_n(&bench))?,
        samples: options.get("samples", if bench == "sleep" { 1 } else { 3 })?,
        us: options.get("us", if bench == "periodic" { 100_000 } else { 50 })?,
        apart: options.get("apart", 1)?,
        outstanding: options.get("outstanding", 100_000)?,
        length: Duration::from_secs_f64(options.get("secs", 1.0)?),
        bench,
    };
    match micro.bench.as_str() {
        "spawn_seq" => micro.time::<S>(1, spawn_seq::<S>),
        "spawn_batch" => micro.time::<S>(1, spawn_batch::<S>),
        "yield_many" => micro.time::<S>(1, yield_many::<S>),
        "pingpong_baton" => micro.time::<S>(1, pingpong_baton::<S>),
        "mt_spawn_many" => micro.time::<S>(2, multi::spawn_many::<S>),
        "mt_yield_many" => micro.time::<S>(2, async |n| S::spawn(yield_many::<S>(n)).await),
        "mt_ping_pong" => micro.time::<S>(2, multi::ping_pong::<S>),
        "mt_chained_spawn" => micro.time::<S>(2, multi::chained_spawn::<S>),
        "cross_wake" => cross_wake::<S>(&micro),
        "timer_churn" => timers::churn::<S>(&micro),
        "timer_fire" => fire::fire::<S>(&micro),
        "sleep" => timers::lone_sleep::<S>(&micro),
        "periodic" => timers::periodic::<S>(&micro),
        "deadline_at" => timers::move_deadline::<S>(&micro, Form::At),
        "deadline_after" => timers::move_deadline::<S>(&micro, Form::After),
        other => {
            line(other, &[("unsupported", 1.0)]);
            Ok(())
        }
    }
}

async fn spawn_seq<S: Side>(n: u64) {
    for _ in 0..n {
        S::spawn(async {}).await;
    }
}

async fn spawn_batch<S: Side>(n: u64) {
    let mut batch = Vec::with_capacity(1000);
    for _ in 0..n / 1000 {
        batch.extend((0..1000).map(|_| S::spawn(async {})));
        for task in batch.drain(..) {
            task.await;
        }
    }
}

async fn yield_many<S: Side>(n: u64) {
    let tasks = (0..200).map(|_| {
        S::spawn(async move {
            for _ in 0..n / 200 {
                S::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await;
    }
}

async fn pingpong_baton<S: Side>(n: u64) {
    let baton = Arc::new(Baton::default());
    let party = |party| {
        let baton = baton.clone();
        S::spawn(async move { baton.play(party, n).await })
    };
    let (first, second) = (party(0), party(1));
    first.await;
    second.await;
}

/// Two runtimes of one thread each wake one another.
fn cross_wake<S: Side>(micro: &Micro) -> Result<(), String> {
    let runtimes = [S::runtime(1), S::runtime(1)].map(|made| made.map(drop));
    runtimes.into_iter().collect::<Result<(), _>>().map_err(|error| error.to_string())?;
    time_samples(&micro.bench, micro.samples, micro.n, || {
        let baton = Baton::default();
        let side = |party| {
            stand_on(party);
            let runtime = S::runtime(1).expect("the same was made a moment ago");
            S::block_on(&runtime, baton.play(party, micro.n));
        };
        thread::scope(|scope| {
            scope.spawn(|| side(0));
            scope.spawn(|| side(1));
        });
    });
    Ok(())
}

/// Ties this thread to the first or the second processor of those that the process may use. Where that cannot be done
/// the threads stay where the system puts them, and the line on the terminal says so.
fn stand_on(which: usize) {
    let tie = || -> Option<()> {
        let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let allowed = value("Cpus_allowed_list:")?.split(',').flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<usize>().unwrap_or(0)..=last.parse().unwrap_or(0)
        });
        let processor = allowed.take(2).nth(which)?.to_string();
        let done = Command::new("taskset").args(["-p", "-c", &processor, value("Pid:")?]).output().ok()?;
        done.status.success().then_some(())
    };
    if tie().is_none() {
        eprintln!("cross_wake: thread {which} has no processor of its own");
    }
}
