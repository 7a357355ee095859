//! The end of a runtime: which thread drops which task, and which events the end waits for.

use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::{Handle, JoinHandle, Runtime, spawn};

/// Starts a task that blocks its worker until the sender that another task holds is gone.
fn blocks_on_another(runtime: &Runtime) -> (mpsc::Sender<()>, JoinHandle<bool>) {
    let (held, told) = mpsc::channel::<()>();
    let (tell, inside) = mpsc::channel();
    let task = runtime.spawn(async move {
        tell.send(()).unwrap();
        told.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Disconnected)
    });
    inside.recv_timeout(LIMIT).unwrap();
    (held, task)
}

// With one worker the thread that ends the runtime is the one that runs its tasks, and no task is in its turn.
const THREADS: [usize; 2] = [2, 4];

#[test]
fn shutdown_frees_a_turn_that_blocks_on_what_a_parked_task_holds() {
    let _alone = alone();
    for workers in THREADS {
        let runtime = runtime(workers);
        let watch = Watch::over(runtime.handle().clone());
        let (parked, is_parked) = mpsc::channel();
        let (held, blocked) = blocks_on_another(&runtime);
        drop(runtime.spawn(async move {
            let _held = held;
            parked.send(()).unwrap();
            std::future::pending::<()>().await;
        }));
        is_parked.recv_timeout(LIMIT).unwrap();
        drop(runtime);
        assert!(
            netpoll_rt::block_on(blocked).unwrap(),
            "the turn went on because the parked task was dropped"
        );
        drop(watch);
    }
}

#[test]
fn shutdown_frees_a_turn_that_blocks_on_what_a_queued_task_holds() {
    let _alone = alone();
    for workers in THREADS {
        let runtime = runtime(workers);
        let watch = Watch::over(runtime.handle().clone());
        // Every worker but one is busy until the end, so that the queue of that one is left to itself.
        let (go_on, told) = mpsc::channel::<()>();
        let told = Arc::new(Mutex::new(told));
        for _ in 1..workers {
            let (told, (tell, inside)) = (told.clone(), mpsc::channel());
            drop(runtime.spawn(async move {
                tell.send(()).unwrap();
                // The thread with the sender may be gone.
                let _ = told.lock().unwrap().recv_timeout(LIMIT);
            }));
            inside.recv_timeout(LIMIT).unwrap();
        }
        let (tell, inside) = mpsc::channel();
        let blocked = runtime.spawn(async move {
            let (held, told) = mpsc::channel::<()>();
            // In the slot, or in the ring behind the task that runs.
            drop(spawn(async move { drop(held) }));
            let (held_too, told_too) = mpsc::channel::<()>();
            drop(spawn(async move { drop(held_too) }));
            tell.send(()).unwrap();
            let gone = |told: mpsc::Receiver<()>| {
                told.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Disconnected)
            };
            // Only then are the others told, one after the other.
            let freed = gone(told) && gone(told_too);
            drop(go_on);
            freed
        });
        inside.recv_timeout(LIMIT).unwrap();
        drop(runtime);
        assert!(netpoll_rt::block_on(blocked).unwrap());
        drop(watch);
    }
}

#[test]
fn a_task_that_is_woken_during_shutdown_is_not_dropped_by_the_code_that_wakes_it() {
    /// Its drop takes a lock that the code that wakes holds, as a channel may.
    struct Locks(Arc<Mutex<Vec<Waker>>>);

    impl Drop for Locks {
        fn drop(&mut self) {
            drop(locked(&self.0));
        }
    }

    fn locked(wakers: &Mutex<Vec<Waker>>) -> MutexGuard<'_, Vec<Waker>> {
        wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    let _alone = alone();
    for workers in THREADS {
        let runtime = runtime(workers);
        let watch = Watch::over(runtime.handle().clone());
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let parked = runtime.spawn({
            let locks = Locks(wakers.clone());
            std::future::poll_fn(move |cx| {
                locked(&locks.0).push(cx.waker().clone());
                Poll::<()>::Pending
            })
        });
        until_blocking("it is parked", || locked(&wakers).len() == 1);
        // Keeps the drop waiting.
        let (go_on, told) = mpsc::channel::<()>();
        let (tell, inside) = mpsc::channel();
        drop(runtime.spawn(async move {
            tell.send(()).unwrap();
            // The thread with the sender may be gone.
            let _ = told.recv_timeout(LIMIT);
        }));
        inside.recv_timeout(LIMIT).unwrap();
        let handle = runtime.handle().clone();
        let mut held = locked(&wakers);
        let dropping = thread::spawn(move || drop(runtime));
        until_blocking("it is shut down", || handle.spawn(std::future::pending::<()>()).is_finished());
        held.drain(..).for_each(Waker::wake);
        drop(held);
        until_blocking("the parked one is gone", || parked.is_finished());
        drop(go_on);
        dropping.join().unwrap();
        drop(watch);
    }
}

