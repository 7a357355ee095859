//! Sets of tasks that are awaited in the order in which they end, and the handles that abort single tasks.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::task::{self, AbortHandle, JoinSet, with_budget};
use netpoll_rt::{Handle, spawn, spawn_local, yield_now};

/// Counts when it is dropped.
struct Counted(Arc<Counter>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.inc();
    }
}

#[test]
fn results_come_in_the_order_in_which_the_tasks_end() {
    each(async || {
        let gates: Vec<_> = (0..5).map(|_| Gate::new()).collect();
        let mut set = JoinSet::new();
        let ids: HashMap<_, _> = gates
            .iter()
            .enumerate()
            .map(|(n, gate)| {
                let gate = gate.clone();
                let started = set.spawn(async move {
                    gate.wait().await;
                    n
                });
                (started.id(), n)
            })
            .collect();
        assert_eq!((set.len(), ids.len()), (5, 5));
        assert!(set.try_join_next().is_none());
        for n in [3, 0, 4, 1, 2] {
            gates[n].open();
            let (id, value) = set.join_next_with_id().await.unwrap().unwrap();
            assert_eq!((value, ids[&id]), (n, n));
        }
        assert!(set.is_empty() && set.join_next().await.is_none() && set.try_join_next().is_none());
    });
}

#[test]
fn panics_and_aborts_are_errors_with_the_id() {
    each(async || {
        let mut set = JoinSet::<()>::new();
        let panics = set.spawn(async { panic!("on purpose") });
        let error = set.join_next().await.unwrap().unwrap_err();
        assert_eq!((error.id(), error.is_panic(), panics.is_finished()), (panics.id(), true, true));
        let payload = error.try_into_panic().unwrap();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        let aborted = set.spawn(pending());
        assert!(!aborted.is_finished());
        aborted.clone().abort();
        let error = set.join_next_with_id().await.unwrap().unwrap_err();
        assert_eq!((error.id(), error.is_cancelled()), (aborted.id(), true));
        assert!(error.try_into_panic().unwrap_err().is_cancelled());
        // Without an effect.
        aborted.abort();
    });
}

#[test]
fn every_kind_of_task_is_a_member() {
    on(&[1], async || {
        let gate = Gate::new();
        let mut set = JoinSet::new();
        set.spawn(async { 1 });
        set.spawn_on(async { 2 }, &Handle::current());
        set.spawn_blocking(|| 4);
        set.spawn_blocking_on(|| 8, &Handle::current());
        let (stays, waits) = (Rc::new(16), gate.clone());
        set.spawn_local(async move {
            waits.wait().await;
            *stays
        });
        gate.open();
        assert_eq!(set.join_all().await.iter().sum::<i32>(), 31);
        let set: JoinSet<_> = (0..10).map(|n| async move { n }).collect();
        let mut all = set.join_all().await;
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..10));
    });
}

#[test]
fn dropping_a_set_aborts_its_tasks_and_detaching_does_not() {
    each(async || {
        let (dropped, gate) = (Arc::new(Counter::new()), Gate::new());
        let start = |set: &mut JoinSet<()>| {
            for _ in 0..100 {
                let (counted, gate) = (Counted(dropped.clone()), gate.clone());
                set.spawn(async move {
                    gate.wait().await;
                    drop(counted);
                });
            }
        };
        let mut set = JoinSet::new();
        start(&mut set);
        drop(set);
        until("all are dropped", || dropped.get() == 100).await;
        let mut set = JoinSet::new();
        start(&mut set);
        set.detach_all();
        assert!(set.is_empty());
        // New members have the keys of the former ones, which still end.
        let waiting = set.spawn(pending());
        gate.open();
        until("those that were detached end by themselves", || dropped.get() == 200).await;
        assert!(set.try_join_next().is_none() && !waiting.is_finished());
        start(&mut set);
        set.shutdown().await;
        assert_eq!((set.len(), dropped.get(), waiting.is_finished()), (0, 300, true));
    });
}

#[test]
fn a_panic_in_join_all_aborts_the_others() {
    each(async || {
        let dropped = Arc::new(Counter::new());
        let counted = Counted(dropped.clone());
        let failed = spawn(async move {
            let mut set = JoinSet::new();
            set.spawn(async move {
                pending::<()>().await;
                drop(counted);
            });
            set.spawn(async { panic!("on purpose") });
            set.join_all().await
        });
        assert_eq!(failed.await.unwrap_err().to_string(), "the task panicked: on purpose");
        until("the other one is dropped", || dropped.get() == 1).await;
    });
}

