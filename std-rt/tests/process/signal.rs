//! Signals: every listener sees every signal, none is lost, nothing is left, whichever thread is interrupted.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use crate::common::own_process::output_of;
use crate::common::*;
use futures_lite::StreamExt;
use netpoll_rt::internal::sys;
use netpoll_rt::signal::{SignalKind, ctrl_c, hangup, signal, terminate};
use netpoll_rt::{JoinHandle, spawn};

/// Runs a line of the shell, in which `$PID` is this process.
fn shell(line: &str) {
    let status = Command::new("sh").args(["-c", line]).env("PID", std::process::id().to_string()).status();
    assert!(status.unwrap().success(), "{line}");
}

/// Sends a signal to this process, and returns when every earlier listener has received it: the handler notifies them in the
/// order of their creation.
async fn send(kind: SignalKind) {
    let last = signal(kind).unwrap();
    shell(&format!("kill -s {} $PID", kind.to_string().trim_start_matches("SIG")));
    last.recv().await.unwrap();
}

/// Returns a task that receives one signal through a listener of its own, which is there when this returns.
fn receiver(kind: SignalKind) -> JoinHandle<io::Result<()>> {
    let listener = signal(kind).unwrap();
    spawn(async move { listener.recv().await })
}

#[test]
fn a_signal_wakes_the_task_that_waits_for_it() {
    each(async || {
        let received = receiver(SignalKind::USER1);
        parked(1).await;
        send(SignalKind::USER1).await;
        received.await.unwrap().unwrap();
    });
}

#[test]
fn each_name_has_its_signal() {
    each(async || {
        use SignalKind as Kind;
        for (next, kind) in
            [(ctrl_c(), Kind::INTERRUPT), (terminate(), Kind::TERMINATE), (hangup(), Kind::HANGUP)]
        {
            send(kind).await;
            next.await.unwrap();
        }
        let kinds = [Kind::ALARM, Kind::CHILD, Kind::QUIT, Kind::USER2, Kind::WINDOW_CHANGE];
        for (kind, name) in kinds.into_iter().zip(["ALRM", "CHLD", "QUIT", "USR2", "WINCH"]) {
            let listener = signal(kind).unwrap();
            assert_eq!((listener.kind(), kind.to_string()), (kind, format!("SIG{name}")));
            assert_eq!(Kind::from_raw(kind.as_raw()), kind);
            send(kind).await;
            listener.recv().await.unwrap();
        }
    });
}

#[test]
fn every_listener_sees_every_signal() {
    each(async || {
        let received: Vec<_> = (0..5).map(|_| receiver(SignalKind::USER1)).collect();
        let other = signal(SignalKind::USER2).unwrap();
        parked(5).await;
        send(SignalKind::USER1).await;
        for task in received {
            task.await.unwrap().unwrap();
        }
        let polled = Probe::new().poll(pin!(other.recv()));
        assert!(polled.is_pending(), "another signal's listener got {polled:?}");
    });
}

#[test]
fn a_signal_before_the_first_poll_is_not_lost() {
    each(async || {
        let (next, listener) = (ctrl_c(), signal(SignalKind::INTERRUPT).unwrap());
        send(SignalKind::INTERRUPT).await;
        listener.recv().await.unwrap();
        next.await.unwrap();
        assert!(Probe::new().poll(pin!(listener.recv())).is_pending(), "it has been received");
    });
}

#[test]
fn the_future_of_a_signal_serves_again() {
    each(async || {
        let mut next = terminate();
        for _ in 0..3 {
            send(SignalKind::TERMINATE).await;
            (&mut next).await.unwrap();
        }
        assert!(Probe::new().poll(pin!(&mut next)).is_pending());
    });
}

#[test]
fn a_dropped_future_loses_no_signal() {
    each(async || {
        let listener = signal(SignalKind::USER1).unwrap();
        let probe = Probe::new();
        // Dropped while it waits.
        assert!(probe.poll(pin!(listener.recv())).is_pending());
        send(SignalKind::USER1).await;
        listener.recv().await.unwrap();
        // Dropped when it was woken and had not been polled again.
        {
            let mut recv = pin!(listener.recv());
            assert!(probe.poll(recv.as_mut()).is_pending());
            send(SignalKind::USER1).await;
            probe.woken(1).await;
        }
        listener.recv().await.unwrap();
    });
}

#[test]
fn signals_that_were_not_received_count_as_one() {
    each(async || {
        let listener = signal(SignalKind::USER1).unwrap();
        for _ in 0..5 {
            send(SignalKind::USER1).await;
        }
        listener.recv().await.unwrap();
        assert!(Probe::new().poll(pin!(listener.recv())).is_pending(), "one was left");
    });
}