#[test]
fn shutdown_of_a_long_chain_of_tasks_needs_no_stack() {
    let _alone = alone();
    for workers in [1, 4] {
        // Twice as many have overflowed a stack of 8 MiB.
        let small = thread::Builder::new().stack_size(1 << 20);
        let ended = small.spawn(move || {
            let runtime = runtime(workers);
            let handle = runtime.handle().clone();
            let watch = Watch::over(handle.clone());
            runtime.block_on(async {
                let (mut last, begun) = (spawn(std::future::pending::<()>()), Arc::new(Counter::new()));
                for _ in 0..50_000 {
                    let (before, begun) = (last, begun.clone());
                    last = spawn(async move {
                        begun.inc();
                        drop(before.await);
                    });
                }
                until("each has had its turn, and awaits the one before", || begun.get() == 50_000).await;
                assert_eq!(handle.metrics().tasks, 50_001);
            });
            drop(runtime);
            assert_nothing_left(&handle);
            drop(watch);
        });
        ended.unwrap().join().unwrap();
    }
}

/// Counts its drops, and tells that the first task has been dropped.
struct Counted {
    drops: Arc<Vec<Counter>>,
    number: usize,
    first: Arc<Counter>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.first.inc();
        self.drops[self.number].inc();
        // About a microsecond, so that two threads meet.
        (0..100).for_each(|_| std::hint::spin_loop());
    }
}

/// The backstop's thread is given up by the limit and ends while the caller cancels.
#[test]
fn each_task_is_dropped_once_although_a_thread_ends_after_the_limit() {
    let _alone = alone();
    for round in 0..150 {
        let (first, stuck) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let report = {
            let (first, stuck) = (first.clone(), stuck.clone());
            move |_: &netpoll_rt::StuckTask| {
                stuck.inc();
                // A slow log: until the runtime has dropped its first task.
                until_blocking("the first task is dropped", || first.get() > 0);
            }
        };
        let builder = Runtime::builder().workers(1).stuck_after(Duration::from_millis(1));
        let runtime = builder.on_stuck(report).build().unwrap();
        let drops: Arc<Vec<Counter>> = Arc::new((0..250).map(|_| Counter::new()).collect());
        runtime.block_on(async {
            let is_stuck = stuck.clone();
            spawn(async move { until_blocking("it is reported", || is_stuck.get() > 0) }).await.unwrap();
            for number in 0..250 {
                let counted = Counted { drops: drops.clone(), number, first: first.clone() };
                drop(spawn(async move {
                    let _counted = counted;
                    std::future::pending::<()>().await;
                }));
            }
        });
        let handle = runtime.handle().clone();
        runtime.shutdown_timeout(Duration::from_millis(1));
        until_blocking("nothing is left", || handle.metrics().tasks == 0);
        assert!(drops.iter().all(|drops| drops.get() == 1), "round {round}");
    }
}

/// A task that wakes another one again and again in its last turn does not put the limit off.
#[test]
fn the_limit_of_a_shutdown_holds_while_tasks_come() {
    let _alone = alone();
    for workers in THREADS {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let (go_on, told) = mpsc::channel::<()>();
        let (tell, inside) = mpsc::channel();
        drop(runtime.spawn(async move {
            tell.send(()).unwrap();
            while told.try_recv() == Err(mpsc::TryRecvError::Empty) {
                drop(spawn(async {}));
            }
        }));
        inside.recv_timeout(LIMIT).unwrap();
        assert!(!runtime.shutdown_timeout(Duration::from_millis(20)));
        drop(go_on);
        until_blocking("its turn is over", || handle.metrics().tasks == 0);
    }
}

#[test]
fn runtimes_that_tasks_of_each_other_drop_end() {
    let _alone = alone();
    for n in 2..=3 {
        let runtimes: Vec<_> = (0..n).map(|_| runtime(2)).collect();
        let handles: Vec<_> = runtimes.iter().map(|runtime| runtime.handle().clone()).collect();
        let (all_run, (tell, told)) = (Arc::new(Barrier::new(n)), mpsc::channel());
        for (i, next) in runtimes.into_iter().enumerate() {
            let (all_run, tell) = (all_run.clone(), tell.clone());
            handles[(i + 1) % n].spawn(async move {
                all_run.wait();
                drop(next);
                tell.send(()).unwrap();
            });
        }
        (0..n).for_each(|_| told.recv_timeout(LIMIT).unwrap());
        assert!(handles.iter().all(Handle::has_ended));
    }
}
