//! The behavior of locks and tokens that the checker must know, so that the other models mean something.

use std::sync::Arc;
use std::time::Duration;

use netpoll_rt::internal::sync::{Condvar, Mutex, lock, thread};

use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    Model {
        name: "sync::wait_with_a_limit_ends_without_a_notification",
        threads: 2,
        bound: None,
        expect: Expect::Green,
        body: || {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            let (_guard, result) = condvar.wait_timeout(lock(&mutex), Duration::ZERO).expect("no panic");
            assert!(result.timed_out(), "model: nothing else ends this wait");
            thread::park_timeout(Duration::ZERO);
        },
    },
    Model {
        name: "sync::control_wait_without_a_limit",
        threads: 1,
        bound: None,
        expect: Expect::Deadlock,
        body: || drop(Condvar::new().wait(lock(&Mutex::new(()))).expect("no panic")),
    },
    Model {
        name: "sync::control_limit_never_expires",
        threads: 3,
        bound: None,
        expect: Expect::Assertion,
        body: || {
            let (_, timed_out) = notified();
            assert!(!timed_out, "model: the limit expired first");
        },
    },
    Model {
        name: "sync::control_limit_always_expires",
        threads: 3,
        bound: None,
        expect: Expect::Assertion,
        body: || {
            let (_, timed_out) = notified();
            assert!(timed_out, "model: the notification came first");
        },
    },
    Model {
        name: "sync::control_park_returns_only_with_a_token",
        threads: 2,
        bound: None,
        expect: Expect::Assertion,
        body: || {
            let said = Arc::new(Mutex::new(false));
            let (of_thread, this) = (said.clone(), thread::current());
            let sayer = thread::spawn(move || {
                *lock(&of_thread) = true;
                this.unpark();
            });
            thread::park();
            assert!(*lock(&said), "model: park returned without a token");
            sayer.join().expect("no panic");
        },
    },
];

/// Waits with a limit for a notification. Returns whether it came, and whether the time was over.
fn notified() -> (bool, bool) {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let of_thread = shared.clone();
    let sayer = thread::spawn(move || {
        *lock(&of_thread.0) = true;
        of_thread.1.notify_one();
    });
    let guard = lock(&shared.0);
    let (said, timed_out) = match *guard {
        true => (true, true),
        false => {
            let (guard, result) = shared.1.wait_timeout(guard, Duration::ZERO).expect("no panic");
            (*guard, result.timed_out())
        }
    };
    sayer.join().expect("no panic");
    (said, timed_out)
}
