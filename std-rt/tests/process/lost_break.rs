//! A break is written just before the descriptors of the poller are closed by their numbers, and is lost with them.

use std::future::pending;
use std::sync::mpsc;

use crate::common::fork::{close_number, forget_number, forked};
use crate::common::*;
use crate::lost_poller::{WHY, numbers_of};
use netpoll_rt::dump::{WorkerDump, WorkerState};
use netpoll_rt::internal::sys::Poller;

#[test]
fn a_break_that_is_lost_with_its_descriptor_ends_with_a_message() {
    if Poller::NAME != "epoll" {
        return;
    }
    let _alone = alone();
    forked(|| {
        let before = open_descriptors();
        let runtime = runtime(2);
        let number_of = |kind: &str| {
            let now = open_descriptors();
            let is_new =
                |(number, name): &(&String, &String)| !before.contains_key(*number) && name.contains(kind);
            now.iter().find(is_new).unwrap().0.parse().unwrap()
        };
        let until_awake = |n| {
            until_blocking("workers are awake", || {
                let sleeps = |worker: &WorkerDump| {
                    matches!(worker.state, WorkerState::WaitsForEvents | WorkerState::Sleeps)
                };
                runtime.dump().workers.iter().filter(|worker| !sleeps(worker)).count() == n
            });
        };
        until_awake(0);
        forget_number(number_of("[eventpoll]"), number_of("[eventfd]"));
        // One worker sleeps in the poller. The other one is held by a task, so that the first is woken for the next one.
        let (send, recv) = mpsc::channel::<()>();
        let held = runtime.spawn(async move { recv.recv().unwrap_err() });
        until_awake(1);
        let next = runtime.spawn(async {});
        until_awake(2);
        drop(send);
        runtime.block_on(async {
            held.await.unwrap();
            next.await.unwrap();
        });
        numbers_of(&before).into_iter().for_each(close_number);
        runtime.block_on(pending())
    })
    .told(WHY);
}
