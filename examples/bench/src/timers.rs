//! The measurements of timers and deadlines.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use netpoll_core::sync::Counter;

use crate::micro::Micro;
use crate::peer::{Form, Peer};
use crate::process::{Usage, resident_bytes};
use crate::samples::{Samples, print_line, time_samples};

/// Arms a timer and cancels a random older one, again and again.
pub fn churn<P: Peer>(micro: &Micro) -> Result<(), String> {
    let runtime = P::runtime(1).map_err(|error| error.to_string())?;
    let mut rng = fastrand::Rng::with_seed(7);
    let delay = |rng: &mut fastrand::Rng| Duration::from_micros(rng.u64(1_000..60_000_000));
    let mut live = P::block_on(&runtime, async {
        let mut live = Vec::with_capacity(micro.outstanding);
        for _ in 0..micro.outstanding {
            live.push(armed(P::sleep(delay(&mut rng))).await);
        }
        live
    });
    time_samples(&micro.bench, micro.samples, micro.n, || {
        P::block_on(&runtime, async {
            for _ in 0..micro.n {
                let place = rng.usize(..micro.outstanding);
                // The new timer is armed before the old one is dropped.
                live[place] = armed(P::sleep(delay(&mut rng))).await;
            }
        });
    });
    Ok(())
}

