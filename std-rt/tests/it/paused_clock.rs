//! A clock that is paused: which times go by it, when it moves by itself, and what keeps it.

use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use futures_io::AsyncRead;
use netpoll_rt::io::CopyOptions;
use netpoll_rt::net::UnixStream;
use netpoll_rt::time::{self, Clock, MissedTicks, interval, sleep, sleep_until, timeout, timeout_at};
use netpoll_rt::{Handle, JoinHandle, Runtime, fs, spawn, spawn_blocking, yield_now};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs `body` on a runtime whose clock is paused. Afterwards nothing is left, and the hours of the body took no time.
fn paused<T>(body: impl Future<Output = T>) -> T {
    let _alone = alone();
    let start = Instant::now();
    let runtime = Runtime::builder().workers(1).clock(Clock::paused()).build().unwrap();
    let handle = runtime.handle().clone();
    let watch = Watch::over(handle.clone());
    let value = runtime.block_on(body);
    drop(runtime);
    drop(watch);
    assert_nothing_left(&handle);
    assert!(start.elapsed() < LIMIT);
    value
}

/// Returns the message with which `body` panics, on this thread's runtime or on none.
fn panic_of(body: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(body)).expect_err("it panics");
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap().to_string())
}

/// The log of a test: what happened, and how long after the start.
#[derive(Clone)]
struct Log(Instant, Arc<Mutex<Vec<(&'static str, Duration)>>>);

impl Log {
    fn new() -> Self {
        Self(time::now(), Arc::default())
    }

    fn add(&self, what: &'static str) {
        self.1.lock().unwrap().push((what, time::now() - self.0));
    }

    fn after(&self, what: &'static str, delay: Duration) -> JoinHandle<()> {
        let log = self.clone();
        spawn(async move {
            sleep(delay).await; // time is tested
            log.add(what);
        })
    }

    fn take(&self) -> Vec<(&'static str, Duration)> {
        std::mem::take(&mut *self.1.lock().unwrap())
    }
}

#[test]
fn the_clock_stands_while_there_is_work_and_moves_to_each_timer_exactly() {
    paused(async {
        let log = Log::new();
        let tasks = [
            log.after("b", 2 * HOUR),
            log.after("a", HOUR),
            log.after("c", 2 * HOUR + Duration::from_nanos(1)),
        ];
        for _ in 0..1000 {
            yield_now().await;
        }
        thread::sleep(2 * MS); // time is tested
        assert_eq!(time::now(), log.0, "the system's time passes, that of the clock does not");
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(log.take(), [("a", HOUR), ("b", 2 * HOUR), ("c", 2 * HOUR + Duration::from_nanos(1))]);
    });
}

#[test]
fn sleeps_timeouts_and_intervals_go_by_it() {
    paused(async {
        let start = time::now();
        sleep_until(start + HOUR).await;
        assert!(timeout(HOUR, pending::<()>()).await.is_err());
        assert!(timeout_at(start + 3 * HOUR, pending::<()>()).await.is_err());
        assert_eq!(time::now() - start, 3 * HOUR);
        let mut ticks = interval(HOUR).on_missed(MissedTicks::Skip);
        for hours in 3..6 {
            assert_eq!(ticks.tick().await - start, hours * HOUR);
        }
        time::advance(5 * HOUR / 2).await;
        let late = [ticks.tick().await, ticks.tick().await].map(|tick| tick - start);
        assert_eq!(late, [6 * HOUR, 8 * HOUR], "the ticks at 7 and before are missed");
        let mut moved = pin!(sleep(HOUR)); // time is tested
        moved.as_mut().reset(time::now() + 2 * HOUR);
        assert!(!moved.is_elapsed());
        moved.as_mut().await;
        assert!(moved.is_elapsed());
        assert_eq!(time::now() - start, 10 * HOUR);
    });
}

#[test]
fn advance_lets_every_timer_that_is_due_have_its_turn_in_order() {
    paused(async {
        let log = Log::new();
        let delays = [("c", 30 * MS), ("a", 10 * MS), ("later", 51 * MS), ("b", 20 * MS), ("d", 50 * MS)];
        let mut tasks = delays.map(|(what, delay)| log.after(what, delay));
        yield_now().await;
        time::advance(5 * MS).await;
        assert_eq!(log.take(), []);
        time::advance(45 * MS).await;
        assert_eq!(log.take(), ["a", "b", "c", "d"].map(|what| (what, 50 * MS)), "all at the new time");
        (&mut tasks[2]).await.unwrap();
        assert_eq!(log.take(), [("later", 51 * MS)]);
        // More than one poll fires.
        let many: Vec<_> = (0..1000).map(|n| log.after("", MS + Duration::from_micros(n))).collect();
        let handle = Handle::current();
        until("all are armed", || handle.metrics().timers == many.len()).await;
        time::advance(HOUR).await;
        assert_eq!(handle.metrics().timers, 0);
        for task in many {
            task.await.unwrap();
        }
        let log = log.take();
        assert!(log.len() == 1000 && log.iter().all(|entry| *entry == ("", HOUR + 51 * MS)), "{log:?}");
    });
}

#[test]
fn a_timer_that_is_dropped_or_that_never_ends_is_no_stop() {
    paused(async {
        let log = Log::new();
        let forever = spawn(sleep(Duration::MAX)); // time is tested
        let mut dropped: Vec<_> = (1..100).map(|n| Box::pin(sleep(n * MS))).collect(); // time is tested
        poll_fn(|cx| {
            assert!(dropped.iter_mut().all(|sleep| sleep.as_mut().poll(cx).is_pending()));
            Poll::Ready(())
        })
        .await;
        drop(dropped);
        log.after("last", HOUR).await.unwrap();
        assert_eq!(log.take(), [("last", HOUR)]);
        forever.abort();
        assert!(forever.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn deadlines_and_timeouts_of_sockets_go_by_it() {
    paused(async {
        let (ours, theirs) = pair().await;
        let start = time::now();
        let late = |error: io::Error| assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        ours.set_read_deadline(Some(start + HOUR)).unwrap();
        late(read_once(&ours).await.unwrap_err());
        assert_eq!(time::now() - start, HOUR);
        ours.set_read_deadline(None).unwrap();
        ours.set_read_timeout(Some(HOUR)).unwrap();
        for hours in 2..4 {
            late(read_once(&ours).await.unwrap_err());
            assert_eq!(time::now() - start, hours * HOUR, "each wait has an hour");
        }
        let polled = poll_fn(|cx| Pin::new(&mut &*ours).poll_read(cx, &mut [0; 8]));
        late(polled.await.unwrap_err());
        assert_eq!(time::now() - start, 4 * HOUR);
        // The peer answers within the time.
        let writer = spawn(async move {
            sleep(HOUR / 2).await; // time is tested
            theirs.write_all(b"late").await.unwrap();
            theirs
        });
        assert_eq!(read_once(&ours).await.unwrap(), b"late");
        assert_eq!(time::now() - start, 4 * HOUR + HOUR / 2);
        // A deadline that `advance` passes, and one that was moved later before it passed.
        ours.set_read_timeout(None).unwrap();
        ours.set_read_deadline(Some(time::now() + MS)).unwrap();
        let read = reader(&ours);
        yield_now().await;
        ours.set_read_deadline(Some(time::now() + HOUR)).unwrap();
        time::advance(HOUR - MS).await;
        assert!(!read.is_finished());
        time::advance(MS).await;
        late(read.await.unwrap().unwrap_err());
        drop(writer.await.unwrap());
    });
}

#[test]
fn a_task_that_waits_for_the_lock_of_a_direction_times_out_by_it() {
    paused(async {
        let (ours, _theirs) = pair().await;
        let start = time::now();
        let first = reader(&ours);
        yield_now().await;
        ours.set_read_deadline(Some(start + HOUR)).unwrap();
        let second = reader(&ours);
        for read in [first, second] {
            assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        }
        assert_eq!(time::now() - start, HOUR);
    });
}

#[test]
fn a_copy_and_a_connect_are_limited_by_it() {
    paused(async {
        let start = time::now();
        let ((a, _peer), (b, _other)) = (pair().await, pair().await);
        let error = CopyOptions::new().idle_timeout(HOUR).copy(&*a, &*b).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert_eq!(time::now() - start, HOUR);
        let past = start + HOUR - MS;
        let address = listener().await.local_addr().unwrap();
        let error = netpoll_rt::net::TcpStream::connect_deadline(address, past).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "the deadline has passed by the clock: {error}");
    });
}

#[test]
fn an_event_that_is_ready_comes_before_the_next_timer() {
    paused(async {
        let start = time::now();
        let (near, far) = UnixStream::pair().unwrap();
        let far = Arc::new(far);
        for _ in 0..100 {
            let writer = spawn({
                let far = far.clone();
                async move {
                    far.write_all(b"x").await.unwrap();
                    sleep(MS).await; // time is tested
                }
            });
            assert_eq!(timeout(MS, near.read(&mut [0; 8])).await.unwrap().unwrap(), 1);
            writer.await.unwrap();
        }
        assert_eq!(time::now() - start, 100 * MS);
    });
}

#[test]
fn the_clock_stands_while_a_thread_of_the_pool_works() {
    paused(async {
        let start = time::now();
        // Longer than the timeout, by the clock of the system.
        let nap = spawn_blocking(|| thread::sleep(20 * MS)); // time is tested
        timeout(MS, nap).await.expect("the clock stands").unwrap();
        let path = std::env::temp_dir().join(format!("netpoll-paused-{}", std::process::id()));
        timeout(MS, fs::write(&path, b"text")).await.expect("the clock stands").unwrap();
        assert_eq!(timeout(MS, fs::read(&path)).await.expect("the clock stands").unwrap(), b"text");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(time::now(), start);
        // Nobody awaits this one, and the clock goes on when it has ended.
        let (begin, wait) = mpsc::channel::<()>();
        let nap = spawn_blocking(move || {
            let now = time::now();
            wait.recv().unwrap();
            (now, time::now())
        });
        let waker = thread::spawn(move || {
            thread::sleep(5 * MS); // time is tested
            begin.send(()).unwrap();
        });
        sleep(HOUR).await; // time is tested
        assert!(nap.is_finished(), "the hour began after it");
        assert_eq!(nap.await.unwrap(), (start, start), "its thread goes by the same clock");
        assert_eq!(time::now() - start, HOUR);
        waker.join().unwrap();
    });
}

#[test]
fn the_end_of_work_on_the_pool_is_never_overtaken_by_the_clock() {
    paused(async {
        let start = time::now();
        for n in 0..1000 {
            let chain = spawn_blocking(move || {
                // One closure starts another: the pool has work all the time.
                let handle = Handle::current();
                handle.spawn_blocking(move || n)
            });
            let value = timeout(MS, async { chain.await.unwrap().await.unwrap() }).await;
            assert_eq!(value.expect("the clock stands"), n);
        }
        assert_eq!(time::now(), start);
    });
}

#[test]
fn without_a_timer_a_wait_lasts_until_another_thread_ends_it() {
    paused(async {
        let (start, handle) = (time::now(), Handle::current());
        let probe = Arc::new(Mutex::new(None));
        let waker = thread::spawn({
            let (probe, handle) = (probe.clone(), handle.clone());
            move || {
                until_blocking("the runtime waits", || probe.lock().unwrap().is_some());
                thread::sleep(20 * MS); // time is tested
                let polls = handle.metrics().polls;
                let waker: std::task::Waker = probe.lock().unwrap().take().unwrap();
                waker.wake();
                polls
            }
        });
        let mut polled = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled, true) && probe.lock().unwrap().is_none() {
                return Poll::Ready(());
            }
            *probe.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        assert_eq!(time::now(), start);
        let polls = waker.join().unwrap();
        assert!(polls < 10, "it sleeps, it does not look again and again: {polls} polls");
    });
}

#[test]
fn a_clock_that_goes_on_keeps_its_distance() {
    let _alone = alone();
    runtime(1).block_on(async {
        assert!(!time::is_paused());
        let start = Instant::now();
        time::pause();
        assert!(time::is_paused());
        let paused_at = time::now();
        assert!(paused_at >= start);
        time::advance(10 * HOUR).await;
        assert_eq!(time::now() - paused_at, 10 * HOUR);
        time::resume();
        assert!(!time::is_paused());
        assert!(time::now() >= paused_at + 10 * HOUR && time::now() < paused_at + 11 * HOUR);
        let (system, ours) = (Instant::now(), time::now());
        sleep(10 * MS).await; // time is tested
        assert!(system.elapsed() >= 10 * MS && time::now() - ours >= 10 * MS, "it takes its time now");
        let (stream, _peer) = pair().await;
        stream.set_read_deadline(Some(time::now() + 10 * MS)).unwrap();
        let (system, ours) = (Instant::now(), time::now());
        assert_eq!(read_once(&stream).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(system.elapsed() >= 9 * MS && time::now() - ours >= 9 * MS);
        stream.set_read_deadline(None).unwrap();
        stream.set_read_timeout(Some(10 * MS)).unwrap();
        assert_eq!(read_once(&stream).await.unwrap_err().kind(), ErrorKind::TimedOut);
        time::pause();
        let ours = time::now();
        sleep(HOUR).await; // time is tested
        assert_eq!(time::now() - ours, HOUR);
    });
}

#[test]
fn another_thread_may_pause_the_clock_of_a_runtime_that_sleeps() {
    let _alone = alone();
    let runtime = runtime(1);
    let handle = runtime.handle().clone();
    let _watch = Watch::over(handle.clone());
    let pauses = thread::spawn(move || {
        until_blocking("the sleep is armed", || handle.metrics().timers == 1);
        let _entered = handle.enter();
        time::pause();
    });
    // It would take an hour.
    runtime.block_on(sleep(HOUR)); // time is tested
    pauses.join().unwrap();
}

#[test]
fn each_runtime_has_its_own_clock() {
    let _alone = alone();
    let (still, other) = (Runtime::builder().workers(1).clock(Clock::paused()).build().unwrap(), runtime(1));
    let before = Instant::now();
    still.block_on(sleep(10 * HOUR)); // time is tested
    let elsewhere = other.block_on(async { time::now() });
    assert!(elsewhere >= before && elsewhere < before + HOUR);
    assert!(time::now() < before + HOUR, "outside of a runtime it is the system's clock");
    assert!(still.block_on(async { time::now() }) >= before + 10 * HOUR);
    // The deadline of a socket goes by the clock of the socket's runtime, whichever polls it.
    let (stream, _peer) = still.block_on(pair());
    stream.set_read_timeout(Some(HOUR)).unwrap();
    let read = still.spawn({
        let stream = stream.clone();
        async move { read_once(&stream).await }
    });
    let error = still.block_on(read).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_clock_is_paused_once_and_on_one_thread_only() {
    let _alone = alone();
    let outside = "this thread is in no runtime";
    assert!(panic_of(time::pause).contains(outside));
    assert!(panic_of(time::resume).contains(outside));
    assert!(!time::is_paused());
    for builder in [Runtime::builder(), Runtime::builder().workers(2), Runtime::builder().worker_threads(1)] {
        let error = builder.clone().clock(Clock::paused()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("workers(1)"), "{error}");
        let runtime = builder.clock(Clock::system()).build().unwrap();
        runtime.block_on(async {
            assert!(panic_of(time::pause).contains("workers(1)"));
            let task = spawn(async { time::pause() });
            assert!(task.await.unwrap_err().is_panic());
            assert!(!time::is_paused());
        });
    }
    runtime(1).block_on(async {
        assert!(panic_of(time::resume).contains("not paused"));
        let task = spawn(time::advance(MS));
        assert!(task.await.unwrap_err().is_panic(), "the clock is not paused");
        time::pause();
        assert!(panic_of(time::pause).contains("paused already"));
        let now = time::now();
        let task = spawn(time::advance(Duration::MAX));
        assert!(task.await.unwrap_err().is_panic(), "beyond the range");
        assert_eq!(time::now(), now, "nothing has moved");
        time::advance(Duration::ZERO).await;
        assert_eq!(time::now(), now);
    });
}

/// More timers of one task are due than one poll fires, and the closure that has moved the clock waits for all of them.
#[test]
fn timers_that_are_due_fire_while_a_closure_runs() {
    const SLEEPS: usize = 1000;
    paused(async {
        let (tell, told) = mpsc::channel();
        let mut sleeps: Vec<_> = (0..SLEEPS).map(|_| Box::pin(sleep(HOUR))).collect(); // time is tested
        let sleeping = spawn(async move {
            poll_fn(|cx| {
                sleeps.retain_mut(|sleep| sleep.as_mut().poll(cx).is_pending());
                if sleeps.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            tell.send(()).unwrap();
        });
        let handle = Handle::current();
        let closure = spawn_blocking(move || {
            until_blocking("the timers are armed", || handle.metrics().timers == SLEEPS);
            futures_lite::future::block_on(time::advance(HOUR));
            told.recv_timeout(LIMIT / 2).unwrap();
        });
        closure.await.unwrap();
        sleeping.await.unwrap();
    });
}
