//! A signal every millisecond, with a handler of the test, while every interruptible call goes on.
//!
//! The handler is installed with `SA_RESTART`, as every handler of a Rust program is that goes through the registry. The
//! waits for events are interrupted nevertheless (signal(7): they are never restarted), and they are the only calls here
//! that sleep. The others are interrupted by fault injection (`NETPOLL_DOOR=eintr-once`) and by strace.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::signal::{Signal, SignalKind, signal};
use netpoll_rt::{spawn, time};

/// A child that sends `SIGUSR1` to this process, about once a millisecond: starting `sleep` takes that long.
struct Shower {
    child: Child,
    /// Keeps the handler.
    signal: Signal,
}

impl Shower {
    async fn begin() -> Shower {
        let signal = signal(SignalKind::USER1).unwrap();
        let script = "while kill -s USR1 $0 2>/dev/null; do sleep 0.0005; done";
        let pid = std::process::id().to_string();
        let child = Command::new("sh").args(["-c", script, &pid]).stderr(Stdio::null()).spawn().unwrap();
        let shower = Shower { child, signal };
        // It rains.
        for _ in 0..3 {
            shower.signal.recv().await.unwrap();
        }
        shower
    }
}

impl Drop for Shower {
    fn drop(&mut self) {
        // It can only have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

// Case E02.
#[test]
fn nothing_is_interrupted_for_the_user() {
    each(async || {
        let shower = Shower::begin().await;
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let echo = spawn(serve(listener, 40));
        for round in 0..40_u8 {
            let stream = TcpStream::connect(address).await.unwrap();
            // Each waits for signals to come while it sleeps in the kernel.
            shower.signal.recv().await.unwrap();
            stream.write_all(&[round; 100]).await.unwrap();
            let mut back = [0; 100];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, [round; 100]);
            stream.close().await.unwrap();
        }
        echo.await.unwrap().unwrap();
        drop(shower);
    });
}

async fn serve(listener: TcpListener, connections: usize) -> io::Result<()> {
    for _ in 0..connections {
        let (stream, _) = listener.accept().await?;
        let mut buffer = [0; 100];
        stream.read_exact(&mut buffer).await?;
        stream.write_all(&buffer).await?;
        stream.close().await?;
    }
    listener.close().await
}

// Case E02.
#[test]
fn a_full_stream_and_its_reader() {
    each(async || {
        let shower = Shower::begin().await;
        let (a, b) = pair().await;
        let sender = {
            let a = a.clone();
            spawn(async move {
                let bytes = vec![7; 8 << 20];
                a.write_all(&bytes).await.unwrap();
                a.close().await.unwrap();
            })
        };
        let (mut total, mut buffer) = (0, vec![0; 64 << 10]);
        loop {
            let n = b.read(&mut buffer).await.unwrap();
            if n == 0 {
                break;
            }
            total += n;
            if total % (1 << 20) < n {
                // The sender is full meanwhile, and waits under signals.
                shower.signal.recv().await.unwrap();
            }
        }
        assert_eq!(total, 8 << 20);
        sender.await.unwrap();
        drop(shower);
    });
}

// Case E02.
#[test]
fn deadlines_and_timers_are_on_time() {
    each(async || {
        let shower = Shower::begin().await;
        let (stream, _peer) = pair().await;
        for ms in [1, 5, 20, 50] {
            let asked = Duration::from_millis(ms);
            // time is tested
            let start = Instant::now();
            time::sleep(asked).await; // time is tested
            assert_on_time(start, asked);
            let start = Instant::now();
            stream.set_read_deadline(Some(start + asked)).unwrap();
            assert_timed_out(stream.read(&mut [0]).await);
            assert_on_time(start, asked);
        }
        drop(shower);
    });
}

/// Asserts that the wait ended neither early nor later than a busy machine may be. A wait that begins anew with every signal
/// has no end.
fn assert_on_time(start: Instant, asked: Duration) {
    let took = start.elapsed();
    assert!(took >= asked && took < asked + LIMIT / 8, "{took:?} for {asked:?}");
}
