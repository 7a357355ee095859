//! The contents of a dump, and when one is written.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::dump::WorkerState;
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::net::UnixStream;
use netpoll_rt::time::sleep;
use netpoll_rt::{Dump, Handle, Runtime, spawn, spawn_named};

fn dump() -> Dump {
    Handle::try_current().unwrap().dump()
}

/// Returns the line of a descriptor.
fn line(dump: &Dump, fd: impl AsFd) -> String {
    let start = format!("fd {}:", fd.as_fd().as_raw_fd());
    let text = dump.to_string();
    let mut lines = text.lines().filter(|line| line.starts_with(&start));
    let line = lines.next().unwrap_or_else(|| panic!("no line {start} in\n{text}")).to_owned();
    assert_eq!(lines.next(), None, "{text}");
    line
}

#[test]
fn a_descriptor_has_its_addresses_waiters_and_deadlines() {
    each(async || {
        let listener = listener().await;
        let (a, b) = pair().await;
        let ends = format!(
            "fd {}: {} -> {}",
            a.as_fd().as_raw_fd(),
            a.local_addr().unwrap(),
            b.local_addr().unwrap()
        );
        assert_eq!(line(&dump(), &*a), ends);
        let at = line(&dump(), &listener);
        assert!(at.ends_with(&listener.local_addr().unwrap().to_string()), "{at}");

        let task = reader(&a);
        parked(1).await;
        a.set_read_deadline(in_ms(100_000)).unwrap();
        a.set_write_deadline(past()).unwrap();
        let text = line(&dump(), &*a);
        let rest = text.strip_prefix(&ends).unwrap();
        assert!(rest.starts_with(", a task waits to read for "), "{text}");
        assert!(
            rest.contains("; deadline to read in ") && rest.ends_with("; deadline to write has passed"),
            "{text}"
        );

        sleep(Duration::from_millis(60)).await; // time is tested
        let dump = dump();
        let of_a = |d: &&netpoll_rt::dump::DescriptorDump| d.fd == a.as_fd().as_raw_fd();
        let dumped = dump.descriptors.iter().find(of_a).unwrap();
        let waiting = dumped.read.waiting.unwrap();
        assert!((Duration::from_millis(50)..LIMIT).contains(&waiting), "{waiting:?}");
        assert_eq!(dumped.write.waiting, None);
        assert_eq!(dumped.write.deadline, Some(Duration::ZERO));
        let left = dumped.read.deadline.unwrap();
        assert!(left > Duration::from_secs(50) && left < Duration::from_secs(100), "{left:?}");
        b.write_all(b"x").await.unwrap();
        task.await.unwrap().unwrap();
        assert_eq!(dump.metrics.descriptors, dump.descriptors.len());
    });
}

/// Removes the descriptor from the poller, as if a wake-up had been lost.
#[test]
fn a_wait_that_need_not_be_is_told_of() {
    if !Poller::EDGES {
        // It asks the kernel again for each wait, and would be told.
        return;
    }
    each(async || {
        let (a, b) = pair().await;
        Netpoll::current().unwrap().deregister(a.as_fd());
        let task = reader(&a);
        parked(1).await;
        assert!(!line(&dump(), &*a).contains("could"));
        b.write_all(b"x").await.unwrap();
        until("it could read", || line(&dump(), &*a).contains("s (and could)")).await;
        let dump = dump();
        let of_a = |d: &&netpoll_rt::dump::DescriptorDump| d.fd == a.as_fd().as_raw_fd();
        let dumped = dump.descriptors.iter().find(of_a).unwrap();
        assert!(dumped.read.ready && !dumped.write.ready, "nobody waits to write");
        task.abort();
    });
}

#[test]
fn sockets_without_names_closed_ones_and_reused_slots() {
    each(async || {
        let (a, _b) = UnixStream::pair().unwrap();
        assert!(line(&dump(), &a).ends_with(": (unnamed) -> (unnamed)"), "{}", line(&dump(), &a));
        let (end, _other) = netpoll_rt::net::pipe::pipe().unwrap();
        assert!(line(&dump(), &end).ends_with(": no socket"));
        for _ in 0..100 {
            let before = dump().descriptors.len();
            let (a, b) = pair().await;
            assert_eq!(dump().descriptors.len(), before + 2);
            a.close().await.unwrap();
            assert_eq!(dump().descriptors.len(), before + 1, "closed, its slot not yet given back");
            drop((a, b));
            assert_eq!(dump().descriptors.len(), before);
        }
    });
}

