//! Child processes: their ends, their pipes, and the errors. Each test runs with pidfds and with `SIGCHLD`.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::Command as StdCommand;
use std::sync::Arc;
use std::task::Poll;

use crate::common::fork::fail_before_exec;
use crate::common::*;
use netpoll_rt::internal::sys::timer_slack;
use netpoll_rt::net::pipe;
use netpoll_rt::process::{Child, Command, Stdio};
use netpoll_rt::signal::SignalKind;
use netpoll_rt::task::with_budget;
use netpoll_rt::{Runtime, spawn};

/// Runs `body` as `each` does, with pidfds and without, and asserts that no child of this process is left.
pub fn each_path(body: impl AsyncFn()) {
    let _alone = alone();
    // A test before may have ended its runtime before a child: that one is reaped when another is started.
    // Outside of `block_on` that start would belong to the default runtime, whose threads never end.
    until_blocking("the children of the tests before are reaped", || {
        children().is_empty()
            || !runtime(1).block_on(async { shell("exit 0").status().await.unwrap().success() })
    });
    for (workers, filtered) in [(1, false), (4, false), (1, true), (4, true)] {
        let before = open_descriptors();
        let runtime = Runtime::builder().workers(workers).system_call_filter(filtered).build().unwrap();
        let handle = runtime.handle().clone();
        let watch = Watch::over(handle.clone());
        runtime.block_on(body());
        drop(runtime);
        drop(watch);
        assert_nothing_left(&handle);
        drop(handle);
        assert_eq!(children(), [], "children, {workers} workers, filtered: {filtered}");
        until_blocking("the descriptors are those from before", || open_descriptors() == before);
    }
}

/// Returns the children of this process: their numbers and states, in which `Z` is a zombie.
pub fn children() -> Vec<(u32, char)> {
    let own = std::process::id().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let child = |entry: std::io::Result<std::fs::DirEntry>| {
        let number = entry.unwrap().file_name().to_str()?.parse().ok()?;
        // A process that ends meanwhile has no file any more.
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // The name is in parentheses, and may have any character.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?.chars().next()?, fields.next()?);
        (parent == own).then_some((number, state))
    };
    entries.filter_map(child).collect()
}

/// Returns a command that runs a line of the shell.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

/// Starts a child that ends when its standard input does.
pub fn cat() -> Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_child_ends_with_a_code_or_by_a_signal() {
    each_path(async || {
        for code in [0, 1, 7, 255] {
            let status = shell(&format!("exit {code}")).status().await.unwrap();
            assert_eq!((status.code(), status.signal()), (Some(code), None));
        }
        for (name, number) in [("TERM", 15), ("KILL", 9), ("USR1", 10)] {
            let status = shell(&format!("kill -s {name} $$")).status().await.unwrap();
            assert_eq!((status.code(), status.signal()), (None, Some(number)));
        }
    });
}

/// A worker has the least timer slack, and a child inherits that of the thread which starts it.
#[test]
fn a_child_has_the_timer_slack_of_the_process() {
    let Ok(slack) = timer_slack() else { return };
    each_path(async || {
        let own = timer_slack().unwrap();
        let output = shell("cat /proc/self/timerslack_ns").output();
        assert_eq!(String::from_utf8(output.await.unwrap().stdout).unwrap().trim(), slack.to_string());
        assert_eq!(timer_slack().unwrap(), own);
        let by_a_task = spawn(async {
            let own = timer_slack().unwrap();
            let output = shell("cat /proc/self/timerslack_ns").output();
            (own, timer_slack().unwrap(), output.await.unwrap().stdout)
        });
        let (before, after, child) = by_a_task.await.unwrap();
        assert_eq!((before, after), (1, 1), "the slack of a worker");
        assert_eq!(String::from_utf8(child).unwrap().trim(), slack.to_string());
    });
}

