//! Children that outlive their handle or their runtime: none stays a zombie, and none costs a thread.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use crate::child::{cat, children, each_path, shell};
use crate::common::fork::forked;
use crate::common::own_process::{assert_passed, rerun};
use crate::common::*;
use netpoll_rt::net::pipe::{self, PipeWriter};
use netpoll_rt::process::{Child, Command, Stdio};
use netpoll_rt::{OpError, Runtime, runtime_ended, spawn};

/// Returns once this process has no child.
async fn no_child() {
    until("the children are gone", || children().is_empty()).await;
}

#[test]
fn a_dropped_child_goes_on_and_is_reaped_when_it_ends() {
    each_path(async || {
        let mut child = cat();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        drop(child);
        stdin.write_all(b"alive").await.unwrap();
        stdout.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(children().len(), 1);
        drop(stdin);
        no_child().await;
    });
}

#[test]
fn a_dropped_child_is_killed_if_that_was_asked_for() {
    each_path(async || {
        let (reader, writer) = pipe::pipe().unwrap();
        let sleeper = |writer: PipeWriter| {
            let mut command = Command::new("sleep");
            command.arg("1000").stdout(writer.into_blocking().unwrap()).kill_on_drop(true);
            command
        };
        let child = sleeper(writer).spawn().unwrap();
        drop(child);
        // Nothing has the other end any more.
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
        no_child().await;
        // So do the futures.
        let probe = Probe::new();
        let mut command = Command::new("sleep");
        command.arg("1000").kill_on_drop(true);
        assert!(probe.poll(pin!(command.status())).is_pending());
        assert!(probe.poll(pin!(command.output())).is_pending());
        no_child().await;
    });
}

#[test]
fn a_thousand_children_half_of_them_killed_leave_no_zombie_and_need_no_thread() {
    if !kernel::has_proc() {
        return;
    }
    let body = || ();
    match rerun(&["sh", "-c", "ulimit -n 4096 && exec \"$0\" \"$@\""], &body) {
        Some(ended) => assert_passed(&ended),
        None => each_path(async || thousand().await),
    }
}

async fn thousand() {
    const CHILDREN: usize = 1000;
    // The kernel lists a thread of the runtime before this one for a moment, so there may be fewer later.
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    // All of them read the same pipe, and end when it does.
    let (reader, writer) = pipe::pipe().unwrap();
    let reader = reader.into_blocking().unwrap();
    let start = || Command::new("cat").stdin(reader.try_clone().unwrap()).spawn().unwrap();
    let all: Vec<Child> = (0..CHILDREN).map(|_| start()).collect();
    drop(reader);
    assert_eq!(children().len(), CHILDREN);
    assert!(threads() <= before);
    // A wait for each of them, of which half are given up, as are half of the children.
    let mut waits = Vec::new();
    for (n, child) in all.into_iter().enumerate() {
        match n % 4 {
            0 => waits.push((spawn(async move { ended(&child).await }), None)),
            1 => {
                child.start_kill().unwrap();
                waits.push((spawn(async move { ended(&child).await }), Some(9)));
            }
            2 => drop(child),
            _ => child.start_kill().unwrap(),
        }
    }
    assert!(threads() <= before);
    writer.close().await.unwrap();
    for (wait, signal) in waits {
        assert_eq!(wait.await.unwrap(), signal);
    }
    no_child().await;
    assert!(threads() <= before);
}

async fn ended(child: &Child) -> Option<i32> {
    child.wait().await.unwrap().signal()
}

fn builder(workers: usize, filtered: bool) -> Runtime {
    Runtime::builder().workers(workers).system_call_filter(filtered).build().unwrap()
}

const PATHS: [(usize, bool); 4] = [(1, false), (4, false), (1, true), (4, true)];

