//! The measurements of timers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use netpoll_rt::time::{Sleep, sleep, sleep_until};
use netpoll_rt::{Runtime, spawn};

use crate::micro::{Micro, finished};
use crate::report::{Lateness, time_samples};
use crate::runtime;

/// Timers that are armed all the time.
const OUTSTANDING: usize = 100_000;

/// Arms a timer and cancels a random older one.
pub fn churn(micro: &Micro, runtime: &Runtime) {
    let mut rng = fastrand::Rng::with_seed(7);
    let delay = |rng: &mut fastrand::Rng| Duration::from_micros(rng.u64(1_000..60_000_000));
    let mut live = runtime.block_on(async {
        let mut live = Vec::with_capacity(OUTSTANDING);
        for _ in 0..OUTSTANDING {
            live.push(armed(delay(&mut rng)).await);
        }
        live
    });
    time_samples(&micro.bench, micro.samples, micro.n, || {
        runtime.block_on(async {
            for _ in 0..micro.n {
                let place = rng.usize(..OUTSTANDING);
                // The new one is armed before the old one is dropped.
                live[place] = armed(delay(&mut rng)).await;
            }
        });
    });
}

/// A timer is armed at its first poll.
async fn armed(delay: Duration) -> Pin<Box<Sleep>> {
    let mut timer = Box::pin(sleep(delay));
    poll_fn(|cx| {
        // Not even the shortest is due yet.
        let _ = timer.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    timer
}

/// Tasks that all sleep until the same instant; a line for each sample, on a runtime of its own.
pub fn fire(micro: &Micro) -> Result<(), String> {
    for _ in 0..micro.samples {
        runtime(1)?.block_on(fire_once(micro));
    }
    Ok(())
}

async fn fire_once(micro: &Micro) {
    let mut lateness = Lateness::begin(micro.n as usize);
    // Far enough away for all to be armed by then.
    let due = Instant::now() + Duration::from_millis(100) + Duration::from_micros(3 * micro.n);
    let sleepers = (0..micro.n).map(|_| {
        spawn(async move {
            sleep_until(due).await;
            Instant::now()
        })
    });
    for task in sleepers.collect::<Vec<_>>() {
        lateness.record(due, finished(task).await);
    }
    lateness.report(&micro.bench, "cpu_ns_per_timer");
}

/// One task sleeps again and again.
pub fn lone_sleep(micro: &Micro, runtime: &Runtime) {
    let pause = Duration::from_micros(micro.us);
    runtime.block_on(async {
        let mut lateness = Lateness::begin(micro.n as usize);
        for _ in 0..micro.n {
            let due = Instant::now() + pause;
            sleep(pause).await;
            lateness.record(due, Instant::now());
        }
        lateness.report(&micro.bench, "cpu_ns_per_sleep");
    });
}
