//! Tasks: their budgets, code that blocks, and their handles.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime, worker_index};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::coop::{consume_budget, has_budget_remaining};
use tokio::task::{block_in_place, spawn_blocking, yield_now};

/// The operations of a turn.
const BUDGET: usize = 128;

fn runtimes() -> [Runtime; 2] {
    let build = |mut builder: Builder| builder.enable_all().build().unwrap();
    let mut workers = Builder::new_multi_thread();
    workers.worker_threads(2);
    [build(Builder::new_current_thread()), build(workers)]
}

/// Returns the receiver of a channel with many values.
fn filled() -> UnboundedReceiver<usize> {
    let (sender, receiver) = unbounded_channel();
    (0..10 * BUDGET).for_each(|n| sender.send(n).unwrap());
    receiver
}

/// Receives at most `most` values, until a receive is pending.
fn receive(receiver: &mut UnboundedReceiver<usize>, cx: &mut Context<'_>, most: usize) -> usize {
    (0..most).take_while(|_| receiver.poll_recv(cx).is_ready()).count()
}

#[test]
fn each_turn_of_a_task_receives_128_values() {
    for runtime in runtimes() {
        async fn turns() {
            let mut receiver = filled();
            for turn in 0..5 {
                let received = poll_fn(|cx| Poll::Ready(receive(&mut receiver, cx, usize::MAX))).await;
                assert_eq!(received, BUDGET, "turn {turn}");
                yield_now().await;
            }
        }
        runtime.block_on(turns());
        runtime.block_on(runtime.spawn(turns())).unwrap();
    }
}

#[test]
fn code_that_is_no_task_of_it_receives_without_a_bound() {
    for runtime in runtimes() {
        // Facade tasks have run on each of the threads.
        runtime.block_on(async { consume_budget().await });
        for _ in 0..4 {
            runtime.block_on(runtime.spawn(consume_budget())).unwrap();
        }
        // The thread that was in `block_on`.
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(receive(&mut filled(), &mut cx, 9 * BUDGET), 9 * BUDGET);
        // A task of netpoll-rt on a worker.
        let native = async {
            let mut receiver = filled();
            poll_fn(|cx| Poll::Ready(receive(&mut receiver, cx, 9 * BUDGET))).await
        };
        let handle = runtime.block_on(async { netpoll_rt::Handle::current() });
        assert_eq!(runtime.block_on(handle.spawn(native)).unwrap(), 9 * BUDGET);
    }
}

#[test]
fn a_turn_that_has_spent_either_budget_says_so() {
    for runtime in runtimes() {
        runtime.block_on(async {
            assert!(has_budget_remaining());
            let mut receiver = filled();
            poll_fn(|cx| Poll::Ready(receive(&mut receiver, cx, BUDGET))).await;
            assert!(!has_budget_remaining(), "channels");
            yield_now().await;
            assert!(has_budget_remaining());
            for _ in 0..BUDGET {
                netpoll_rt::task::take_turn().await;
            }
            assert!(!has_budget_remaining(), "sockets and timers");
        });
    }
}

#[test]
fn block_in_place_has_no_budget_and_gives_that_of_the_turn_back() {
    let [_, runtime] = runtimes();
    async fn task() {
        let mut receiver = filled();
        poll_fn(|cx| {
            assert_eq!(receive(&mut receiver, cx, 28), 28);
            let mut other = filled();
            assert_eq!(block_in_place(|| receive(&mut other, cx, 9 * BUDGET)), 9 * BUDGET);
            assert_eq!(receive(&mut receiver, cx, usize::MAX), BUDGET - 28);
            // Spent before: a new turn begins.
            block_in_place(|| ());
            assert_eq!(receive(&mut receiver, cx, usize::MAX), BUDGET);
            Poll::Ready(())
        })
        .await;
    }
    runtime.block_on(task());
    runtime.block_on(runtime.spawn(task())).unwrap();
}

#[test]
fn block_in_place_hands_the_worker_over() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let task = runtime.spawn(async {
        assert_eq!(worker_index(), Some(0));
        let (sender, receiver) = std::sync::mpsc::channel();
        let other = tokio::spawn(async move { sender.send(worker_index()).unwrap() });
        // The one worker runs the other task meanwhile.
        let received = block_in_place(|| receiver.recv().unwrap());
        other.await.unwrap();
        received
    });
    assert_eq!(runtime.block_on(task).unwrap(), Some(0));
}

#[test]
fn the_value_of_a_closure_arrives_while_no_thread_drives_the_runtime() {
    let [undriven, _] = runtimes();
    let handle = undriven.handle().clone();
    let value = handle.block_on(async {
        let text = tokio::fs::read("/etc/passwd").await.unwrap();
        assert!(!text.is_empty());
        spawn_blocking(|| 7).await.unwrap()
    });
    assert_eq!(value, 7);
}

#[test]
fn a_closure_that_has_begun_is_not_aborted() {
    for runtime in runtimes() {
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let (begins, begun) = std::sync::mpsc::channel();
        let closure = runtime.spawn_blocking(move || {
            begins.send(()).unwrap();
            told.recv().unwrap();
            5
        });
        begun.recv().unwrap();
        closure.abort();
        runtime.shutdown_timeout(Duration::ZERO);
        go_on.send(()).unwrap();
        let waiting = thread::spawn(move || futures_block_on(closure));
        assert_eq!(waiting.join().unwrap().unwrap(), 5);
    }
}

/// Runs a future on this thread, which is in no runtime.
fn futures_block_on<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn an_abort_handle_of_a_task_whose_result_was_taken_knows_its_end() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let mut task = pin!(tokio::spawn(async { 3 }));
            assert_eq!(task.as_mut().await.unwrap(), 3);
            let handle = task.abort_handle();
            assert!(handle.is_finished());
            assert_eq!(handle.id(), task.id());
            handle.abort();
        });
    }
}
