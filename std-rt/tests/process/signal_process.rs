//! Signals of a process as a whole: its default actions, and the mask that it was started with.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::Command;
use std::thread;

use crate::common::own_process::output_of;
use crate::common::*;
use netpoll_rt::signal::{SignalKind, ctrl_c, restore_default, signal, terminate};

/// Sends this process a signal, which was taken or is pending when this returns.
fn raise(name: &str) {
    let line = format!("kill -s {name} $PID");
    let status = Command::new("sh").args(["-c", &line]).env("PID", std::process::id().to_string()).status();
    assert!(status.unwrap().success());
}

const INT: i32 = 2;

#[test]
fn the_default_action_comes_back_when_it_is_asked_for() {
    let ended = output_of(&[], || {
        for workers in [1, 4] {
            runtime(workers).block_on(async {
                let first = ctrl_c();
                raise("INT");
                first.await.unwrap();
                restore_default(SignalKind::INTERRUPT).unwrap();
                // A new listener takes it away again.
                let second = ctrl_c();
                raise("INT");
                second.await.unwrap();
            });
        }
        println!("asked to end");
        restore_default(SignalKind::INTERRUPT).unwrap();
        raise("INT");
        // It may be another thread that takes it.
        loop {
            thread::park();
        }
    });
    let Some(ended) = ended else { return };
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(told.contains("asked to end"), "{ended:?}");
    assert_eq!(ended.status.signal(), Some(INT), "{ended:?}");
}

#[test]
fn a_signal_that_is_ignored_by_default_is_told_after_its_default_came_back() {
    let ended = output_of(&[], || {
        runtime(1).block_on(async {
            for _ in 0..2 {
                let listener = signal(SignalKind::WINDOW_CHANGE).unwrap();
                raise("WINCH");
                listener.recv().await.unwrap();
                restore_default(SignalKind::WINDOW_CHANGE).unwrap();
                raise("WINCH");
            }
        });
        println!("told twice");
    });
    let Some(ended) = ended else { return };
    assert!(ended.status.success() && String::from_utf8_lossy(&ended.stdout).contains("told twice"));
}

#[test]
fn the_default_of_what_cannot_be_listened_to_is_not_to_be_had() {
    let _alone = alone();
    for number in [9, 19, 11, 0, -1, 1000] {
        let error = restore_default(SignalKind::from_raw(number)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(&format!("signal {number} ")), "{error}");
    }
}

/// The parent is like a supervisor that blocks the signal and does not unblock it for its children.
#[test]
fn a_signal_that_every_thread_has_inherited_as_blocked_is_told() {
    let can_block = || {
        let _alone = alone();
        Command::new("env").args(["--block-signal=TERM", "true"]).output()
    };
    if !can_block().is_ok_and(|it| it.status.success()) {
        // The `env` of other systems cannot block a signal.
        return;
    }
    let ended = output_of(&["env", "--block-signal=TERM,INT"], || {
        let mut told = 0;
        for workers in [1, 4] {
            runtime(workers).block_on(async {
                for (next, name) in [(terminate(), "TERM"), (ctrl_c(), "INT")] {
                    raise(name);
                    let mut next = pin!(next);
                    next.as_mut().await.unwrap();
                    told += 1;
                }
            });
        }
        println!("told of {told} signals");
    });
    let Some(ended) = ended else { return };
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && told.contains("told of 4 signals"), "{ended:?}");
}
