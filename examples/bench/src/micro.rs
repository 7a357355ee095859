//! The measurements by name, and those of one thread.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::peer::{Form, Peer};
use crate::process::{Options, allowed_processors, restrict_to};
use crate::samples::{print_line, time_samples};
use crate::sync::Baton;
use crate::{fire, multi, timers};

/// The parameters of a measurement.
pub struct Micro {
    pub bench: String,
    /// The operations in a sample.
    pub n: u64,
    pub samples: usize,
    /// The microseconds of a sleep, or of a period.
    pub us: u64,
    /// The microseconds between the phases of two timers.
    pub apart: u64,
    /// The number of timers that are armed all the time.
    pub outstanding: usize,
    /// The time for which periodic timers tick.
    pub length: Duration,
    /// The threads of the runtime in a storm.
    pub threads: usize,
}

impl Micro {
    /// Times `sample` on a runtime with this number of threads.
    fn time<P: Peer>(&self, threads: usize, sample: impl AsyncFn(u64)) -> Result<(), String> {
        let runtime = P::runtime(threads).map_err(|error| error.to_string())?;
        time_samples(&self.bench, self.samples, self.n, || P::block_on(&runtime, sample(self.n)));
        Ok(())
    }
}

/// Returns the number of operations with which a sample lasts some tens of milliseconds.
fn usual_n(bench: &str) -> u64 {
    match bench {
        "mt_ping_pong" => 200_000,
        "timer_fire" | "timer_spread" => 100_000,
        "blocking" => 10_000,
        "cross_wake" => 20_000,
        "periodic" => 1000,
        "sleep" => 500,
        _ => 1_000_000,
    }
}

pub fn run<P: Peer>(options: &Options) -> Result<(), String> {
    let bench = options.get("bench", String::new())?;
    let micro = Micro {
        n: options.get("n", usual_n(&bench))?,
        samples: options.get("samples", if bench == "sleep" { 1 } else { 3 })?,
        us: options.get("us", if bench == "periodic" { 100_000 } else { 50 })?,
        apart: options.get("apart", 1)?,
        outstanding: options.get("outstanding", 100_000)?,
        length: Duration::from_secs_f64(options.get("secs", 1.0)?),
        threads: options.get("threads", 2)?,
        bench,
    };
    match micro.bench.as_str() {
        "spawn_seq" => micro.time::<P>(1, spawn_seq::<P>),
        "spawn_batch" => micro.time::<P>(1, spawn_batch::<P>),
        "yield_many" => micro.time::<P>(1, yield_many::<P>),
        "pingpong_baton" => micro.time::<P>(1, pingpong_baton::<P>),
        "mt_spawn_many" => micro.time::<P>(2, multi::spawn_many::<P>),
        "mt_yield_many" => micro.time::<P>(2, async |n| P::spawn(yield_many::<P>(n)).await),
        "mt_ping_pong" => micro.time::<P>(2, multi::ping_pong::<P>),
        "mt_chained_spawn" => micro.time::<P>(2, multi::chained_spawn::<P>),
        "storm" => multi::storm::<P>(&micro),
        "cross_wake" => cross_wake::<P>(&micro),
        "timer_churn" => timers::churn::<P>(&micro),
        "timer_fire" => fire::fire::<P>(&micro),
        "sleep" => timers::lone_sleep::<P>(&micro),
        "periodic" => timers::periodic::<P>(&micro),
        "timer_spread" => timers::spread::<P>(&micro),
        "timer_memory" => timers::memory::<P>(&micro),
        "block_on_yield" => micro.time::<P>(1, block_on_yield::<P>),
        "blocking" => micro.time::<P>(1, async |n| blocking::<P>(n, Duration::from_micros(micro.us)).await),
        "deadline_at" => timers::move_deadline::<P>(&micro, Form::At),
        "deadline_after" => timers::move_deadline::<P>(&micro, Form::After),
        other => {
            print_line(other, &[("unsupported", 1.0)]);
            Ok(())
        }
    }
}

async fn spawn_seq<P: Peer>(n: u64) {
    for _ in 0..n {
        P::spawn(async {}).await;
    }
}

async fn spawn_batch<P: Peer>(n: u64) {
    let mut batch = Vec::with_capacity(1000);
    for _ in 0..n / 1000 {
        batch.extend((0..1000).map(|_| P::spawn(async {})));
        for task in batch.drain(..) {
            task.await;
        }
    }
}

async fn yield_many<P: Peer>(n: u64) {
    let tasks = (0..200).map(|_| {
        P::spawn(async move {
            for _ in 0..n / 200 {
                P::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await;
    }
}

/// Lets the future of `block_on` itself yield.
async fn block_on_yield<P: Peer>(n: u64) {
    for _ in 0..n {
        P::yield_now().await;
    }
}

/// Blocks a thread of the pool for a while in each of `n` closures, all queued at once.
async fn blocking<P: Peer>(n: u64, pause: Duration) {
    let closures = (0..n).map(|_| P::spawn_blocking(move || thread::sleep(pause)));
    for closure in closures.collect::<Vec<_>>() {
        closure.await;
    }
}

async fn pingpong_baton<P: Peer>(n: u64) {
    let baton = Arc::new(Baton::default());
    let party = |party| {
        let baton = baton.clone();
        P::spawn(async move { baton.play(party, n).await })
    };
    let (first, second) = (party(0), party(1));
    first.await;
    second.await;
}

/// Lets two runtimes of one thread each wake one another, each on a processor of its own.
fn cross_wake<P: Peer>(micro: &Micro) -> Result<(), String> {
    let created = [P::runtime(1), P::runtime(1)].map(|created| created.map(drop));
    created.into_iter().collect::<Result<(), _>>().map_err(|error| error.to_string())?;
    let processors = allowed_processors();
    time_samples(&micro.bench, micro.samples, micro.n, || {
        let baton = Baton::default();
        let side = |party| {
            if processors.get(party).is_none_or(|&processor| restrict_to(&[processor]).is_err()) {
                eprintln!("cross_wake: thread {party} has no processor of its own");
            }
            let runtime = P::runtime(1).expect("the same was created a moment ago");
            P::block_on(&runtime, baton.play(party, micro.n));
        };
        thread::scope(|scope| {
            scope.spawn(|| side(0));
            scope.spawn(|| side(1));
        });
    });
    Ok(())
}