/// Arms a timer, which its first poll does.
async fn armed<F: Future<Output = ()>>(timer: F) -> Pin<Box<F>> {
    let mut timer = Box::pin(timer);
    poll_fn(|cx| {
        // Even the shortest timer is not due yet.
        let _ = timer.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    timer
}

/// Lets one task sleep again and again.
pub fn lone_sleep<P: Peer>(micro: &Micro) -> Result<(), String> {
    let runtime = P::runtime(1).map_err(|error| error.to_string())?;
    let pause = Duration::from_micros(micro.us);
    let before = Usage::of_this_process();
    let late = P::block_on(&runtime, async {
        let mut late = Samples::default();
        for _ in 0..micro.n {
            let due = Instant::now() + pause;
            P::sleep(pause).await;
            late.push_lateness(due, Instant::now());
        }
        late
    });
    let spent = Usage::of_this_process().since(before).processor.as_nanos() as f64 / micro.n as f64;
    let [min, p50, p99, max] = late.quantiles([0.0, 0.5, 0.99, 1.0]);
    let found =
        [("min_us", min), ("p50_us", p50), ("p99_us", p99), ("max_us", max), ("cpu_ns_per_sleep", spent)];
    print_line(&micro.bench, &found);
    Ok(())
}

/// Runs tasks that tick with the same period, each with a phase of its own.
pub fn periodic<P: Peer>(micro: &Micro) -> Result<(), String> {
    let runtime = P::runtime(1).map_err(|error| error.to_string())?;
    let (period, length) = (Duration::from_micros(micro.us), micro.length);
    let phase = |i| Duration::from_micros(i * micro.apart % micro.us);
    let before = Usage::of_this_process();
    let began = Instant::now();
    let late = P::block_on(&runtime, async {
        let first = began + Duration::from_millis(20);
        let tasks = (0..micro.n).map(|i| P::spawn(ticks::<P>(first + phase(i), period, first + length)));
        let mut late = Samples::default();
        for task in tasks.collect::<Vec<_>>() {
            late.append(task.await);
        }
        late
    });
    let (spent, seconds) = (Usage::of_this_process().since(before), began.elapsed().as_secs_f64());
    let ticks = late.count() as f64;
    let [min, p50, p99] = late.quantiles([0.0, 0.5, 0.99]);
    let found = [
        ("cpu_ns_per_tick", spent.processor.as_nanos() as f64 / ticks),
        ("cpu_percent", spent.processor.as_secs_f64() / seconds * 100.0),
        ("switches_per_s", spent.switches as f64 / seconds),
        ("min_us", min),
        ("p50_us", p50),
        ("p99_us", p99),
        ("ticks", ticks),
    ];
    print_line(&micro.bench, &found);
    Ok(())
}

async fn ticks<P: Peer>(mut due: Instant, period: Duration, end: Instant) -> Samples {
    let mut late = Samples::default();
    while due < end {
        P::sleep_until(due).await;
        late.push_lateness(due, Instant::now());
        due += period;
    }
    late
}

/// Arms timers whose deadlines are spread over `length`, drops every second one, and awaits the others. The first is due
/// after a tenth of a second.
pub fn spread<P: Peer>(micro: &Micro) -> Result<(), String> {
    let runtime = P::runtime(1).map_err(|error| error.to_string())?;
    let before = Usage::of_this_process();
    let (late, armed_by) = P::block_on(&runtime, async {
        let first = Instant::now() + Duration::from_millis(100);
        let due = |i| first + micro.length.mul_f64(i as f64 / micro.n as f64);
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for i in 0..micro.n {
            let timer = armed(P::sleep_until(due(i))).await;
            if i.is_multiple_of(2) { kept.push((due(i), timer)) } else { dropped.push(timer) }
        }
        drop(dropped);
        let armed_by = Usage::of_this_process();
        let tasks = kept.into_iter().map(|(due, timer)| {
            P::spawn(async move {
                timer.await;
                Instant::now().saturating_duration_since(due)
            })
        });
        let mut late = Samples::default();
        for task in tasks.collect::<Vec<_>>() {
            late.push(task.await.as_secs_f64() * 1e6);
        }
        (late, armed_by)
    });
    let spent = Usage::of_this_process().since(before);
    let armed = armed_by.since(before).processor.as_secs_f64() * 1e3;
    let [p50, p99] = late.quantiles([0.5, 0.99]);
    let found = [
        ("cpu_ms", spent.processor.as_secs_f64() * 1e3),
        ("cpu_ms_arming", armed),
        ("switches_per_s", spent.switches as f64 / micro.length.as_secs_f64()),
        ("p50_us", p50),
        ("p99_us", p99),
    ];
    print_line(&micro.bench, &found);
    Ok(())
}

/// Cancels tasks that sleep, and prints the memory that the process keeps for each.
pub fn memory<P: Peer>(micro: &Micro) -> Result<(), String> {
    let runtime = P::runtime(1).map_err(|error| error.to_string())?;
    let [began, ended] = [(); 2].map(|()| Arc::<Counter>::default());
    let reaches = async |counter: &Counter| {
        while counter.get() != micro.n as usize {
            P::yield_now().await;
        }
    };
    let (before, armed) = P::block_on(&runtime, async {
        // The memory of the runtime's first sleep is not counted, and is not behind the tasks in memory.
        P::sleep(Duration::from_millis(1)).await;
        let before = resident_bytes();
        let tasks =
            (0..micro.n).map(|_| P::launch_cancellable(sleeper::<P>(began.clone(), Ended(ended.clone()))));
        let cancels: Vec<_> = tasks.collect();
        reaches(&began).await;
        let armed = resident_bytes();
        cancels.into_iter().for_each(|cancel| cancel());
        reaches(&ended).await;
        (before, armed)
    });
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / micro.n as f64;
    let found = [("armed_bytes", each(armed)), ("kept_bytes", each(resident_bytes()))];
    print_line(&micro.bench, &found);
    Ok(())
}

/// Counts the tasks that are dropped.
struct Ended(Arc<Counter>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.inc();
    }
}

async fn sleeper<P: Peer>(began: Arc<Counter>, _ended: Ended) {
    began.inc();
    P::sleep(Duration::from_secs(3600)).await;
}

/// Replaces a deadline by a later one, again and again.
pub fn move_deadline<P: Peer>(micro: &Micro, form: Form) -> Result<(), String> {
    let runtime = P::runtime(1).map_err(|error| error.to_string())?;
    let mut failed = None;
    time_samples(&micro.bench, micro.samples, micro.n, || {
        let moved = P::block_on(&runtime, P::move_deadline(form, Duration::from_secs(30), micro.n));
        failed = moved.err().or(failed.take());
    });
    failed.map_or(Ok(()), |error| Err(error.to_string()))
}
