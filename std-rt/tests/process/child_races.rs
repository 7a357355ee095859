//! Other code that reaps children, numbers that are used again, and kernels without pidfds.

use std::io::{BufRead, BufReader, Write};
use std::pin::pin;
use std::process::{Child as StdChild, Command as StdCommand, Stdio};

use crate::child::{cat, children, each_path, shell};
use crate::common::fork::{forked, ignore, wait_for_number};
use crate::common::seccomp::{PIDFD_OPEN, REFUSALS, refuse};
use crate::common::*;
use netpoll_rt::net::pipe;
use netpoll_rt::process::{Child, Command};
use netpoll_rt::signal::SignalKind;
use netpoll_rt::{Runtime, spawn};

/// Asserts that the status is gone, and that nothing is sent any more.
fn assert_lost(child: &Child) {
    let error = child.try_wait().unwrap_err();
    assert!(error.to_string().contains("its exit status is gone (ECHILD)"), "{error}");
    child.start_kill().unwrap_err();
    child.send_signal(SignalKind::TERMINATE).unwrap_err();
    assert_eq!(child.id(), None);
}

#[test]
fn a_child_that_other_code_reaps_is_an_error_and_no_hang() {
    each_path(async || {
        // Reaped before the wait.
        let child = shell("exit 1").spawn().unwrap();
        assert_eq!(wait_for_number(child.id().unwrap()).unwrap().code(), Some(1));
        child.wait().await.unwrap_err();
        assert_lost(&child);
        // Reaped during the wait: another thread is faster than the task, or it is not.
        for _ in 0..20 {
            let mut child = cat();
            let (number, stdin) = (child.id().unwrap(), child.stdin.take().unwrap());
            let waiter = spawn(async move { (child.wait().await, child) });
            parked(1).await;
            let thief = std::thread::spawn(move || wait_for_number(number).is_some());
            stdin.close().await.unwrap();
            let (result, child) = waiter.await.unwrap();
            match thief.join().unwrap() {
                true => {
                    result.unwrap_err();
                    assert_lost(&child);
                }
                false => assert!(result.unwrap().success()),
            }
        }
    });
}

/// Starts `sh` with its pipes.
fn helper(script: &str) -> StdChild {
    let mut command = StdCommand::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets the kernel give the next process of this namespace a number, unless another process starts before. Returns false
/// if this process may not do that.
fn next_number(number: u32) -> bool {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).is_ok()
}

/// Starts children and reaps them behind this crate's back until `impostor` has made a process with the same number.
/// Returns the child and the value of `impostor`.
fn replaced<T>(impostor: impl Fn(u32) -> Result<T, StdChild>) -> (Child, T) {
    for _ in 0..200 {
        let child = shell("exit 0").spawn().unwrap();
        let number = child.id().unwrap();
        assert!(wait_for_number(number).unwrap().success());
        match impostor(number) {
            Ok(made) => return (child, made),
            Err(other) => drop(other.wait_with_output().unwrap()),
        }
    }
    panic!("other processes take each number");
}

// Step 1: other code reaps the child. Step 2: its number is another process's.
#[test]
fn a_signal_never_reaches_a_process_that_has_the_number_of_a_child() {
    each_path(async || {
        if !next_number(std::process::id() + 1) {
            return eprintln!("this process may not choose numbers");
        }
        // The impostor is a child of a helper, which tells how it has ended.
        let of_helper = |number| {
            let mut helper = helper("exec 3<&0; read go; cat <&3 >/dev/null & echo $!; wait $!; echo $?");
            next_number(number);
            helper.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
            let mut told = BufReader::new(helper.stdout.take().unwrap());
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            match line.trim() == number.to_string() {
                true => Ok((helper, told)),
                false => Err(helper),
            }
        };
        let (child, (mut helper, mut told)) = replaced(of_helper);
        child.start_kill().unwrap_err();
        child.wait().await.unwrap_err();
        assert_lost(&child);
        drop(child);
        drop(helper.stdin.take());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert_eq!(line, "0\n", "the impostor was not killed");
        assert!(helper.wait().unwrap().success());
    });
}

