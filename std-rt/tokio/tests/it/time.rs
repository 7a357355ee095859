//! Timers: the runtime that fires them, and the differences from tokio's that the module lists.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use netpoll_rt::{Runtime, block_on};
use tokio::runtime::Builder;
use tokio::time::{self, Duration, Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use crate::poll_once;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Polls a future on this thread, which is in no runtime, until it is ready.
fn run_on_plain_thread<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

#[test]
fn sleep_belongs_to_the_runtime_that_it_was_created_in() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let (one, other) = (runtime.handle(), Runtime::builder().workers(2).build().unwrap());
    let begin = Instant::now();
    let mut sleep = {
        let _entered = one.enter();
        Box::pin(sleep(20 * MS))
    };
    {
        let _entered = other.enter();
        assert!(poll_once(sleep.as_mut()).is_pending());
    }
    assert_eq!((one.metrics().timers, other.metrics().timers), (1, 0));
    run_on_plain_thread(sleep);
    assert!(begin.elapsed() >= 20 * MS);
}

#[test]
fn the_end_of_its_runtime_wakes_a_sleep_which_panics() {
    for workers in [1, 4] {
        let runtime = Runtime::builder().worker_threads(workers).build().unwrap();
        let (handle, (tell, told)) = (runtime.handle().clone(), mpsc::channel());
        let waits = thread::spawn(move || {
            let _entered = handle.enter();
            let mut sleep = pin!(sleep(HOUR));
            handle.block_on(poll_fn(|cx| {
                let polled = sleep.as_mut().poll(cx);
                tell.send(()).unwrap();
                polled
            }))
        });
        told.recv().unwrap();
        drop(runtime);
        assert_is_shut_down(waits.join());
    }
}

#[test]
fn a_sleep_panics_where_it_is_polled_after_its_runtime_has_ended() {
    for workers in [1, 4] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        let (mut polled, mut new) = {
            let _entered = runtime.enter();
            (Box::pin(sleep(HOUR)), Box::pin(sleep(Duration::ZERO)))
        };
        assert!(poll_once(polled.as_mut()).is_pending());
        drop(runtime);
        for sleep in [&mut polled, &mut new] {
            assert_is_shut_down(catch_unwind(AssertUnwindSafe(|| poll_once(sleep.as_mut()).is_ready())));
        }
    }
}

/// Asserts that a call panicked with tokio's words for a runtime that has ended.
fn assert_is_shut_down<T: std::fmt::Debug>(result: thread::Result<T>) {
    let message = *result.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, "A Tokio 1.x context was found, but it is being shutdown.");
}

#[test]
fn creating_a_timer_outside_of_a_runtime_panics() {
    for create in [
        || drop(sleep(MS)),
        || drop(sleep_until(Instant::now())),
        || drop(timeout(MS, async {})),
        || drop(interval_at(Instant::now(), MS)),
    ] {
        crate::assert_needs_runtime(create);
    }
}

#[test]
fn sleep_is_elapsed_once_it_was_polled_and_its_deadline_has_passed() {
    block_on(async {
        let mut sleep = pin!(sleep_until(Instant::now() - MS));
        assert!(!sleep.is_elapsed());
        sleep.as_mut().await;
        assert!(sleep.is_elapsed());
        sleep.as_mut().reset(Instant::now() + HOUR);
        assert!(!sleep.is_elapsed());
        assert!(poll_once(sleep.as_mut()).is_pending());
    });
}

#[test]
fn deadline_is_the_instant_that_was_given() {
    block_on(async {
        let far = Instant::now() + Duration::from_secs(1 << 40);
        assert_eq!(sleep_until(far).deadline(), far);
        let near = Instant::now() + Duration::from_nanos(12_345);
        assert_eq!(sleep_until(near).deadline(), near);
        assert!(poll_once(pin!(sleep(Duration::MAX))).is_pending());
    });
}

#[test]
fn reset_wakes_a_task_that_waits_already() {
    block_on(async {
        let begin = Instant::now();
        let mut sleep = pin!(sleep(HOUR));
        let mut was_reset = false;
        poll_fn(|cx| {
            let polled = sleep.as_mut().poll(cx);
            if !std::mem::replace(&mut was_reset, true) {
                sleep.as_mut().reset(begin + 5 * MS);
            }
            polled
        })
        .await;
        assert!((5 * MS..HOUR).contains(&begin.elapsed()));
    });
}

