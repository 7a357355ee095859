//! fork(2): the child is refused by the runtime of its parent, and the parent goes on undisturbed.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::fork::{Ended, exit, fork, forked, message, raise};
use crate::common::*;
use netpoll_core::sync::Flag;
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::{PerProcess, timer_slack};
use netpoll_rt::net::{TcpStream, UnixListener};
use netpoll_rt::poll::{Buffer, Mode, Poller};
use netpoll_rt::signal::{SignalKind, signal};
use netpoll_rt::task::{JoinSet, block_in_place};
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{Runtime, runtime_ended, spawn};

/// A part of the message of every refusal.
const WHY: &str = "forked";

/// Runs `body` with a runtime of one worker and one of four.
fn with_each(body: impl Fn(&Runtime)) {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let watch = Watch::over(runtime.handle().clone());
        body(&runtime);
        drop(runtime);
        drop(watch);
    }
}

/// Asserts that `body` panics in this process with the reason.
#[track_caller]
fn refused<T>(body: impl FnOnce() -> T) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(body)) else { panic!("it was not refused") };
    assert!(message(&*payload).contains(WHY), "{}", message(&*payload));
}

#[test]
fn block_on_and_spawn_in_a_child_panic_with_the_reason() {
    with_each(|runtime| {
        forked(|| runtime.block_on(async {})).told(WHY);
        forked(|| drop(runtime.spawn(async {}))).told(WHY);
        forked(|| drop(runtime.spawn_blocking(|| ()))).told(WHY);
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
    });
}

#[test]
fn a_writing_half_that_a_child_drops_ends_nothing() {
    with_each(|runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair_with_std().await;
            let (_reader, writer) = Arc::into_inner(stream).unwrap().into_split();
            let mut writer = Some(writer);
            forked(|| drop(writer.take())).well();
            let writer = writer.expect("only the child has taken it");
            writer.write_all(b"alive").await.unwrap();
            drop(writer);
            let mut got = Vec::new();
            std::io::Read::read_to_end(&mut peer, &mut got).unwrap();
            assert_eq!(got, b"alive");
        });
    });
}

#[test]
fn block_on_that_forks_does_not_hang_in_the_child() {
    with_each(|runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair_with_std().await;
            let mut child = None;
            // The child goes on with the future and with the runtime.
            let ended: Ended = forked(|| child = Some(()));
            ended.well();
            assert!(child.is_none());
            std::io::Write::write_all(&mut peer, b"alive").unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"alive");
        });
        // Nested: the future is pending, and no thread will ever complete it.
        forked(|| runtime.block_on(pending())).told(WHY);
        forked(|| {
            runtime.block_on(poll_fn(|_| Poll::<()>::Pending));
        })
        .told(WHY);
    });
}

#[test]
fn a_stream_dropped_in_a_child_stays_registered_in_the_parent() {
    with_each(|runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair_with_std().await;
            let mut stream: Option<TcpStream> = std::sync::Arc::into_inner(stream);
            let reader = |stream: TcpStream| async move { read_once(&stream).await };
            forked(|| drop(stream.take())).well();
            let task = spawn(reader(stream.take().unwrap()));
            parked(1).await;
            std::io::Write::write_all(&mut peer, b"still here").unwrap();
            assert_eq!(task.await.unwrap().unwrap(), b"still here");
        });
    });
}

#[test]
fn a_child_does_not_take_the_events_of_its_parent() {
    with_each(|runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair_with_std().await;
            let task = reader(&stream);
            parked(1).await;
            forked(|| {
                std::io::Write::write_all(&mut peer, b"event").unwrap();
                refused(|| runtime.block_on(sleep(Duration::from_millis(20)))); // time is tested
            })
            .well();
            assert_eq!(task.await.unwrap().unwrap(), b"event");
        });
    });
}

#[test]
fn a_wait_in_a_child_for_what_is_the_parents_fails() {
    with_each(|runtime| {
        let (stream, peer) = runtime.block_on(pair_with_std());
        let task = runtime.spawn(pending::<()>());
        forked(|| {
            let own = crate::common::runtime(2);
            own.block_on(async {
                let error = stream.read(&mut [0; 8]).await.unwrap_err();
                assert!(runtime_ended(&error) && error.to_string().contains(WHY), "{error}");
                let error = TcpStream::from_std(peer.try_clone().unwrap()).map(drop);
                error.unwrap();
                assert!(task.await.unwrap_err().is_cancelled());
            });
        })
        .well();
        let opened = forked(|| {
            let (own, handle) = (crate::common::runtime(1), runtime.handle().clone());
            // Opened where the thread works for the parent's.
            drop((own, handle));
        });
        opened.well();
    });
}

