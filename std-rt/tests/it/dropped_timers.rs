//! Timers that are dropped before they fire leave nothing, on whichever thread and together with whichever object they are
//! dropped.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Flag;
use netpoll_rt::time::{Sleep, sleep};
use netpoll_rt::{Handle, spawn};

const HOUR: Duration = Duration::from_secs(3600);

/// Creates this many timers, armed for a probe.
fn armed(probe: &Arc<Probe>, n: usize, duration: Duration) -> Vec<Pin<Box<Sleep>>> {
    let mut sleeps: Vec<_> = (0..n).map(|_| Box::pin(sleep(duration))).collect(); // time is tested
    for sleep in &mut sleeps {
        assert_eq!(probe.poll(sleep.as_mut()), Poll::Pending);
    }
    sleeps
}

fn timers() -> usize {
    Handle::try_current().unwrap().metrics().timers
}

#[test]
fn they_are_not_counted_and_do_not_fire() {
    each(async || {
        for n in [1, 31, 32, 33, 1000] {
            let (dropped, kept) = (Probe::new(), Probe::new());
            let soon = armed(&dropped, n, Duration::from_millis(100));
            let others = armed(&kept, n, Duration::from_millis(120));
            drop(soon);
            assert_eq!(timers(), n, "those that were kept");
            kept.woken(n).await;
            drop(others);
            assert_eq!((timers(), dropped.wakes.get()), (0, 0));
            until("the wakers are gone", || Arc::strong_count(&dropped) + Arc::strong_count(&kept) == 2)
                .await;
        }
    });
}

#[test]
fn a_task_drops_them_on_whichever_worker_it_is() {
    each(async || {
        let probe = Probe::new();
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let probe = probe.clone();
                spawn(async move {
                    let sleeps = armed(&probe, 10, HOUR);
                    netpoll_rt::yield_now().await;
                    drop(sleeps);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(timers(), 0);
        until("the wakers are gone", || Arc::strong_count(&probe) == 1).await;
        assert_eq!(probe.wakes.get(), 0);
    });
}

#[test]
fn a_thread_without_a_runtime_drops_them_at_once() {
    each(async || {
        let probe = Probe::new();
        let sleeps = armed(&probe, 5, HOUR);
        thread::spawn(|| drop(sleeps)).join().unwrap();
        assert_eq!((timers(), Arc::strong_count(&probe)), (0, 1));
    });
}

#[test]
fn nothing_is_kept_when_the_thread_leaves_the_runtime() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let probe = Probe::new();
        runtime.block_on(async { drop(armed(&probe, 5, HOUR)) });
        assert_eq!((runtime.metrics().timers, Arc::strong_count(&probe)), (0, 1));
    }
}

/// Tells what it has been told to when the last of its wakers is dropped.
struct Last {
    told: Arc<Flag>,
    waker: Waker,
}

impl Wake for Last {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Last {
    fn drop(&mut self) {
        let (told, waker) = (self.told.clone(), self.waker.clone());
        drop(spawn(async move {
            told.set();
            waker.wake();
        }));
    }
}

#[test]
fn what_goes_with_one_may_be_the_only_work_there_is() {
    each(async || {
        let task = spawn(async {
            let told = Arc::new(Flag::new());
            poll_fn(|cx| {
                if told.is_set() {
                    return Poll::Ready(());
                }
                let last = Waker::from(Arc::new(Last { told: told.clone(), waker: cx.waker().clone() }));
                let mut sleep = Box::pin(sleep(HOUR)); // time is tested
                let armed = sleep.as_mut().poll(&mut std::task::Context::from_waker(&last));
                assert_eq!(armed, Poll::Pending);
                Poll::Pending
            })
            .await;
        });
        task.await.unwrap();
    });
}

/// Panics when the last of its wakers is dropped, and counts that.
struct Bomb(Arc<Probe>);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.wakes.inc();
        panic!("a test drops a waker that panics");
    }
}

#[test]
fn a_waker_that_panics_when_it_is_dropped_affects_no_other_timer() {
    each(async || {
        let probe = Probe::new();
        let armed_by_bombs = |n: usize| -> Vec<_> {
            let arm = |_| {
                let bomb = Waker::from(Arc::new(Bomb(probe.clone())));
                let mut sleep = Box::pin(sleep(HOUR)); // time is tested
                assert!(sleep.as_mut().poll(&mut std::task::Context::from_waker(&bomb)).is_pending());
                sleep
            };
            (0..n).map(arm).collect()
        };
        let sleeps = armed_by_bombs(40);
        spawn(async move { drop(sleeps) }).await.unwrap();
        let sleeps = armed_by_bombs(2);
        thread::spawn(|| drop(sleeps)).join().unwrap();
        until("all have been dropped", || probe.wakes.get() == 42).await;
        assert_eq!(timers(), 0);
    });
}
