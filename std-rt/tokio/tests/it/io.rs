//! The standard streams, in a process of their own.

use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;

use netpoll_rt::{Runtime, block_on};
use tokio::io::{AsyncReadExt, AsyncWriteExt, stderr, stdin, stdout};
use tokio::process::Command;

use crate::poll_once;

/// The variable that makes this program the child of a test.
const AS_CHILD: &str = "FACADE_STDIO_CHILD";

/// Runs in the child alone: answers each byte of its input, and writes the end without a flush.
#[test]
fn child_of_the_tests() {
    if std::env::var_os(AS_CHILD).is_none() {
        return;
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(async {
        let (mut input, mut output) = (stdin(), stdout());
        let mut byte = [0];
        while input.read(&mut byte).await.unwrap() > 0 {
            output.write_all(&[b'<', byte[0], b'>']).await.unwrap();
            output.flush().await.unwrap();
        }
        stderr().write_all(b"all read\n").await.unwrap();
        output.write_all(b"[end]").await.unwrap();
        output.flush().await.unwrap();
    });
}

#[test]
fn a_write_after_the_end_of_the_runtime_fails() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _entered = handle.enter();
    let error = poll_once(pin!(stderr().write(b"lost\n"))).map(|written| written.unwrap_err());
    assert!(matches!(error, Poll::Ready(error) if tokio::runtime::is_rt_shutdown_err(&error)));
    let mut file = tokio::fs::File::from_std(std::fs::File::open("/dev/null").unwrap());
    assert!(matches!(poll_once(pin!(file.write(b"lost"))), Poll::Ready(Err(_))));
    // Another runtime takes its jobs.
    block_on(async { stderr().flush().await.unwrap() });
}

#[test]
fn a_value_that_cannot_be_shared_is_awaited_on_another_thread() {
    fn assert_send(_: impl Send) {}
    type Single = (std::cell::Cell<()>, std::net::TcpStream);
    struct Value(Single);
    impl std::os::fd::AsRawFd for Value {
        fn as_raw_fd(&self) -> std::os::fd::RawFd {
            self.0.1.as_raw_fd()
        }
    }
    fn waits(value: &mut tokio::io::unix::AsyncFd<Value>) {
        assert_send(value.readable_mut());
        assert_send(value.writable_mut());
        assert_send(value.ready_mut(tokio::io::Interest::READABLE));
    }
    let _: fn(&mut tokio::io::unix::AsyncFd<Value>) = waits;
}

#[test]
fn standard_streams_carry_bytes() {
    block_on(async {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "io::child_of_the_tests", "--nocapture"]).env(AS_CHILD, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        // The child answers each byte before it reads the next.
        for byte in *b"ab" {
            input.write_all(&[byte]).await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(&[b'<', byte, b'>']) {
                seen.push(output.read_u8().await.unwrap());
            }
        }
        drop(input);
        let mut rest = String::new();
        output.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("[end]"), "{rest}");
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
        assert!(errors.contains("all read\n"), "{errors}");
        assert!(child.wait().await.unwrap().success());
    });
}