#[test]
fn a_child_of_a_runtime_that_has_ended_can_be_looked_at_and_awaited_in_another() {
    let _alone = alone();
    for (workers, filtered) in PATHS {
        let (first, other) = (builder(workers, filtered), runtime(2));
        let watch = Watch::over(other.handle().clone());
        let (mut child, ended) = first.block_on(async { (cat(), shell("exit 1").spawn().unwrap()) });
        let stdin = child.stdin.take().unwrap();
        // A task of another runtime waits when this one ends.
        let child = Arc::new(child);
        let waiting = child.clone();
        let task = other.spawn(async move { waiting.wait().await });
        until_blocking("it waits", || first.handle().waiters() == 1);
        drop(first);
        until_blocking("the other runtime watches the child", || other.handle().waiters() == 1);
        // Without a runtime nothing would end the wait.
        let polled = Probe::new().poll(pin!(child.wait()));
        assert!(matches!(polled, Poll::Ready(Err(error)) if runtime_ended(&error)));
        assert_eq!(child.try_wait().unwrap(), None);
        child.start_kill().unwrap();
        assert_eq!(other.block_on(task).unwrap().unwrap().signal(), Some(9));
        assert_eq!(other.block_on(child.wait()).unwrap().signal(), Some(9));
        // A child that has ended needs no runtime.
        until_blocking("it is a zombie", || children().contains(&(ended.id().unwrap(), 'Z')));
        assert_eq!(other.block_on(ended.wait()).unwrap().code(), Some(1));
        drop((watch, stdin));
        assert_eq!(children(), []);
    }
}

#[test]
fn an_orphan_of_a_runtime_that_has_ended_is_reaped_at_the_next_start() {
    let _alone = alone();
    for (workers, filtered) in PATHS {
        let (reader, writer) = std::io::pipe().unwrap();
        let start = || Command::new("cat").stdin(reader.try_clone().unwrap()).spawn().unwrap();
        let first = builder(workers, filtered);
        let (orphan, kept) = first.block_on(async { (start(), start()) });
        drop(reader);
        // One is dropped before its runtime ends, and one afterwards.
        drop(orphan);
        drop(first);
        drop(kept);
        drop(writer);
        until_blocking("both are zombies", || {
            children().iter().filter(|(_, state)| *state == 'Z').count() == 2
        });
        builder(workers, filtered).block_on(async {
            assert!(shell("exit 0").status().await.unwrap().success());
        });
        assert_eq!(children(), []);
    }
}

#[test]
fn a_forked_process_neither_waits_for_the_children_nor_kills_them() {
    let _alone = alone();
    for (workers, filtered) in PATHS {
        let runtime = builder(workers, filtered);
        let watch = Watch::over(runtime.handle().clone());
        let child = runtime.block_on(async {
            Command::new("cat").stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
        });
        let mut slot = Some(child);
        forked(|| {
            let copy = slot.take().unwrap();
            assert!(runtime_ended(&copy.try_wait().unwrap_err()));
            assert!(runtime_ended(&copy.start_kill().unwrap_err()));
            let polled = Probe::new().poll(pin!(copy.wait()));
            assert!(matches!(polled, Poll::Ready(Err(error)) if runtime_ended(&error)));
            drop(copy);
        })
        .well();
        // The memory of this process is not that of the other.
        let child = slot.unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(runtime.block_on(child.wait()).unwrap().success());
        drop(watch);
    }
}

#[test]
fn a_child_that_cannot_be_watched_is_killed_and_reaped() {
    let body = || ();
    match rerun(&["sh", "-c", "ulimit -n 64 && exec \"$0\" \"$@\""], &body) {
        Some(ended) => assert_passed(&ended),
        None => each_path(async || {
            let mut hoard = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hoard.push(file);
            }
            // Without any descriptor std cannot start it; with a few it runs, and cannot be watched.
            let mut failures = 0;
            for _ in 0..8 {
                match Command::new("sleep").arg("1000").stdin(Stdio::piped()).kill_on_drop(true).spawn() {
                    Ok(child) => child.kill().await.unwrap(),
                    Err(error) => {
                        let inner = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
                        assert!(inner.raw_os_error().is_some() && error.kind() != ErrorKind::NotFound);
                        failures += 1;
                    }
                }
                hoard.pop();
            }
            assert!(failures > 0);
            drop(hoard);
            // Each start reaps those that have ended and could not be watched.
            let start = Instant::now();
            while !children().is_empty() {
                assert!(start.elapsed() < LIMIT / 2, "{:?} are not reaped", children());
                assert!(shell("exit 0").status().await.unwrap().success());
            }
        }),
    }
}
