//! The measurements of timers and deadlines.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::line::line;
use super::micro::Micro;
use super::samples::{Micros, time_samples};
use super::usage::Usage;
use super::{Form, Side};

/// Arms a timer and cancels a random older one, with so many outstanding.
pub fn churn<S: Side>(micro: &Micro) -> Result<(), String> {
    let runtime = S::runtime(1).map_err(|error| error.to_string())?;
    let mut rng = fastrand::Rng::with_seed(7);
    let delay = |rng: &mut fastrand::Rng| Duration::from_micros(rng.u64(1_000..60_000_000));
    let mut live = S::block_on(&runtime, async {
        let mut live = Vec::with_capacity(micro.outstanding);
        for _ in 0..micro.outstanding {
            live.push(armed(S::sleep(delay(&mut rng))).await);
        }
        live
    });
    time_samples(&micro.bench, micro.samples, micro.n, || {
        S::block_on(&runtime, async {
            for _ in 0..micro.n {
                let place = rng.usize(..micro.outstanding);
                // The new one is armed before the old one is dropped.
                live[place] = armed(S::sleep(delay(&mut rng))).await;
            }
        });
    });
    Ok(())
}

/// A timer is armed at its first poll.
async fn armed<F: Future<Output = ()>>(timer: F) -> Pin<Box<F>> {
    let mut timer = Box::pin(timer);
    poll_fn(|cx| {
        // Not even the shortest is due yet.
        let _ = timer.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    timer
}

/// One task sleeps again and again.
pub fn lone_sleep<S: Side>(micro: &Micro) -> Result<(), String> {
    let runtime = S::runtime(1).map_err(|error| error.to_string())?;
    let pause = Duration::from_micros(micro.us);
    let before = Usage::of("self");
    let late = S::block_on(&runtime, async {
        let mut late = Micros::default();
        for _ in 0..micro.n {
            let due = Instant::now() + pause;
            S::sleep(pause).await;
            late.late(due, Instant::now());
        }
        late
    });
    let spent = Usage::of("self").since(before).processor.as_nanos() as f64 / micro.n as f64;
    let [min, p50, p99, max] = late.at([0.0, 0.5, 0.99, 1.0]);
    let found =
        [("min_us", min), ("p50_us", p50), ("p99_us", p99), ("max_us", max), ("cpu_ns_per_sleep", spent)];
    line(&micro.bench, &found);
    Ok(())
}

/// So many tasks tick with the same period, their phases so far apart from one to the next.
pub fn periodic<S: Side>(micro: &Micro) -> Result<(), String> {
    let runtime = S::runtime(1).map_err(|error| error.to_string())?;
    let (period, length) = (Duration::from_micros(micro.us), micro.length);
    let phase = |i| Duration::from_micros(i * micro.apart % micro.us);
    let before = Usage::of("self");
    let began = Instant::now();
    let late = S::block_on(&runtime, async {
        let first = began + Duration::from_millis(20);
        let tasks = (0..micro.n).map(|i| S::spawn(ticks::<S>(first + phase(i), period, first + length)));
        let mut late = Micros::default();
        for task in tasks.collect::<Vec<_>>() {
            late.append(task.await);
        }
        late
    });
    let (spent, seconds) = (Usage::of("self").since(before), began.elapsed().as_secs_f64());
    let ticks = late.count() as f64;
    let [min, p50, p99] = late.at([0.0, 0.5, 0.99]);
    let found = [
        ("cpu_ns_per_tick", spent.processor.as_nanos() as f64 / ticks),
        ("cpu_percent", spent.processor.as_secs_f64() / seconds * 100.0),
        ("switches_per_s", spent.switches as f64 / seconds),
        ("min_us", min),
        ("p50_us", p50),
        ("p99_us", p99),
        ("ticks", ticks),
    ];
    line(&micro.bench, &found);
    Ok(())
}

async fn ticks<S: Side>(mut due: Instant, period: Duration, end: Instant) -> Micros {
    let mut late = Micros::default();
    while due < end {
        S::sleep_until(due).await;
        late.late(due, Instant::now());
        due += period;
    }
    late
}

/// A deadline that was there already is replaced by a later one.
pub fn move_deadline<S: Side>(micro: &Micro, form: Form) -> Result<(), String> {
    let runtime = S::runtime(1).map_err(|error| error.to_string())?;
    let mut failed = None;
    time_samples(&micro.bench, micro.samples, micro.n, || {
        let moved = S::block_on(&runtime, S::move_deadline(form, Duration::from_secs(30), micro.n));
        failed = moved.err().or(failed.take());
    });
    failed.map_or(Ok(()), |error| Err(error.to_string()))
}
