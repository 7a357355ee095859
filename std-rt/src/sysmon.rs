//! The backstop: polls when no worker has for 10 ms, so that a task that holds its worker does not keep the network
//! from the others (Go's `sysmon`); nor the task that it made ready last, nor those in its queue, which go to the others.
//! And it tells of such tasks.

mod stuck;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::netpoll::PollBuffer;
use crate::sched::{SchedHandle, StealBuffer};
use crate::worker;
use stuck::Watch;
pub use stuck::{OnStuck, StuckTask};

/// How long the network may go unpolled while a worker is busy.
const INTERVAL: Duration = Duration::from_millis(10);

/// How long the backstop sleeps while every worker does; the first that wakes up wakes it as well, and this bounds the
/// harm if the two miss each other.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Watches over a scheduler until it is shut down; runs on a thread of its own.
pub fn run(sched: &Arc<SchedHandle>, stuck_after: Duration, on_stuck: OnStuck) {
    let _entered = sched.enter();
    sched.set_sysmon(thread::current());
    let netpoll = sched.netpoll();
    let (mut buffer, steal_buffer) = (PollBuffer::new(), StealBuffer::new());
    let mut watch = Watch::new(sched, stuck_after, on_stuck);
    let mut polls = netpoll.counts().polls.get();
    while !sched.is_closed() {
        if sched.idle().num_parked() == sched.workers() {
            sched.sysmon_sleeps();
            thread::park_timeout(IDLE_INTERVAL);
            // A worker that sleeps does not learn that its poller's descriptors were closed.
            netpoll.check_descriptors();
        } else {
            thread::park_timeout(INTERVAL);
        }
        // One alone has nobody to give anything to.
        let alone = sched.workers() == 1;
        watch.look(sched, |worker| {
            if !alone {
                sched.take_over_queue(worker, &steal_buffer);
            }
        });
        if alone {
            continue;
        }
        if sched.has_next() || sched.has_work() {
            // In the slot or the ring of a worker that is perhaps busy with something else: nobody was woken for it.
            sched.wake_one();
        }
        let seen = std::mem::replace(&mut polls, netpoll.counts().polls.get());
        if polls != seen || sched.idle().num_parked() == sched.workers() {
            continue;
        }
        let Some(guard) = netpoll.try_lock(sched.workers()) else { continue };
        let woken = guard.poll(&mut buffer);
        // An error here is the worker's to report: it polls the same descriptor.
        worker::inject(sched, &mut buffer, woken.unwrap_or(0));
        // A worker that went to sleep while we held the turn sleeps on its own token, and nobody polls.
        sched.wake_one();
        polls = netpoll.counts().polls.get();
    }
}
