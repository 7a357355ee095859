//! The measurements of two workers. The future of the measuring thread only waits; tasks do the work.

use std::sync::Arc;

use super::Side;
use super::sync::{Countdown, Once};

const TASKS: u64 = 10_000;
const PAIRS: u64 = 1000;
const LINKS: u64 = 1000;

/// A task spawns 10,000; the last of them says so.
pub async fn spawn_many<S: Side>(n: u64) {
    for _ in 0..n / TASKS {
        let (left, done) = (Arc::new(Countdown::from(TASKS)), Arc::new(Once::default()));
        let told = done.clone();
        S::launch(async move {
            for _ in 0..TASKS {
                let (left, done) = (left.clone(), done.clone());
                S::launch(async move {
                    if left.is_last() {
                        done.happen();
                    }
                });
            }
        });
        told.wait().await;
    }
}

/// A thousand pairs at a time, each of which asks and answers once.
pub async fn ping_pong<S: Side>(n: u64) {
    for _ in 0..n / PAIRS {
        let round = S::spawn(async {
            let pairs: Vec<_> = (0..PAIRS).map(|_| S::spawn(one_pair::<S>())).collect();
            for pair in pairs {
                pair.await;
            }
        });
        round.await;
    }
}

async fn one_pair<S: Side>() {
    let (ask, answer) = (Arc::new(Once::default()), Arc::new(Once::default()));
    let (asked, answered) = (ask.clone(), answer.clone());
    S::launch(async move {
        asked.wait().await;
        answer.happen();
    });
    ask.happen();
    answered.wait().await;
}

/// A chain of a thousand tasks, each spawned by the one before.
pub async fn chained_spawn<S: Side>(n: u64) {
    for _ in 0..n / LINKS {
        let done = Arc::new(Once::default());
        let told = done.clone();
        S::launch(async move { link::<S>(LINKS, done) });
        told.wait().await;
    }
}

fn link<S: Side>(left: u64, done: Arc<Once>) {
    if left == 0 {
        done.happen();
    } else {
        S::launch(async move { link::<S>(left - 1, done) });
    }
}
