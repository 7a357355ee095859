//! The measurements of several workers. Tasks do the work; the future of the measuring thread only waits, except in a storm.

use std::sync::Arc;
use std::time::Instant;

use crate::micro::Micro;
use crate::peer::Peer;
use crate::process::Usage;
use crate::samples::print_line;
use crate::sync::{Countdown, Once};

const TASKS: u64 = 10_000;
const PAIRS: u64 = 1000;
const LINKS: u64 = 1000;

/// Lets a task spawn 10,000 others, of which the last reports the end.
pub async fn spawn_many<P: Peer>(n: u64) {
    for _ in 0..n / TASKS {
        let (left, done) = (Arc::new(Countdown::from(TASKS)), Arc::new(Once::default()));
        let waiting = done.clone();
        P::launch(async move {
            for _ in 0..TASKS {
                let (left, done) = (left.clone(), done.clone());
                P::launch(async move {
                    if left.is_last() {
                        done.happen();
                    }
                });
            }
        });
        waiting.wait().await;
    }
}

/// Runs a thousand pairs of tasks at a time. One task of each pair asks once, the other answers.
pub async fn ping_pong<P: Peer>(n: u64) {
    for _ in 0..n / PAIRS {
        let round = P::spawn(async {
            let pairs: Vec<_> = (0..PAIRS).map(|_| P::spawn(one_pair::<P>())).collect();
            for pair in pairs {
                pair.await;
            }
        });
        round.await;
    }
}

async fn one_pair<P: Peer>() {
    let (ask, answer) = (Arc::new(Once::default()), Arc::new(Once::default()));
    let (asked, answered) = (ask.clone(), answer.clone());
    P::launch(async move {
        asked.wait().await;
        answer.happen();
    });
    ask.happen();
    answered.wait().await;
}

/// Runs a chain of a thousand tasks, each spawned by the one before.
pub async fn chained_spawn<P: Peer>(n: u64) {
    for _ in 0..n / LINKS {
        let done = Arc::new(Once::default());
        let waiting = done.clone();
        P::launch(async move { link::<P>(LINKS, done) });
        waiting.wait().await;
    }
}

fn link<P: Peer>(left: u64, done: Arc<Once>) {
    if left == 0 {
        done.happen();
    } else {
        P::launch(async move { link::<P>(left - 1, done) });
    }
}

/// Spawns `n` empty tasks from the future of `block_on` and then awaits all of them, once.
pub fn storm<P: Peer>(micro: &Micro) -> Result<(), String> {
    let runtime = P::runtime(micro.threads).map_err(|error| error.to_string())?;
    let (before, began) = (Usage::of_this_process(), Instant::now());
    P::block_on(&runtime, async {
        let tasks: Vec<_> = (0..micro.n).map(|_| P::spawn(async {})).collect();
        for task in tasks {
            task.await;
        }
    });
    let (nanoseconds, spent) = (began.elapsed().as_nanos(), Usage::of_this_process().since(before));
    let ops = micro.n as f64;
    let found = [
        ("ns_per_op", nanoseconds as f64 / ops),
        ("cpu_ns_per_op", spent.processor.as_nanos() as f64 / ops),
        ("switches_per_op", spent.switches as f64 / ops),
        ("ops", ops),
    ];
    print_line(&micro.bench, &found);
    Ok(())
}