#[test]
fn a_dump_beside_opening_and_closing() {
    each(async || {
        let (stop, stopped) = mpsc::channel::<()>();
        let handle = Handle::try_current().unwrap();
        let dumped = Arc::new(Counter::new());
        let counted = dumped.clone();
        let dumping = std::thread::spawn(move || {
            while stopped.try_recv().is_err() {
                for descriptor in handle.dump().descriptors {
                    let local = descriptor.local.and_then(|local| local.ip()).expect("all are of TCP");
                    assert!(local.ip().is_loopback() && descriptor.fd >= 0);
                    counted.inc();
                }
            }
        });
        // As often as it takes until a dump has met some.
        let (mut rounds, begun) = (0, Instant::now());
        while rounds < 300 || dumped.get() == 0 && begun.elapsed() < LIMIT / 2 {
            rounds += 1;
            let (a, b) = pair().await;
            let task = reader(&a);
            b.write_all(b"x").await.unwrap();
            task.await.unwrap().unwrap();
        }
        stop.send(()).unwrap();
        dumping.join().unwrap();
        assert!(dumped.get() > 0, "in {rounds} rounds");
    });
}

#[test]
fn a_worker_says_what_it_runs() {
    let _alone = alone();
    let runtime = runtime(2);
    let handle = runtime.handle().clone();
    let (go_on, told) = mpsc::channel::<()>();
    let (tell, inside) = mpsc::channel();
    let task = runtime.spawn_named("busy", async move {
        tell.send(()).unwrap();
        told.recv_timeout(LIMIT).unwrap();
    });
    inside.recv_timeout(LIMIT).unwrap();
    let runs = |dump: &Dump, what: &str| {
        let named = |state: &WorkerState| matches!(state, WorkerState::Runs { name: Some(name), .. } if **name == *what);
        dump.workers.iter().filter(|worker| named(&worker.state)).count()
    };
    let dump = handle.dump();
    assert_eq!((dump.workers.len(), runs(&dump, "busy")), (2, 1), "{dump}");
    assert!(dump.to_string().contains("runs task \"busy\" spawned at std-rt/tests/it/dump.rs:"), "{dump}");
    go_on.send(()).unwrap();
    netpoll_rt::block_on(task).unwrap();
    until_blocking("both sleep", || {
        let text = handle.dump().to_string();
        let count = |what| text.matches(what).count();
        // With several pollers each sleeps in one.
        let (in_poller, elsewhere) = (count(": waits for events;"), count(": sleeps;"));
        in_poller > 0 && in_poller + elsewhere == 2
    });
    assert_eq!(runs(&handle.dump(), "busy"), 0);
}

#[test]
fn on_one_worker_a_task_sees_itself() {
    on(&[1], async || {
        let seen = spawn_named("itself", async { dump().to_string() }).await.unwrap();
        assert!(seen.starts_with("netpoll dump: 1 workers, 1 tasks, 0 descriptors\n"), "{seen}");
        assert!(seen.contains("worker 0: runs task \"itself\""), "{seen}");
        assert!(dump().to_string().contains("worker 0: looks for work"));
    });
}

/// The child of the test below: all its workers are stuck.
#[test]
fn child() {
    let Ok(workers) = std::env::var("NETPOLL_DUMP_CHILD") else { return };
    let _alone = alone();
    let workers = workers.parse().unwrap();
    let runtime = Runtime::builder().workers(workers).dump_on_quit(true).build().unwrap();
    // Not one call: the thread may have been unparked before.
    let hold = || {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            std::thread::park_timeout(LIMIT);
        }
    };
    for i in 1..workers {
        drop(runtime.spawn_named(format!("stuck {i}"), async move { hold() }));
    }
    runtime.block_on(async {
        let task = spawn_named("stuck 0", async move {
            println!("\nready");
            hold();
        });
        task.await.unwrap();
    });
}

#[test]
fn sigquit_makes_a_dump_when_all_workers_are_stuck() {
    let _alone = alone();
    for workers in ["1", "4"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["dump::child", "--exact", "--nocapture"])
            .env("NETPOLL_DUMP_CHILD", workers)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "ready"));
        for _ in 0..2 {
            let quit = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status().unwrap();
            assert!(quit.success());
        }
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with(&format!("netpoll dump: {workers} workers, "))));
        assert!(lines.any(|line| line.contains("runs task \"stuck 0\" spawned at std-rt/tests/it/dump.rs:")));
        assert!(lines.any(|line| line.starts_with("polls ")));
        assert_eq!(child.try_wait().unwrap(), None, "it goes on");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn the_thread_for_sigquit_ends_with_its_runtime() {
    let _alone = alone();
    for workers in [1, 4] {
        let before = open_descriptors();
        let runtime = Runtime::builder().workers(workers).dump_on_quit(true).build().unwrap();
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
        assert!(open_descriptors().len() > before.len());
        assert!(runtime.shutdown_timeout(LIMIT));
        let left: Vec<_> = open_descriptors().into_iter().filter(|fd| !before.contains_key(&fd.0)).collect();
        // The signal's registry keeps descriptors of its own.
        assert!(left.len() <= 1, "{left:?}");
    }
}