#[test]
fn the_number_is_known_until_the_child_is_reaped_and_the_status_afterwards() {
    each_path(async || {
        let child = cat();
        let id = child.id().unwrap();
        assert!(children().iter().any(|(number, _)| *number == id));
        assert_eq!(child.try_wait().unwrap(), None);
        for _ in 0..3 {
            assert!(child.wait().await.unwrap().success());
            assert_eq!(child.id(), None);
            assert!(child.try_wait().unwrap().unwrap().success());
        }
        // None of these does anything to a child that has ended.
        child.start_kill().unwrap();
        child.send_signal(SignalKind::TERMINATE).unwrap();
        child.kill().await.unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn a_child_that_ends_before_the_wait_is_reaped_by_a_look() {
    each_path(async || {
        let child = shell("exit 3").spawn().unwrap();
        let id = child.id().unwrap();
        until("the child is a zombie", || children().contains(&(id, 'Z'))).await;
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(3));
        assert_eq!((child.id(), children()), (None, vec![]));
    });
}

#[test]
fn several_tasks_wait_for_one_child() {
    each_path(async || {
        let child = Arc::new(cat());
        let wait = |child: Arc<Child>| spawn(async move { child.wait().await.unwrap().code() });
        let waits = [0; 5].map(|_| wait(child.clone()));
        for wait in waits {
            assert_eq!(wait.await.unwrap(), Some(0));
        }
    });
}

#[test]
fn a_dropped_wait_loses_nothing_and_one_that_is_not_polled_blocks_no_other() {
    each_path(async || {
        let mut child = cat();
        let stdin = child.stdin.take().unwrap();
        let probe = Probe::new();
        assert!(probe.poll(pin!(child.wait())).is_pending());
        // The kernel wakes it, but it is not polled again.
        let mut unpolled = pin!(child.wait());
        assert!(probe.poll(unpolled.as_mut()).is_pending());
        stdin.close().await.unwrap();
        assert!(child.wait().await.unwrap().success());
        assert!(matches!(probe.poll(unpolled), Poll::Ready(Ok(status)) if status.success()));
    });
}

#[test]
fn a_wait_counts_against_the_budget() {
    each_path(async || {
        let child = shell("exit 0").spawn().unwrap();
        child.wait().await.unwrap();
        let probe = Probe::new();
        let mut turn = pin!(with_budget(3, async {
            for _ in 0..4 {
                child.wait().await.unwrap();
            }
        }));
        assert!(probe.poll_in_turn(turn.as_mut()).is_pending(), "the fourth is in the next turn");
        assert!(probe.poll_in_turn(turn).is_ready());
    });
}

#[test]
fn bytes_go_through_a_child() {
    each_path(async || {
        let child = cat();
        let (stdin, stdout) = (child.stdin.as_ref().unwrap(), child.stdout.as_ref().unwrap());
        for text in [&b"one"[..], b"another", b"x"] {
            stdin.write_all(text).await.unwrap();
            let mut back = vec![0; text.len()];
            stdout.read_exact(&mut back).await.unwrap();
            assert_eq!(back, text);
        }
        // This closes the input.
        assert!(child.wait().await.unwrap().success());
        assert_closed(stdin.write_all(b"more").await);
        assert_eq!(stdout.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn both_pipes_are_read_side_by_side() {
    const MIB: usize = 1 << 20;
    each_path(async || {
        for line in [
            "head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2",
            "head -c 1048576 /dev/zero >&2; head -c 1048576 /dev/zero",
            "head -c 1048576 /dev/zero >&2 & head -c 1048576 /dev/zero; wait",
        ] {
            let output = shell(line).output().await.unwrap();
            assert!(output.status.success());
            assert_eq!((output.stdout.len(), output.stderr.len()), (MIB, MIB), "{line}");
        }
    });
}

#[test]
fn output_captures_what_was_not_set_and_its_input_is_empty() {
    each_path(async || {
        let mut command = shell("cat; echo out; echo err >&2");
        let output = command.output().await.unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        let output = command.stderr(Stdio::null()).output().await.unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b""[..]));
        // A command of std keeps its input.
        let (reader, writer) = pipe::pipe().unwrap();
        let mut std = StdCommand::new("cat");
        std.stdin(reader.into_blocking().unwrap());
        writer.write_all(b"of std").await.unwrap();
        drop(writer);
        let mut command = Command::from(std);
        assert_eq!(command.output().await.unwrap().stdout, b"of std");
        // The command still has the other end.
        drop(command);
    });
}

#[test]
fn the_settings_of_a_command() {
    each_path(async || {
        let mut command = Command::new("sh");
        command.arg("-c").arg("echo $0 $ONE $TWO $HOME; pwd; echo $#").args(["zero", "1", "2"]);
        command.env_clear().env("ONE", "1").envs([("TWO", "2"), ("THREE", "3")]).env_remove("THREE");
        command.env("PATH", std::env::var_os("PATH").unwrap()).current_dir("/");
        assert!(!command.get_kill_on_drop() && command.kill_on_drop(true).get_kill_on_drop());
        assert_eq!(command.as_std().get_program(), "sh");
        command.as_std_mut().arg("3");
        let output = command.output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "zero 1 2\n/\n3\n");
        assert_eq!(command.into_std().get_args().count(), 6);
        // The number of the group is that of the child.
        let mut command = shell("kill -s KILL -- -$$");
        let status = command.process_group(0).status().await.unwrap();
        assert_eq!(status.signal(), Some(9));
    });
}

#[test]
fn a_pipeline() {
    each_path(async || {
        let mut first = shell("echo hello").stdout(Stdio::piped()).spawn().unwrap();
        let between: Stdio = first.stdout.take().unwrap().try_into().unwrap();
        let second = Command::new("tr").args(["a-z", "A-Z"]).stdin(between).output();
        assert_eq!(second.await.unwrap().stdout, b"HELLO\n");
        assert!(first.wait().await.unwrap().success());
        // And the other way round: the input of a child is the output of another.
        let mut second = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let between: Stdio = second.stdin.take().unwrap().try_into().unwrap();
        assert!(shell("echo back").stdout(between).status().await.unwrap().success());
        assert_eq!(second.wait_with_output().await.unwrap().stdout, b"back\n");
    });
}

#[test]
fn what_cannot_be_started_is_an_error_that_names_it() {
    each_path(async || {
        let error = Command::new("/nonexistent/program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with("spawn: /nonexistent/program: "), "{error}");
        assert_eq!(Command::new("/").status().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        let error = Command::new("true").current_dir("/nonexistent").output().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_child_of_another_user_and_one_that_fails_before_it_executes() {
    let is_root = kernel::user_and_group().0 == 0;
    each_path(async || {
        let mut command = shell("id -u; id -g");
        let result = command.uid(12345).gid(54321).output().await;
        match is_root {
            true => assert_eq!(result.unwrap().stdout, b"12345\n54321\n"),
            false => assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied),
        }
        const ENOENT: i32 = 2;
        let mut command = Command::new("true");
        fail_before_exec(&mut command, ENOENT);
        assert_eq!(command.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn signals_reach_a_child() {
    each_path(async || {
        let mut command = shell("trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done");
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 6]).await.unwrap();
        child.send_signal(SignalKind::USER1).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(5));
        for number in [-1, 1000] {
            let running = cat();
            let error = running.send_signal(SignalKind::from_raw(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            running.kill().await.unwrap();
            assert_eq!(running.wait().await.unwrap().signal(), Some(9));
        }
    });
}

/// The descriptors of one child are not inherited by the next, so an end of a pipe comes when it should.
#[test]
fn a_child_inherits_no_descriptor_of_another() {
    if !kernel::has_proc() {
        return;
    }
    each_path(async || {
        let table = async || {
            let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output().await.unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let descriptors = |table: &str| table.lines().filter(|line| line.contains(" -> ")).count();
        // Those that this process has inherited itself are in both.
        let alone = table().await;
        let first = cat();
        let beside = table().await;
        assert_eq!(descriptors(&beside), descriptors(&alone), "{alone}{beside}");
        assert!(first.wait().await.unwrap().success());
    });
}