#[test]
fn bytes_that_a_handler_wrote_count_as_one() {
    // The kernel counts for itself.
    if sys::Poller::NAME == "kqueue" {
        return;
    }
    let _alone = alone();
    let (reader, writer) = sys::pipe::pipe().unwrap();
    let mut writer = std::fs::File::from(writer);
    let take = || sys::signal::drain(reader.as_fd());
    for signals in [1, 63, 64, 65, 1000, 100_000] {
        assert_eq!(take().unwrap_err().kind(), ErrorKind::WouldBlock);
        // The last of them find the pipe full, as a handler does.
        let full = (0..signals).find_map(|_| writer.write(&[0]).err());
        assert_eq!(full.map(|error| error.kind()), (signals == 100_000).then_some(ErrorKind::WouldBlock));
        take().unwrap();
    }
    assert_eq!(take().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(writer);
    assert_eq!(take().unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_dropped_listener_is_gone_and_the_default_action_too() {
    each(async || {
        let before = open_descriptors();
        let (first, second) = (signal(SignalKind::USER2).unwrap(), signal(SignalKind::USER2).unwrap());
        drop(first);
        send(SignalKind::USER2).await;
        second.recv().await.unwrap();
        drop(second);
        assert_eq!(open_descriptors(), before);
        // By default it would end this process.
        send(SignalKind::USER2).await;
        let later = receiver(SignalKind::USER2);
        send(SignalKind::USER2).await;
        later.await.unwrap().unwrap();
    });
}

#[test]
fn as_a_stream() {
    each(async || {
        let mut listener = signal(SignalKind::WINDOW_CHANGE).unwrap();
        for _ in 0..2 {
            send(SignalKind::WINDOW_CHANGE).await;
            listener.next().await.unwrap().unwrap();
        }
    });
}

#[test]
fn what_cannot_be_listened_to_is_refused() {
    each(async || {
        let before = open_descriptors();
        // SIGKILL, SIGSTOP, SIGSEGV, SIGILL, SIGFPE, and none at all.
        for number in [9, 19, 11, 4, 8, 0, -1, 1000] {
            let error = signal(SignalKind::from_raw(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(&format!("signal {number} ")), "{error}");
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn several_runtimes_of_one_process() {
    let _alone = alone();
    let runtimes = [1, 2, 4, 1].map(runtime);
    let watches = runtimes.each_ref().map(|runtime| Watch::over(runtime.handle().clone()));
    let listen = async || signal(SignalKind::TERMINATE).unwrap();
    let listeners = runtimes.each_ref().map(|runtime| runtime.block_on(listen()));
    runtimes[0].block_on(send(SignalKind::TERMINATE));
    for (runtime, listener) in runtimes.iter().zip(listeners) {
        runtime.block_on(listener.recv()).unwrap();
    }
    drop(watches);
}

#[test]
fn the_end_of_a_runtime() {
    each(async || {
        // A task that will wait for ever, and a listener that no task uses.
        let _detached = receiver(SignalKind::USER1);
        parked(1).await;
        let _unused = signal(SignalKind::USER2).unwrap();
    });
    // One that outlives its runtime gives back what it has, later.
    let _alone = alone();
    let before = open_descriptors();
    for workers in [1, 4] {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let kept = runtime.block_on(async { signal(SignalKind::USER1).unwrap() });
        drop(runtime);
        shell("kill -s USR1 $PID");
        drop(kept);
        assert_nothing_left(&handle);
        // The signal has come, so that none is left for the next test.
        crate::common::runtime(1).block_on(send(SignalKind::USER1));
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
fn listeners_come_and_go_while_signals_come() {
    each(async || {
        let steady = signal(SignalKind::USER1).unwrap();
        let sender =
            thread::spawn(|| shell("i=0; while [ $i -lt 500 ]; do kill -s USR1 $PID; i=$((i+1)); done"));
        let visitor = || async {
            let mut seen = 0;
            for _ in 0..200 {
                let listener = signal(SignalKind::USER1).unwrap();
                seen += usize::from(matches!(Probe::new().poll(pin!(listener.recv())), Poll::Ready(Ok(()))));
                netpoll_rt::yield_now().await;
            }
            seen
        };
        let visitors: Vec<_> = (0..4).map(|_| spawn(visitor())).collect();
        for visitor in visitors {
            assert!(visitor.await.unwrap() <= 200);
        }
        sender.join().unwrap();
        steady.recv().await.unwrap();
        // So that none is left for the next test.
        send(SignalKind::USER1).await;
    });
}

#[test]
fn a_child_inherits_neither_pipe_nor_handler() {
    if !kernel::has_proc() {
        return;
    }
    each(async || {
        let before = open_descriptors();
        let listener = signal(SignalKind::USER1).unwrap();
        let ours: Vec<_> =
            open_descriptors().into_iter().filter(|(fd, _)| !before.contains_key(fd)).collect();
        // A pipe, or a kqueue.
        assert_eq!(ours.len(), if sys::Poller::NAME == "kqueue" { 1 } else { 2 }, "{ours:?}");
        let child = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let table = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && ours.iter().all(|(_, target)| !table.contains(target)), "{table}");
        // It ends by the default action, and we are not told.
        assert!(!Command::new("sh").args(["-c", "kill -s USR1 $$"]).status().unwrap().success());
        assert!(Probe::new().poll(pin!(listener.recv())).is_pending());
    });
}

/// A signalfd would fail here: the signal goes to a thread that was there before the runtime and does not block it.
#[test]
fn a_thread_that_was_there_before_does_no_harm() {
    if !kernel::has_proc() {
        return;
    }
    let ended = output_of(&[], || {
        interrupted_elsewhere();
    });
    let Some(child) = ended else { return };
    let told = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && told.contains("received 4 signals"), "{child:?}");
}

/// Runs in a process of its own, which the default action would end.
fn interrupted_elsewhere() {
    let (tell, told) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let before = thread::spawn(move || {
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        // Until the other end is dropped.
        let _ = left.recv();
    });
    let folder = std::path::Path::new("/proc").join(told.recv().unwrap());
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
    assert_eq!(u64::from_str_radix(blocked, 16).unwrap(), 0, "it blocks no signal");
    let thread = folder.file_name().unwrap().to_str().unwrap();
    let mut received = 0;
    for workers in [1, 4] {
        runtime(workers).block_on(async {
            for (mut next, name) in [(terminate(), "TERM"), (ctrl_c(), "INT")] {
                // The kernel gives a signal to the thread whose number it was sent to, if it does not block it.
                shell(&format!("kill -s {name} {thread}"));
                (&mut next).await.unwrap();
                received += 1;
            }
        });
    }
    drop(leave);
    before.join().unwrap();
    println!("received {received} signals");
}
