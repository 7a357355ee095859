//! The measurements of one thread, and which is where.

use std::sync::Arc;

use netpoll_rt::{Runtime, spawn, yield_now};

use crate::report::{time_samples, unsupported};
use crate::sync::Baton;
use crate::{Options, multi, runtime, timers};

/// What a measurement is given.
pub struct Micro {
    pub bench: String,
    /// Operations in a sample.
    pub n: u64,
    pub samples: usize,
    /// Microseconds of a sleep.
    pub us: u64,
}

impl Micro {
    /// Times `sample` on a runtime.
    pub fn time(&self, runtime: &Runtime, sample: impl AsyncFn(u64)) {
        time_samples(&self.bench, self.samples, self.n, || runtime.block_on(sample(self.n)));
    }
}

/// Operations that make a sample last some tens of milliseconds.
fn usual_n(bench: &str) -> u64 {
    match bench {
        "mt_ping_pong" => 200_000,
        "timer_fire" => 100_000,
        "sleep" => 500,
        _ => 1_000_000,
    }
}

pub fn run(options: &Options) -> Result<(), String> {
    let bench = options.get("bench", String::new())?;
    let n = options.get("n", usual_n(&bench))?;
    let samples = options.get("samples", if bench == "sleep" { 1 } else { 3 })?;
    let micro = Micro { n, samples, us: options.get("us", 50)?, bench };
    match micro.bench.as_str() {
        "spawn_seq" => micro.time(&runtime(1)?, spawn_seq),
        "spawn_batch" => micro.time(&runtime(1)?, spawn_batch),
        "yield_many" => micro.time(&runtime(1)?, yield_many),
        "pingpong_baton" => micro.time(&runtime(1)?, pingpong_baton),
        "mt_spawn_many" => micro.time(&runtime(2)?, multi::spawn_many),
        "mt_yield_many" => micro.time(&runtime(2)?, async |n| finished(spawn(yield_many(n))).await),
        "mt_ping_pong" => micro.time(&runtime(2)?, multi::ping_pong),
        "mt_chained_spawn" => micro.time(&runtime(2)?, multi::chained_spawn),
        "timer_churn" => timers::churn(&micro, &runtime(1)?),
        "timer_fire" => timers::fire(&micro)?,
        "sleep" => timers::lone_sleep(&micro, &runtime(1)?),
        other => unsupported(other),
    }
    Ok(())
}

/// The value of a task of ours, none of which panics or is aborted.
pub async fn finished<T>(task: netpoll_rt::JoinHandle<T>) -> T {
    task.await.expect("a task of a measurement ended early")
}

async fn spawn_seq(n: u64) {
    for _ in 0..n {
        finished(spawn(async {})).await;
    }
}

async fn spawn_batch(n: u64) {
    let mut batch = Vec::with_capacity(1000);
    for _ in 0..n / 1000 {
        batch.extend((0..1000).map(|_| spawn(async {})));
        for task in batch.drain(..) {
            finished(task).await;
        }
    }
}

async fn yield_many(n: u64) {
    let tasks = (0..200).map(|_| {
        spawn(async move {
            for _ in 0..n / 200 {
                yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        finished(task).await;
    }
}

async fn pingpong_baton(n: u64) {
    let baton = Arc::new(Baton::default());
    let party = |party| {
        let baton = baton.clone();
        spawn(async move { baton.play(party, n).await })
    };
    let (first, second) = (party(0), party(1));
    finished(first).await;
    finished(second).await;
}
