//! Child processes: their pipes, their ends, and the runtime that watches them.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::process::Stdio;

use netpoll_rt::{Runtime, block_on};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::process::{ChildStdin, Command};

use crate::poll_once;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

#[test]
fn output_captures_both_streams_whatever_was_set() {
    block_on(async {
        let mut command = shell("echo out; echo err >&2; exit 3");
        let output = command.stdout(Stdio::null()).stdin(Stdio::null()).output().await.unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    });
}

#[test]
fn wait_closes_the_input_and_returns_the_status_each_time() {
    block_on(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(child.id().is_some());
        assert!(child.try_wait().unwrap().is_none());
        // A wait that is given up has closed the input, and loses nothing.
        let _ = poll_once(pin!(child.wait()));
        assert!(child.stdin.is_none());
        assert!(child.wait().await.unwrap().success());
        assert!(child.wait().await.unwrap().success());
        assert!(child.try_wait().unwrap().unwrap().success());
        assert_eq!(child.id(), None);
        child.kill().await.unwrap();
    });
}

#[test]
fn pipes_carry_bytes_to_and_from_a_child() {
    block_on(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut byte = [0];
        assert!(poll_once(pin!(stdout.read(&mut byte))).is_pending());
        stdin.write_all(b"a").await.unwrap();
        assert_eq!(stdout.read(&mut byte).await.unwrap(), 1);
        // `shutdown` does not close the pipe.
        stdin.shutdown().await.unwrap();
        stdin.write_all(b"b").await.unwrap();
        drop(stdin);
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"b");
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn pipe_becomes_a_stream_of_another_child() {
    block_on(async {
        let mut echo = Command::new("echo").arg("abc").stdout(Stdio::piped()).spawn().unwrap();
        let between: Stdio = echo.stdout.take().unwrap().try_into().unwrap();
        let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(between).output().await.unwrap();
        assert_eq!(output.stdout, b"ABC\n");
        assert!(echo.wait().await.unwrap().success());
    });
}

#[test]
fn pipe_of_std_is_taken_over() {
    let mut command = std::process::Command::new("cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    block_on(async {
        let mut stdin = ChildStdin::from_std(stdin).unwrap();
        stdin.write_all(&[0; 100_000]).await.unwrap();
        drop(stdin.into_owned_fd().unwrap());
    });
    assert!(child.wait().unwrap().success());
}

#[test]
fn dropped_child_is_killed_if_that_was_asked_for() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    block_on(async {
        let mut command = shell("exec sleep 1000");
        let child = command.stdout(Stdio::from(writer)).kill_on_drop(true).spawn().unwrap();
        assert!(command.get_kill_on_drop());
        // The command has the pipe too.
        drop((command, child));
    });
    assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
}

#[test]
fn killed_child_ends_by_the_signal() {
    block_on(async {
        let mut child = shell("exec sleep 1000").spawn().unwrap();
        child.start_kill().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
        assert_eq!(shell("kill -TERM $$").status().await.unwrap().signal(), Some(15));
    });
}

#[test]
fn child_is_awaited_in_another_runtime_after_its_own_has_ended() {
    let first = Runtime::builder().workers(1).build().unwrap();
    let mut child = first.block_on(async { shell("read line").stdin(Stdio::piped()).spawn().unwrap() });
    drop(first);
    // The wait closes the input, after which the child ends.
    let status = Runtime::builder().workers(1).build().unwrap().block_on(child.wait()).unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn errors_and_panics_of_the_start() {
    let error = block_on(async { Command::new("/no such program").spawn().unwrap_err() });
    assert_eq!(error.kind(), ErrorKind::NotFound);
    crate::assert_needs_runtime(|| drop(Command::new("true").spawn()));
}

#[test]
fn output_is_read_into_memory_that_is_not_initialized() {
    block_on(async {
        let mut child = shell("printf abc").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut memory = [MaybeUninit::uninit(); 8];
        let mut buffer = ReadBuf::uninit(&mut memory);
        poll_fn(|cx| Pin::new(&mut stdout).poll_read(cx, &mut buffer)).await.unwrap();
        assert_eq!(buffer.filled(), b"abc");
        assert_eq!(buffer.initialized().len(), 3, "nothing is zeroed");
        assert!(child.wait().await.unwrap().success());
    });
}