#[test]
fn a_sleep_of_the_parent_ends_in_a_runtime_of_the_child() {
    with_each(|runtime| {
        let mut nap = Box::pin(sleep(Duration::from_millis(100))); // time is tested
        runtime.block_on(async {
            assert!(Probe::new().poll(nap.as_mut()).is_pending());
        });
        forked(|| crate::common::runtime(1).block_on(nap.as_mut())).well();
        runtime.block_on(nap.as_mut());
    });
}

#[test]
fn a_set_of_tasks_in_a_child_is_cancelled_and_the_parents_goes_on() {
    with_each(|runtime| {
        let gate = Gate::new();
        let mut set = Some(JoinSet::new());
        let aborts: Vec<_> = (0..10)
            .map(|n| {
                let gate = gate.clone();
                let waits = async move {
                    gate.wait().await;
                    n
                };
                set.as_mut().unwrap().spawn_on(waits, runtime.handle())
            })
            .collect();
        forked(|| {
            aborts[0].abort();
            let own = crate::common::runtime(1);
            own.block_on(async {
                let mut set = set.take().unwrap();
                assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
                assert!(set.try_join_next().unwrap().unwrap_err().is_cancelled());
                assert_eq!(set.len(), 8);
                set.shutdown().await;
                assert!(set.is_empty());
            });
        })
        .well();
        forked(|| drop(set.take())).well();
        // Whether it was entered or not, the runtime refuses.
        let guard = runtime.enter();
        forked(|| refused(|| spawn(async {}))).well();
        forked(|| drop(runtime.enter())).well();
        drop(guard);
        gate.open();
        let mut values = runtime.block_on(set.expect("only the children have taken it").join_all());
        values.sort_unstable();
        assert_eq!(values, Vec::from_iter(0..10));
    });
}

#[test]
fn the_runtime_is_dropped_in_a_child() {
    let _alone = alone();
    for workers in [1, 4] {
        let mut runtime = Some(runtime(workers));
        let (a, b) = runtime.as_ref().unwrap().block_on(pair());
        let reading = runtime.as_ref().unwrap().spawn(async move { read_once(&a).await });
        forked(|| {
            drop(runtime.take());
            drop(b.clone());
        })
        .well();
        let runtime = runtime.take().unwrap();
        runtime.block_on(async {
            b.write_all(b"served").await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), b"served");
        });
    }
}

#[test]
fn a_child_works_with_a_runtime_of_its_own() {
    with_each(|runtime| {
        runtime.block_on(async {
            let (stream, _peer) = pair_with_std().await;
            let _reader = reader(&stream);
            parked(1).await;
        });
        for workers in [1, 4] {
            forked(|| {
                let own = crate::common::runtime(workers);
                own.block_on(async {
                    let (a, b) = pair().await;
                    let task = reader(&a);
                    parked(1).await;
                    b.write_all(b"child").await.unwrap();
                    assert_eq!(task.await.unwrap().unwrap(), b"child");
                    sleep(Duration::from_millis(1)).await; // time is tested
                    let late = timeout(Duration::from_millis(1), pending::<()>()).await;
                    assert_timed_out(late);
                });
                drop(own);
            })
            .well();
        }
    });
}

#[test]
fn a_child_of_a_task_has_the_timer_slack_of_the_process() {
    let Ok(slack) = timer_slack() else { return };
    with_each(|runtime| {
        runtime.block_on(async {
            let forks = async move { forked(|| assert_eq!(timer_slack().unwrap(), slack)).well() };
            spawn(forks).await.unwrap();
        });
    });
}

#[test]
fn a_signal_of_a_child_is_not_told_to_the_parent() {
    with_each(|runtime| {
        runtime.block_on(async {
            let listener = signal(SignalKind::USER1).unwrap();
            forked(|| raise(SignalKind::USER1.as_raw())).well();
            let told = poll_fn(|cx| Poll::Ready(listener.poll_recv(cx).is_ready())).await;
            assert!(!told, "the parent was told of a signal of the child");
            raise(SignalKind::USER1.as_raw());
            listener.recv().await.unwrap();
        });
    });
}

#[test]
fn a_task_that_forks_and_returns_ends_the_child_with_a_message() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let forks = || runtime.block_on(async { spawn(async { fork() }).await.unwrap() });
        // A thread in `block_on` of a runtime without threads panics; a worker ends the process.
        let forked = catch_unwind(AssertUnwindSafe(forks)).unwrap_or_else(|payload| exit(Err(payload)));
        forked.expect("the child does not come to the end of the task").end().told(WHY);
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
    }
}

