//! The process after a runtime is as it was before: descriptors, threads, and the inheritance of a child.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Instant;

use crate::common::*;
use netpoll_rt::net::TcpStream;
use netpoll_rt::{Runtime, spawn};

/// Waits until no runtime of an earlier test has a thread: the kernel lists one that was joined for a moment.
fn without_threads() {
    until_blocking("the threads of earlier runtimes are gone", || threads() == 0);
}

/// Returns the number of threads of runtimes, by their names.
fn threads() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread that ends while it is looked at has no name any more.
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks.filter_map(|task| Some(name(task)).filter(|name| name.starts_with("netpoll-"))).count()
}

// Case F21.
#[test]
fn standard_descriptors_are_left_alone() {
    let _alone = alone();
    let standard = || ["0", "1", "2"].map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
    let before = (standard(), open_descriptors());
    for workers in [1, 4] {
        let runtime = runtime(workers);
        runtime.block_on(async {
            for _ in 0..50 {
                let (a, b) = pair().await;
                let read = reader(&a);
                b.write_all(b"x").await.unwrap();
                read.await.unwrap().unwrap();
            }
        });
        drop(runtime);
        assert_eq!((standard(), open_descriptors()), before, "{workers} workers");
    }
}

// Case F21.
#[test]
fn threads_end_with_their_runtime() {
    if !kernel::has_proc() {
        return;
    }
    let _alone = alone();
    without_threads();
    for workers in [1, 4, 8] {
        let runtime = runtime(workers);
        runtime.block_on(async {
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        });
        // One for each worker and the backstop; the one of a single worker is ours.
        let own = if workers == 1 { 0 } else { workers + 1 };
        until_blocking("all have given themselves their names", || threads() == own);
        drop(runtime);
        without_threads();
    }
}

/// Returns how often the monitor has gone to sleep.
fn sleeps_of_the_monitor() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let monitor = statuses.filter(|status| status.starts_with("Name:\tnetpoll-sysmon\n"));
    let sleeps = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    monitor.map(sleeps).sum()
}

/// A message each time that both workers sleep: the workers wake the monitor, which looks once in 10 ms.
#[test]
fn the_monitor_sleeps_while_workers_have_little_to_do() {
    if !kernel::has_proc() {
        return;
    }
    let _alone = alone();
    without_threads();
    let runtime = runtime(2);
    let (stream, mut client) = runtime.block_on(pair_with_std());
    let (before, began) = (sleeps_of_the_monitor(), Instant::now());
    let client = std::thread::spawn(move || {
        for _ in 0..5_000 {
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
    });
    // On this thread: a worker only wakes it, and sleeps again.
    runtime.block_on(async {
        let mut byte = [0];
        while stream.read(&mut byte).await.unwrap() > 0 {
            stream.write_all(&byte).await.unwrap();
        }
    });
    client.join().unwrap();
    let (sleeps, took) = (sleeps_of_the_monitor() - before, began.elapsed());
    // A sleep until a worker wakes up and one of 10 ms, and as many for a lock.
    let most = 4 * (took.as_millis() as u64 / 10 + 2);
    assert!(sleeps <= most, "the monitor went to sleep {sleeps} times in {took:?}");
}

// Case F21.
#[test]
fn a_runtime_that_cannot_start_leaves_nothing() {
    // no worker: there never is a runtime.
    let _alone = alone();
    without_threads();
    let before = open_descriptors();
    assert!(Runtime::builder().workers(0).build().is_err());
    let error = Runtime::builder().thread_name("null \0 inside").workers(2).build().unwrap_err();
    assert!(error.to_string().contains("thread_name"), "{error}");
    without_threads();
    assert_eq!(open_descriptors(), before);
}

// Case F21.
#[test]
fn a_child_inherits_nothing() {
    if !kernel::has_proc() {
        return;
    }
    each(async || {
        let (_a, _b) = pair().await;
        let listener = listener().await;
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        // The child lists its own table: no socket, no poller, no break.
        let child = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let table = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && table.contains("/fd"), "{table}");
        for ours in ["eventpoll", "eventfd", "socket:"] {
            let standard = |line: &&str| [" 0 -> ", " 1 -> ", " 2 -> "].iter().any(|fd| line.contains(fd));
            let inherited: Vec<_> =
                table.lines().filter(|line| !standard(line) && line.contains(ours)).collect();
            assert!(inherited.is_empty(), "{inherited:?}");
        }
    });
}