/// Without pidfds the documentation warns of this.
#[test]
fn a_pidfd_tells_a_child_from_another_that_has_its_number() {
    each(async || {
        if !next_number(std::process::id() + 1) {
            return eprintln!("this process may not choose numbers");
        }
        if !has_pidfds() {
            return eprintln!("this system has no pidfds");
        }
        let own = |number| {
            next_number(number);
            let impostor = helper("read line");
            if impostor.id() == number { Ok(impostor) } else { Err(impostor) }
        };
        let (child, mut impostor) = replaced(own);
        child.start_kill().unwrap_err();
        child.wait().await.unwrap_err();
        assert_lost(&child);
        drop(child);
        impostor.stdin.take().unwrap().write_all(b"end\n").unwrap();
        assert!(impostor.wait().unwrap().success(), "it was neither killed nor reaped");
    });
}

/// Returns the number of pidfds of this process.
fn pidfds() -> usize {
    open_descriptors().values().filter(|target| target.contains("pidfd")).count()
}

fn has_pidfds() -> bool {
    let child = cat();
    let has = pidfds() == 1;
    drop(child);
    has
}

#[test]
fn a_child_has_a_pidfd_unless_a_filter_refuses_it() {
    let _alone = alone();
    let works = |expected: usize| {
        let before = pidfds();
        runtime(4).block_on(async {
            let children: Vec<_> = (0..8).map(|_| cat()).collect();
            assert_eq!(pidfds() - before, 8 * expected);
            let waits: Vec<_> =
                children.into_iter().map(|child| spawn(async move { child.wait().await.unwrap() })).collect();
            for wait in waits {
                assert!(wait.await.unwrap().success());
            }
        });
    };
    works(1);
    for errno in REFUSALS {
        forked(|| {
            refuse(PIDFD_OPEN, errno);
            works(0);
        })
        .well();
    }
}

/// The kernel reaps the children of a process that ignores the signal.
#[test]
fn children_of_a_process_that_ignores_sigchld_end_with_an_error_or_a_status() {
    let _alone = alone();
    for (workers, filtered) in [(1, false), (4, false), (1, true), (4, true)] {
        forked(|| {
            ignore(SignalKind::CHILD.as_raw(), true);
            let runtime = Runtime::builder().workers(workers).system_call_filter(filtered).build().unwrap();
            runtime.block_on(async {
                let child = cat();
                let waited = child.wait().await;
                // A listener installs a handler, unless it had one that was replaced.
                if let Err(error) = waited {
                    assert!(error.to_string().contains("SIGCHLD"), "{error}");
                    assert_lost(&child);
                } else {
                    assert!(filtered);
                }
            });
        })
        .well();
    }
}

/// One child ends for each time that another task takes the signal.
#[test]
fn no_end_is_lost_while_signals_count_as_one() {
    each_path(async || {
        for round in 0..20 {
            let (reader, writer) = pipe::pipe().unwrap();
            let reader = reader.into_blocking().unwrap();
            let start = || Command::new("cat").stdin(reader.try_clone().unwrap()).spawn().unwrap();
            let children: Vec<_> = (0..10).map(|_| start()).collect();
            drop(reader);
            let waits: Vec<_> =
                children.into_iter().map(|child| spawn(async move { child.wait().await.unwrap() })).collect();
            // All end at once, before, while and after the tasks park.
            if round % 2 == 0 {
                netpoll_rt::yield_now().await;
            }
            writer.close().await.unwrap();
            for wait in waits {
                assert!(wait.await.unwrap().success());
            }
        }
    });
}

/// The poller reports no signal whose byte was taken before it looks.
#[test]
fn a_later_wait_takes_no_signal_away_from_one_that_is_parked() {
    const ROUNDS: usize = 20;
    let _alone = alone();
    let runtime = Runtime::builder().workers(1).system_call_filter(true).build().unwrap();
    let watch = Watch::over(runtime.handle().clone());
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            let (mut first, mut second) = (cat(), cat());
            let (number, stdin) = (first.id().unwrap(), first.stdin.take().unwrap());
            let _open = second.stdin.take();
            let waiter = spawn(async move { first.wait().await.unwrap() });
            parked(1).await;
            // This thread, the only one that polls, does not do so before the second wait could have taken the signal.
            drop(stdin);
            until_blocking("the first is a zombie", || children().contains(&(number, 'Z')));
            let probe = Probe::new();
            for _ in 0..100 {
                assert!(probe.poll(pin!(second.wait())).is_pending());
                std::thread::yield_now();
            }
            assert!(waiter.await.unwrap().success());
            second.kill().await.unwrap();
        }
    });
    // Each wait that is not woken looks again after a timer. A busy machine may make a few of these fire.
    let fired = runtime.metrics().timers_fired;
    assert!(fired < ROUNDS / 2, "{fired} waits looked again");
    drop(watch);
}