#[test]
fn a_set_wakes_the_task_that_polled_last() {
    on(&[1], async || {
        let (first, second, gate) = (Probe::new(), Probe::new(), Gate::new());
        let mut set = JoinSet::new();
        for _ in 0..2 {
            let gate = gate.clone();
            set.spawn(async move { gate.wait().await });
        }
        assert!(first.poll(pin!(set.join_next())).is_pending());
        assert!(second.poll(pin!(set.join_next())).is_pending());
        gate.open();
        second.woken(1).await;
        assert_eq!(first.wakes.get(), 0);
        // The wait was dropped, and the result was not lost.
        assert!(second.poll(pin!(set.join_next())).is_ready());
        assert!(matches!(second.poll(pin!(set.join_next())), Poll::Ready(Some(Ok(())))));
    });
}

#[test]
fn results_count_against_the_budget() {
    on(&[1], async || {
        let mut set: JoinSet<_> = (0..100).map(|n| async move { n }).collect();
        until("all have ended", || Handle::current().metrics().tasks == 0).await;
        let probe = Probe::new();
        let taken = Counter::new();
        let mut all = pin!(with_budget(10, async {
            while set.join_next().await.is_some() {
                taken.inc();
            }
        }));
        let mut turns = 1;
        while probe.poll_in_turn(all.as_mut()).is_pending() {
            turns += 1;
        }
        assert_eq!((taken.get(), turns, probe.wakes.get()), (100, 11, 10));
    });
}

/// The cost of a result does not depend on the number of tasks: a list that were searched would take hours.
#[test]
fn a_hundred_thousand_tasks_end_in_reverse_order() {
    const TASKS: usize = 100_000;
    each(async || {
        let waiting: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let mut set = JoinSet::new();
        for n in 0..TASKS {
            let waiting = waiting.clone();
            let mut polled = false;
            set.spawn(poll_fn(move |cx| {
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(n);
                }
                waiting.lock().unwrap().push(cx.waker().clone());
                Poll::Pending
            }));
        }
        until("all wait", || waiting.lock().unwrap().len() == TASKS).await;
        let mut seen = vec![false; TASKS];
        for _ in 0..TASKS {
            // The others stay, so the set is long for as long as possible, and the first keys are free.
            let waker = waiting.lock().unwrap().swap_remove(0);
            waker.wake();
            let n = set.join_next().await.unwrap().unwrap();
            assert!(!std::mem::replace(&mut seen[n], true));
        }
        assert!(set.is_empty());
    });
}

#[test]
fn a_member_drops_the_set_that_it_is_in() {
    each(async || {
        let (shared, dropped) = (Arc::new(Mutex::new(Some(JoinSet::new()))), Arc::new(Counter::new()));
        for _ in 0..8 {
            let (of_member, counted) = (shared.clone(), Counted(dropped.clone()));
            let mut guard = shared.lock().unwrap();
            // A member that runs already may have dropped it.
            let Some(set) = guard.as_mut() else { break };
            set.spawn(async move {
                yield_now().await;
                drop(of_member.lock().unwrap().take());
                // It is aborted, but in its turn.
                yield_now().await;
                unreachable!("it goes on after its abort: {}", counted.0.get());
            });
        }
        until("the set is gone", || shared.lock().unwrap().is_none()).await;
        until("all are dropped", || Handle::current().metrics().tasks == 0).await;
        assert!(dropped.get() >= 1);
    });
}

/// A waker that aborts a task.
struct Aborts(Mutex<Option<AbortHandle>>);

impl Wake for Aborts {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().take().unwrap().abort();
    }
}

#[test]
fn a_waker_of_the_set_aborts_another_member() {
    each(async || {
        let mut set = JoinSet::new();
        let gate = Gate::new();
        let other = set.spawn(pending());
        let waits = gate.clone();
        set.spawn(async move { waits.wait().await });
        let waker = Waker::from(Arc::new(Aborts(Mutex::new(Some(other.clone())))));
        assert!(set.poll_join_next(&mut std::task::Context::from_waker(&waker)).is_pending());
        gate.open();
        until("the waker has aborted it", || other.is_finished()).await;
        let mut results = [set.join_next().await, set.join_next().await].map(Option::unwrap);
        results.sort_by_key(Result::is_err);
        assert!(results[0].is_ok() && results[1].as_ref().unwrap_err().id() == other.id());
    });
}

impl Drop for Aborts {
    fn drop(&mut self) {
        self.0.lock().unwrap().take().into_iter().for_each(|task| task.abort());
    }
}