#[test]
fn timeout_ends_a_future_that_spends_every_budget() {
    block_on(async {
        let busy = async {
            loop {
                netpoll_rt::task::take_turn().await;
            }
        };
        let error = timeout(5 * MS, busy).await.unwrap_err();
        assert_eq!(error.to_string(), "deadline has elapsed");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn timeout_without_an_end_waits_for_its_future() {
    block_on(async {
        assert_eq!(timeout(Duration::MAX, sleep(MS)).await, Ok(()));
        assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1));
    });
}

#[test]
fn missed_ticks_come_as_the_behavior_says() {
    block_on(async {
        // 105 seconds late at a period of 10: the phase is 5 seconds off.
        let period = Duration::from_secs(10);
        let start = Instant::now() - Duration::from_secs(105);
        // The second tick, if it is due already.
        let second = |behavior| async move {
            let mut ticks = interval_at(start, period);
            ticks.set_missed_tick_behavior(behavior);
            assert_eq!(ticks.tick().await, start);
            poll_once(pin!(ticks.tick()))
        };
        assert_eq!(second(MissedTickBehavior::Burst).await, Poll::Ready(start + period));
        assert_eq!(second(MissedTickBehavior::Delay).await, Poll::Pending);
        assert_eq!(second(MissedTickBehavior::Skip).await, Poll::Pending);
    });
}

#[test]
fn skipped_ticks_keep_the_phase() {
    block_on(async {
        let period = 40 * MS;
        let start = Instant::now() - 10 * period - 20 * MS;
        let mut ticks = interval_at(start, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        assert_eq!(ticks.tick().await, start);
        let second = ticks.tick().await;
        assert_eq!((second - start).as_nanos() % period.as_nanos(), 0);
        assert!(second - start >= 11 * period);
    });
}

#[test]
fn tick_that_was_not_awaited_to_its_end_is_not_lost() {
    block_on(async {
        let start = Instant::now() + 5 * MS;
        let mut ticks = interval_at(start, HOUR);
        assert!(poll_once(pin!(ticks.tick())).is_pending());
        assert_eq!(ticks.tick().await, start);
    });
}

#[test]
fn instants_do_not_underflow() {
    let early = Instant::now();
    let late = early + HOUR;
    assert_eq!((early - late, late - early), (Duration::ZERO, HOUR));
    assert_eq!(early.checked_duration_since(late), None);
    assert_eq!(late.elapsed(), Duration::ZERO);
    assert_eq!(Instant::from_std(early.into_std()), early);
    assert_eq!(early.checked_add(Duration::MAX), None);
}

/// Creates a runtime of this crate's, on one thread.
fn current_thread(paused: bool) -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap()
}

/// Returns the message of a panic.
fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(body)).err().expect("it panics");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

#[test]
fn a_paused_clock_moves_to_each_timer_and_takes_no_time() {
    let begin = std::time::Instant::now();
    current_thread(true).block_on(async {
        let start = Instant::now();
        let slept = tokio::spawn(async move {
            sleep(2 * HOUR).await;
            start.elapsed()
        });
        assert!(timeout(HOUR, std::future::pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), HOUR);
        assert_eq!(slept.await.unwrap(), 2 * HOUR);
        let stands = tokio::task::spawn_blocking(move || start.elapsed());
        assert_eq!(timeout(MS, stands).await.unwrap().unwrap(), 2 * HOUR, "on its threads, too");
        time::advance(HOUR).await;
        time::resume();
        assert!(start.elapsed() >= 3 * HOUR);
    });
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_clock_that_cannot_be_paused_says_why_in_tokios_words() {
    assert_eq!(panic_of(time::pause), "time cannot be frozen from outside the Tokio runtime");
    assert_eq!(panic_of(time::resume), "time cannot be frozen from outside the Tokio runtime");
    let threads =
        || Builder::new_multi_thread().worker_threads(1).enable_all().start_paused(false).build().unwrap();
    let with_threads = panic_of(|| threads().block_on(async { time::pause() }));
    assert!(
        with_threads.starts_with("`time::pause()` requires the `current_thread` Tokio runtime"),
        "{with_threads}"
    );
    let built = panic_of(|| Builder::new_multi_thread().start_paused(true).build());
    assert_eq!(built, with_threads);
    let running = |body: fn()| panic_of(|| current_thread(false).block_on(async { body() }));
    assert_eq!(running(time::resume), "time is not frozen");
    let advanced = panic_of(|| current_thread(false).block_on(time::advance(MS)));
    assert_eq!(advanced, "time is not frozen");
    assert_eq!(panic_of(|| current_thread(true).block_on(async { time::pause() })), "time is already frozen");
}

#[test]
fn tasks_of_one_thread_run_in_the_order_in_which_they_were_spawned() {
    let (send, receive) = std::sync::mpsc::channel();
    current_thread(false).block_on(async {
        let tasks = [0, 1, 2].map(|n| {
            let send = send.clone();
            tokio::spawn(async move { send.send(n).unwrap() })
        });
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(receive.try_iter().collect::<Vec<i32>>(), [0, 1, 2]);
}
