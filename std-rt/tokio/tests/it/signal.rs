//! Signals: several runtimes, and listeners that outlive theirs.

use std::io::ErrorKind;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;

use netpoll_rt::{Runtime, block_on};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::poll_once;

/// Sends a signal to this process.
fn send(kind: SignalKind) {
    let script = format!("kill -{} {}", kind.as_raw_value(), std::process::id());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().unwrap()
}

fn listen(runtime: &Runtime, kind: SignalKind) -> Signal {
    runtime.block_on(async { signal(kind).unwrap() })
}

#[test]
fn every_listener_of_every_runtime_receives_a_signal() {
    let (one, other) = (runtime(), runtime());
    let kind = SignalKind::user_defined1();
    let (mut first, mut second, mut third) = (listen(&one, kind), listen(&one, kind), listen(&other, kind));
    drop(listen(&one, kind));
    send(kind);
    one.block_on(async {
        assert_eq!(first.recv().await, Some(()));
        assert_eq!(second.recv().await, Some(()));
        // One signal is received once.
        assert!(poll_once(pin!(first.recv())).is_pending());
    });
    drop((one, first));
    assert_eq!(other.block_on(third.recv()), Some(()));
    send(kind);
    assert_eq!(other.block_on(third.recv()), Some(()));
}

#[test]
fn listener_works_on_in_another_runtime_after_its_own_has_ended() {
    let (one, other) = (runtime(), runtime());
    let kind = SignalKind::user_defined2();
    let mut waiting = listen(&one, kind);
    one.block_on(async { assert!(poll_once(pin!(waiting.recv())).is_pending()) });
    let mut early = listen(&one, kind);
    // A signal that came before the end is not lost.
    send(kind);
    assert_eq!(one.block_on(waiting.recv()), Some(()));
    drop(one);
    other.block_on(async {
        assert_eq!(early.recv().await, Some(()));
        assert!(poll_once(pin!(waiting.recv())).is_pending());
        send(kind);
        assert_eq!(waiting.recv().await, Some(()));
        assert!(poll_once(pin!(waiting.recv())).is_pending());
    });
}

#[test]
fn signal_between_two_listeners_of_one_task_is_not_lost() {
    let kind = SignalKind::alarm();
    runtime().block_on(async {
        for _ in 0..20 {
            drop(signal(kind).unwrap());
            send(kind);
            assert_eq!(signal(kind).unwrap().recv().await, Some(()));
        }
    });
}

#[test]
fn listener_whose_runtime_has_ended_receives_nothing_outside_of_a_runtime() {
    let one = runtime();
    let mut listener = listen(&one, SignalKind::window_change());
    drop(one);
    assert_eq!(poll_once(pin!(listener.recv())), Poll::Ready(None));
}

#[test]
fn signal_that_a_worker_receives_between_two_listeners_is_not_lost() {
    let (runtime, kind) = (Runtime::builder().workers(4).build().unwrap(), SignalKind::io());
    runtime.block_on(async {
        drop(signal(kind).unwrap());
        // It belongs to the same runtime, so the relay's task has run when it has received the signal, or runs soon.
        let witness = netpoll_rt::signal::signal(netpoll_rt::signal::SignalKind::IO).unwrap();
        for _ in 0..20 {
            send(kind);
            witness.recv().await.unwrap();
            netpoll_rt::task::yield_now().await;
            assert_eq!(signal(kind).unwrap().recv().await, Some(()));
            assert!(poll_once(pin!(signal(kind).unwrap().recv())).is_pending());
        }
    });
}

#[test]
fn ctrl_c_is_received_from_the_call_on() {
    block_on(async {
        let waiting = tokio::signal::ctrl_c();
        send(SignalKind::interrupt());
        waiting.await.unwrap();
    });
    // Outside of a runtime from the first poll on.
    let waiting = tokio::signal::ctrl_c();
    block_on(async {
        let mut waiting = pin!(waiting);
        assert!(poll_once(waiting.as_mut()).is_pending());
        send(SignalKind::interrupt());
        waiting.await.unwrap();
    });
}

#[test]
fn numbers_that_nobody_can_listen_to_are_refused() {
    block_on(async {
        for number in [-1, 0, 9, 11, 19, 1000] {
            assert_eq!(
                signal(SignalKind::from_raw(number)).unwrap_err().kind(),
                ErrorKind::Other,
                "{number}"
            );
        }
    });
    crate::assert_needs_runtime(|| drop(signal(SignalKind::hangup())));
}

#[test]
fn kinds_have_the_numbers_of_the_system() {
    assert_eq!(i32::from(SignalKind::interrupt()), 2);
    assert_eq!(SignalKind::from(15), SignalKind::terminate());
    assert_eq!(format!("{:?}", SignalKind::pipe()), "SignalKind(13)");
}