#[test]
fn a_member_that_ends_in_the_drop_of_the_last_waker_wakes_the_new_one() {
    on(&[1], async || {
        let probe = Probe::new();
        let mut set = JoinSet::new();
        let task = set.spawn(pending::<()>());
        yield_now().await;
        let waker = Waker::from(Arc::new(Aborts(Mutex::new(Some(task.clone())))));
        assert!(set.poll_join_next(&mut std::task::Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(!task.is_finished());
        assert!(probe.poll(pin!(set.join_next())).is_pending());
        probe.woken(1).await;
        assert!(set.try_join_next().unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_task_aborts_itself_and_others_abort_it_while_it_is_polled() {
    each(async || {
        for _ in 0..100 {
            let (send, receive) = std::sync::mpsc::channel::<AbortHandle>();
            let task = spawn(async move {
                let own = receive.recv().unwrap();
                own.abort();
                own.abort();
                assert!(!own.is_finished());
                yield_now().await;
                unreachable!("it was aborted");
            });
            let handle = task.abort_handle();
            let aborter = thread::spawn({
                let handle = handle.clone();
                move || handle.abort()
            });
            // It fails if the task was aborted before its first poll.
            let sent = send.send(handle.clone());
            let error = task.await.map(|never: std::convert::Infallible| match never {}).unwrap_err();
            assert!(error.is_cancelled() && handle.is_finished());
            drop(sent);
            aborter.join().unwrap();
        }
    });
}

#[test]
fn a_local_task_is_aborted_from_any_thread_and_dropped_on_its_own() {
    on(&[1], async || {
        let here = thread::current().id();
        let (dropped, on) = (Arc::new(Counter::new()), Rc::new(std::cell::Cell::new(None)));
        let (counted, tells) = (Counted(dropped.clone()), on.clone());
        // Its value is not `Send`.
        let task = spawn_local(async move {
            let _guard = scope_guard(move || tells.set(Some(thread::current().id())));
            pending::<()>().await;
            drop(counted);
            Rc::new(1)
        });
        let (handle, second) = (task.abort_handle(), spawn_local(async { Rc::new(2) }));
        yield_now().await;
        thread::spawn(move || handle.abort()).join().unwrap();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!((on.get(), dropped.get()), (Some(here), 1));
        assert_eq!(*second.await.unwrap(), 2);
    });
}

fn scope_guard(call: impl FnOnce()) -> impl Drop {
    struct Guard<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Guard<F> {
        fn drop(&mut self) {
            self.0.take().unwrap()();
        }
    }
    Guard(Some(call))
}

#[test]
fn a_task_knows_its_id() {
    each(async || {
        assert_eq!(task::try_id(), None, "block_on has none");
        assert!(catch_unwind(task::id).is_err());
        let mut tasks = Vec::new();
        for _ in 0..20 {
            tasks.push(spawn(async {
                let before = task::id();
                yield_now().await;
                let inner = spawn(async { task::id() });
                let (inner_id, handle_id) = (inner.id(), inner.await.unwrap());
                assert_eq!(inner_id, handle_id);
                assert_eq!(task::id(), before);
                before
            }));
        }
        let mut ids = Vec::new();
        for mut task in tasks {
            let id = task.id();
            assert_eq!((&mut task).await.unwrap(), id);
            assert_eq!((task.id(), task.is_finished()), (id, true), "the handle knows it afterwards");
            assert!(catch_unwind(AssertUnwindSafe(|| task.abort_handle())).is_err());
            task.abort();
            ids.push(id);
        }
        assert_eq!(task::try_id(), None);
        assert_eq!(format!("{:?}", ids[0]), format!("Id({})", ids[0]));
    });
}

/// Tasks that run beneath a `block_on` within a task do not change that task's id.
#[test]
fn a_nested_block_on_restores_the_id() {
    let _alone = alone();
    for workers in [1, 2] {
        let runtime = Arc::new(runtime(workers));
        let inner = runtime.clone();
        let task = async move {
            let own = task::id();
            inner.block_on(async {
                let others: JoinSet<_> = (0..10).map(|_| async { task::id() }).collect();
                assert!(others.join_all().await.iter().all(|id| *id != own));
                assert_eq!(task::id(), own);
            });
            task::id() == own
        };
        assert!(runtime.block_on(async { spawn(task).await.unwrap() }));
    }
}

#[test]
fn members_of_a_runtime_that_ends_are_cancelled() {
    let _alone = alone();
    for workers in [1, 4] {
        let (first, second) = (runtime(workers), runtime(1));
        let mut set = JoinSet::<()>::new();
        for _ in 0..100 {
            set.spawn_on(pending(), first.handle());
        }
        let handle = first.handle().clone();
        drop(first);
        // It is cancelled at once.
        set.spawn_on(pending(), &handle);
        second.block_on(async {
            for _ in 0..101 {
                assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
            }
        });
        assert!(set.is_empty());
        assert_nothing_left(&handle);
    }
}