/// The tasks behind the one that forks are the parent's, and so is the future that yields.
#[test]
fn a_child_runs_no_task_of_its_parent() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let own = std::process::id();
        let forks = || {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..20)
                    .map(|n| {
                        spawn(async move {
                            if n == 0 {
                                return fork();
                            }
                            if std::process::id() != own {
                                exit(Err(Box::new("a task of the parent runs in the child")));
                            }
                            None
                        })
                    })
                    .collect();
                let mut children = Vec::new();
                for task in tasks {
                    children.extend(task.await.unwrap());
                }
                children
            })
        };
        let children = catch_unwind(AssertUnwindSafe(forks)).unwrap_or_else(|payload| exit(Err(payload)));
        for child in children {
            child.end().told(WHY);
        }
    }
    let runtime = runtime(1);
    let yields = || {
        runtime.block_on(async {
            drop(spawn(pending::<()>()));
            let child = fork();
            netpoll_rt::yield_now().await;
            child
        })
    };
    let child = catch_unwind(AssertUnwindSafe(yields)).unwrap_or_else(|payload| exit(Err(payload)));
    child.expect("the child does not come to the end of its turn").end().told(WHY);
}

/// The other threads of the parent hold the locks of its scheduler for much of the time, so they are held in some of the
/// children.
#[test]
fn block_in_place_in_a_child_takes_no_lock_of_the_parent() {
    let _alone = alone();
    let runtime = runtime(4);
    // A fork of the many mappings of an address sanitizer takes long on a busy machine.
    let watch = Watch::over_for(runtime.handle().clone(), LIMIT * 4);
    let over = Arc::new(Flag::new());
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let over = over.clone();
            runtime.spawn(async move {
                while !over.is_set() {
                    block_in_place(|| ());
                    netpoll_rt::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..100 {
        let task = runtime.spawn(async {
            let child = block_in_place(fork);
            if child.is_none() {
                block_in_place(|| ());
                exit(Ok(()));
            }
            child
        });
        runtime.block_on(task).unwrap().expect("the child does not come to the end of the task").end().well();
    }
    over.set();
    busy.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    drop(runtime);
    drop(watch);
}

#[test]
fn the_file_of_a_listener_that_a_child_drops_stays() {
    with_each(|runtime| {
        runtime.block_on(async {
            let path = std::env::temp_dir().join(format!("netpoll-fork-{}", std::process::id()));
            let mut listener = Some(UnixListener::bind(&path).unwrap().unlink_on_drop(true));
            forked(|| drop(listener.take())).well();
            assert!(path.exists(), "the child has removed the file");
            drop(listener.take());
            assert!(!path.exists());
        });
    });
}

#[test]
fn a_pipe_of_the_parent_is_not_used_by_a_child() {
    with_each(|runtime| {
        runtime.block_on(async {
            let netpoll = Netpoll::current().unwrap();
            let pipes = netpoll.pipes();
            drop(pipes.take().unwrap());
            assert_eq!((pipes.made.get(), pipes.idle()), (1, 1));
            forked(|| {
                let pipe = pipes.take().unwrap();
                assert_eq!(pipes.made.get(), 2, "the idle pipe is the parent's");
                drop(pipe);
                assert_eq!(pipes.idle(), 1);
            })
            .well();
        });
    });
}

#[test]
fn a_poller_of_the_parent_is_not_used_by_a_child() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut ours = Some(poller.register(ours).unwrap());
    let poll = |timeout| poller.poll(timeout, &mut Buffer::new());
    let mut refuses = || {
        let child = forked(|| {
            let error = poll(Some(Duration::ZERO)).unwrap_err();
            assert!(runtime_ended(&error) && error.to_string().contains(WHY), "{error}");
            let timer = poller.timer(Instant::now() + LIMIT).poll(Waker::noop());
            assert!(matches!(timer, Poll::Ready(Err(error)) if runtime_ended(&error)));
            poller.wake();
            drop(ours.take());
        });
        child.well();
    };
    refuses();
    // The lock is that of a thread of the parent, as if it polled.
    let guard = poller.try_lock(1).unwrap();
    refuses();
    drop(guard);
    let ours = ours.unwrap();
    assert!(ours.park(Mode::Read, Waker::noop()).is_pending());
    std::io::Write::write_all(&mut peer, b"event").unwrap();
    // A signal ends a poll early.
    let events = std::iter::repeat_with(|| poll(Some(LIMIT)).unwrap()).find(|n| *n > 0);
    assert_eq!(events, Some(1), "the event is the parent's");
}

#[test]
fn a_lock_that_is_held_during_the_fork_is_not_the_childs() {
    static LIST: PerProcess<Mutex<Vec<u32>>> = PerProcess::new();
    let mut held = LIST.get().lock().unwrap();
    forked(|| {
        assert!(LIST.get_used().is_none());
        LIST.get().lock().unwrap().push(1);
        assert_eq!(LIST.get_used().map(|list| list.lock().unwrap().clone()), Some(vec![1]));
    })
    .well();
    held.push(2);
    drop(held);
    assert_eq!(*LIST.get().lock().unwrap(), [2]);
}
