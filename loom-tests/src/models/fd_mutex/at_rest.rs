//! Models of locks at rest, and of waiters whose waker panics: the operation behind a lock is not polled for
//! a while, or never again.

use std::sync::Arc;

use loom::sync::Notify;
use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{Unlock, WaiterId, Waiting};

use super::{Asked, Fd, Waker};
use crate::models::support::{race, race3};

/// An operation waits and is not polled any more: the closer closes the number. If the operation is dropped
/// later, it does not use the number.
pub fn close_against_rest() {
    let fd = Fd::new();
    assert!(fd.lock());
    race(&fd, Fd::rest, Fd::close);
    fd.assert_closed();
    assert_eq!(fd.word.unlock_at_rest(Mode::Read), Unlock::Free, "model: the number is closed twice");
}

/// An operation at rest is polled while the descriptor is closed: it makes its call on an open number, or
/// none.
pub fn close_against_resume() {
    let fd = Fd::new();
    assert!(fd.lock());
    fd.rest();
    let poll = |fd: &Fd| {
        if fd.resume(Mode::Read) {
            fd.call();
            fd.rest();
        }
    };
    race(&fd, poll, Fd::close);
    fd.assert_closed();
}

/// An operation waits in each direction; one is polled and the other is dropped while the descriptor is
/// closed.
pub fn close_against_two_at_rest() {
    let fd = Fd::new();
    assert!(fd.lock_of(Mode::Read) && fd.lock_of(Mode::Write));
    fd.rest();
    fd.rest();
    let poll = |fd: &Fd| {
        if fd.resume(Mode::Read) {
            fd.call();
            fd.unlock();
        }
    };
    race3(&fd, poll, |fd| fd.unlock_at_rest(Mode::Write), Fd::close);
    fd.assert_closed();
}

/// The lock is granted to a waiter that is never polled again.
pub fn close_against_untaken_grant() {
    let fd = Fd::new();
    assert!(fd.lock());
    let waiter = |fd: &Fd| match fd.ask(Mode::Read) {
        Asked::Locked => fd.unlock(),
        Asked::Closed | Asked::Waits(..) => {}
    };
    race3(&fd, Fd::unlock, waiter, Fd::close);
    fd.assert_closed();
}

/// A task waits behind an operation at rest: it gets the lock once that one has ended.
pub fn rest_against_waiter() {
    let fd = Fd::new();
    assert!(fd.lock());
    let rest_and_end = |fd: &Fd| {
        fd.rest();
        assert!(fd.resume(Mode::Read), "model: the descriptor stays open");
        fd.call();
        fd.unlock();
    };
    race(&fd, rest_and_end, Fd::read);
    fd.assert_free();
}

/// A task waits behind an operation that is dropped at rest: it gets the lock.
pub fn drop_at_rest_against_waiter() {
    let fd = Fd::new();
    assert!(fd.lock());
    fd.rest();
    race(&fd, |fd| fd.unlock_at_rest(Mode::Read), Fd::read);
    fd.assert_free();
}

/// Adds a waiter whose waker panics.
fn broken(fd: &Fd) -> WaiterId {
    match fd.ask_with(Mode::Read, Waker::Broken, Arc::new(Notify::new())) {
        Asked::Waits(id, _) => id,
        Asked::Locked | Asked::Closed => panic!("model: another one has the lock"),
    }
}

/// The first waiter cannot be woken: the next gets the lock.
pub fn skipped() {
    let fd = Fd::new();
    assert!(fd.lock());
    let _never_polled = broken(&fd);
    race(&fd, Fd::unlock, Fd::read);
    fd.assert_free();
}

/// The race above, with a poll of the first waiter although it was not woken: it had the lock, or starts
/// over.
pub fn skip_against_poll() {
    let fd = Fd::new();
    assert!(fd.lock());
    let id = broken(&fd);
    let poll = move |fd: &Fd| {
        let polled = match fd.list().poll(Mode::Read, id) {
            Waiting::Granted => Some(true),
            Waiting::Gone => Some(false),
            Waiting::Waits(_) => None,
        };
        match polled {
            Some(true) => fd.unlock_at_rest(Mode::Read),
            Some(false) => fd.read(),
            None => fd.cancel(id),
        }
    };
    race3(&fd, Fd::unlock, poll, Fd::read);
    fd.assert_free();
}

/// The race of `skipped`, with a close of the descriptor.
pub fn skip_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    let _never_polled = broken(&fd);
    race3(&fd, Fd::unlock, Fd::read, Fd::close);
    fd.assert_closed();
}
