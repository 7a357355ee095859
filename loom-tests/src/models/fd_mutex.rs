//! Models of `fd_mutex`: the state word and its list of waiters, called as `netpoll-rt` calls them.

mod at_rest;

use std::collections::BTreeMap;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex, MutexGuard, Notify};
use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{
    Cancel, Close, FdMutex, HandOver, Lock, LockOrWait, Unlock, WaitList, WaiterId, WaiterMap, Waiting,
};

use super::support::{Plain, race, race3};
use crate::harness::{Model, green};

/// The models of the two files.
pub const MODELS: &[Model] = &[
    green("m06_lock_against_lock", 2, None, lock_against_lock),
    green("m06_two_waiters_against_hand_over", 3, Some(2), two_waiters),
    green("m06_lock_against_close", 2, None, lock_against_close),
    green("m06_last_unlock_against_last_decref", 3, Some(3), last_unlock_against_last_decref),
    green("m06_close_against_two_waiters", 3, Some(2), close_against_two_waiters),
    green("m06_close_against_hand_over", 3, Some(3), close_against_hand_over),
    green("m06_close_against_waiters_of_both_locks", 3, Some(2), close_against_waiters_of_both),
    green("m06_read_against_write", 2, None, read_against_write),
    green("m06b_cancel_against_hand_over", 2, None, cancel_against_hand_over),
    green("m06b_cancel_passes_the_lock_on", 3, Some(3), cancel_passes_the_lock_on),
    green("m06b_cancel_against_close", 3, Some(3), cancel_against_close),
    green("m06b_two_cancel_against_hand_over", 3, Some(3), two_cancel),
    green("m06c_notify_against_unlock", 2, None, notify_against_unlock),
    green("m06c_notify_beside_a_waiter", 3, Some(2), notify_beside_waiter),
    green("m06c_two_notify", 3, Some(2), two_notify),
    green("m06c_notify_against_cancel", 3, Some(3), notify_against_cancel),
    green("m06c_notify_against_close", 3, Some(3), notify_against_close),
    green("m06d_close_against_a_task_at_rest", 2, None, at_rest::close_against_rest),
    green("m06d_close_against_the_poll_after_rest", 2, None, at_rest::close_against_resume),
    green("m06d_close_against_two_at_rest", 3, Some(3), at_rest::close_against_two_at_rest),
    green("m06d_close_against_a_grant_that_is_not_taken", 3, Some(3), at_rest::close_against_untaken_grant),
    green("m06d_rest_against_a_waiter", 2, None, at_rest::rest_against_waiter),
    green("m06d_drop_at_rest_against_a_waiter", 2, None, at_rest::drop_at_rest_against_waiter),
    green("m06e_a_waker_that_panics_is_skipped", 2, None, at_rest::skipped),
    green("m06e_skip_against_the_next_poll", 3, Some(3), at_rest::skip_against_poll),
    green("m06e_skip_against_close", 3, Some(2), at_rest::skip_against_close),
    green("m18_close_against_last_reference", 2, None, close_against_last_reference),
    green("m18_closed_carries_what_came_before_it", 2, None, payload_through_closed),
];

/// A descriptor: the word, its list of waiters, and the number that both protect (INV-7).
pub struct Fd {
    pub word: FdMutex,
    list: Mutex<WaitList<Tasks>>,
    /// The tasks behind the one waker that all of them register for a notification.
    pollers: Mutex<Vec<Arc<Notify>>>,
    /// The number, read under a reference and written by the thread that closes it.
    number: Plain<()>,
    /// The buffer, written under the read lock and a reference.
    buffer: Plain<()>,
    /// Set once the number is closed, for a closer that did not close it itself.
    closed: (Mutex<bool>, Condvar),
}

/// Stands for the waker of a task in the list.
#[derive(Debug)]
enum Waker {
    Task(Arc<Notify>),
    Pollers,
    /// Panics when it is woken.
    Broken,
}

/// The container of the list.
#[derive(Default, Debug)]
struct Tasks(BTreeMap<WaiterId, Waker>);

impl WaiterMap for Tasks {
    type Waker = Waker;

    fn push_last(&mut self, id: WaiterId, waker: Waker) {
        let before = self.0.insert(id, waker);
        assert!(before.is_none(), "two tasks have one identity");
    }

    fn pop_first(&mut self) -> Option<(WaiterId, Waker)> {
        self.0.pop_first()
    }

    fn remove(&mut self, id: WaiterId) -> Option<Waker> {
        self.0.remove(&id)
    }

    fn get_mut(&mut self, id: WaiterId) -> Option<&mut Waker> {
        self.0.get_mut(&id)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (WaiterId, &mut Waker)> {
        self.0.iter_mut().map(|(id, waker)| (*id, waker))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The result of a task's request for the lock.
enum Asked {
    Locked,
    Waits(WaiterId, Arc<Notify>),
    Closed,
}

impl Fd {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            word: FdMutex::new(),
            list: Mutex::new(WaitList::default()),
            pollers: Mutex::new(Vec::new()),
            number: Plain::new(()),
            buffer: Plain::new(()),
            closed: (Mutex::new(false), Condvar::new()),
        })
    }

    fn list(&self) -> MutexGuard<'_, WaitList<Tasks>> {
        self.list.lock().expect("no model panics under the lock")
    }

    fn ask(&self, mode: Mode) -> Asked {
        let task = Arc::new(Notify::new());
        self.ask_with(mode, Waker::Task(task.clone()), task)
    }

    fn ask_with(&self, mode: Mode, waker: Waker, task: Arc<Notify>) -> Asked {
        match self.word.lock(mode) {
            Lock::Locked => return Asked::Locked,
            Lock::Closed => return Asked::Closed,
            Lock::Contended => {}
        }
        let asked = self.word.lock_or_wait(mode, &mut self.list(), waker);
        match asked {
            LockOrWait::Locked(_) => Asked::Locked,
            LockOrWait::Waits(id) => Asked::Waits(id, task),
            LockOrWait::Closed(_) => Asked::Closed,
        }
    }

    /// Takes a reference for a lock at rest. Returns false, after giving the lock back, if the descriptor is
    /// closed.
    fn resume(&self, mode: Mode) -> bool {
        let resumed = self.word.incref();
        if !resumed {
            self.unlock_at_rest(mode);
        }
        resumed
    }

    /// Ends a poll that is pending.
    fn rest(&self) {
        let last = self.word.decref();
        self.close_number(last);
    }

    /// Ends an operation between two of its polls.
    fn unlock_at_rest(&self, mode: Mode) {
        match self.word.unlock_at_rest(mode) {
            Unlock::Free => {}
            Unlock::Last => self.close_number(true),
            Unlock::Contended => {
                let handed = self.word.hand_over_at_rest(mode, &mut self.list());
                self.finish(mode, handed);
            }
        }
    }

    /// Waits for the read lock. Returns false if the descriptor is closed.
    pub fn lock(&self) -> bool {
        self.lock_of(Mode::Read)
    }

    fn lock_of(&self, mode: Mode) -> bool {
        let (id, task) = match self.ask(mode) {
            Asked::Locked => return true,
            Asked::Closed => return false,
            Asked::Waits(id, task) => (id, task),
        };
        loop {
            task.wait();
            match self.list().poll(mode, id) {
                Waiting::Granted => {}
                Waiting::Waits(_) => continue,
                Waiting::Gone => {
                    assert!(self.word.is_closed(), "a task was removed whose waker does not panic");
                    return false;
                }
            }
            return self.resume(mode);
        }
    }

    /// Wakes a task. Returns false if the waker panics.
    fn wake(&self, waker: Waker) -> bool {
        match waker {
            Waker::Broken => return false,
            Waker::Task(task) => task.notify(),
            Waker::Pollers => {
                let pollers =
                    std::mem::take(&mut *self.pollers.lock().expect("no model panics under the lock"));
                pollers.iter().for_each(|task| task.notify());
            }
        }
        true
    }

    /// Uses number and buffer under the lock, as a task that polls and registers for a notification.
    pub fn poll(&self) {
        let task = Arc::new(Notify::new());
        loop {
            match self.word.lock(Mode::Read) {
                Lock::Locked => break,
                Lock::Closed => return,
                Lock::Contended => {}
            }
            // This task's waker is registered first, since the shared one may be woken as soon as it is
            // registered.
            self.pollers.lock().expect("no model panics under the lock").push(task.clone());
            let registered = self.word.lock_or_notify(Mode::Read, &mut self.list(), Waker::Pollers);
            match registered {
                LockOrWait::Locked(_) => break,
                LockOrWait::Closed(_) => return,
                LockOrWait::Waits(_) => task.wait(),
            }
        }
        self.call();
        self.unlock();
    }

    pub fn unlock(&self) {
        self.unlock_of(Mode::Read);
    }

    fn unlock_of(&self, mode: Mode) {
        match self.word.unlock(mode) {
            Unlock::Free => {}
            Unlock::Last => self.close_number(true),
            Unlock::Contended => {
                let handed = self.word.hand_over(mode, &mut self.list());
                self.finish(mode, handed);
            }
        }
    }

    /// Wakes the task that was granted the lock, or the next one if its waker panics.
    fn finish(&self, mode: Mode, mut handed: HandOver<Waker>) {
        loop {
            match handed {
                HandOver::Free => return,
                HandOver::Last => return self.close_number(true),
                HandOver::Notify(waker) => {
                    self.wake(waker);
                    return;
                }
                HandOver::Granted(waker, id) => {
                    if self.wake(waker) {
                        return;
                    }
                    let Cancel::HandedOn(next) = self.word.cancel(mode, &mut self.list(), id) else { return };
                    handed = next;
                }
            }
        }
    }

    /// Asks for the lock and then gives up.
    pub fn ask_and_leave(&self) {
        match self.ask(Mode::Read) {
            Asked::Locked => self.unlock(),
            Asked::Closed => {}
            Asked::Waits(id, _) => self.cancel(id),
        }
    }

    fn cancel(&self, id: WaiterId) {
        let cancelled = self.word.cancel(Mode::Read, &mut self.list(), id);
        if let Cancel::HandedOn(handed) = cancelled {
            self.finish(Mode::Read, handed);
        }
    }

    /// Uses number and buffer under the lock, unless the descriptor is closed.
    pub fn read(&self) {
        if self.lock() {
            self.call();
            self.unlock();
        }
    }

    /// Makes the system call of a task that has the lock and a reference.
    fn call(&self) {
        self.number.get();
        self.buffer.set(());
    }

    /// Uses the number under the write lock, unless the descriptor is closed.
    fn write(&self) {
        if self.lock_of(Mode::Write) {
            self.number.get();
            self.unlock_of(Mode::Write);
        }
    }

    /// Uses the number without the lock, unless the descriptor is closed.
    pub fn send(&self) {
        if self.word.incref() {
            self.number.get();
            let last = self.word.decref();
            self.close_number(last);
        }
    }

    /// Closes as `Fd::close` does, up to its wait for the calls in progress. Its second poll comes at once,
    /// which leaves the operations the least time to end by themselves.
    pub fn close(&self) {
        let in_use = match self.word.incref_and_close() {
            Close::Closed { in_use } => in_use,
            Close::Contended => {
                let closed = self.word.close_and_evict(&mut self.list());
                let (in_use, evicted) = closed.expect("each model has one closer");
                for waker in evicted {
                    self.wake(waker);
                }
                in_use
            }
            Close::Already => panic!("model: there are two closers"),
        };
        let last = self.word.decref();
        assert!(in_use || last, "a reference was taken from a closed word");
        self.close_number(last);
        if !last {
            let last = self.word.abandon();
            self.close_number(last);
        }
    }

    fn close_number(&self, last: bool) {
        if last {
            self.number.set(());
            let mut closed = self.closed.0.lock().expect("no model panics under the lock");
            assert!(!*closed, "the number was closed twice");
            *closed = true;
            self.closed.1.notify_one();
        }
    }

    /// Asserts that the number has been closed once.
    pub fn assert_closed(&self) {
        assert!(
            *self.closed.0.lock().expect("no model panics under the lock"),
            "the number was never closed"
        );
    }

    /// Asserts that no task holds a lock or waits.
    pub fn assert_free(&self) {
        assert_eq!(self.word.lock(Mode::Read), Lock::Locked, "the lock was lost");
        assert_eq!(self.word.unlock(Mode::Read), Unlock::Free, "HAS_WAITERS is set though no task waits");
        assert!(self.list().iter_mut(Mode::Read).next().is_none(), "a task waits for a lock that is free");
        assert!(!self.list().has_notify(Mode::Read), "a task waits for a lock that is free");
    }
}

/// The writes of one task under the lock are visible to the next, whether it waited or not.
fn lock_against_lock() {
    let fd = Fd::new();
    race(&fd, Fd::read, Fd::read);
    fd.assert_free();
}

/// Two tasks wait behind a holder: each gets the lock in the end.
fn two_waiters() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::read, Fd::read);
    fd.assert_free();
}

/// The number is closed once, after the last use, by the last thread.
fn lock_against_close() {
    let fd = Fd::new();
    race(&fd, Fd::read, Fd::close);
    fd.assert_closed();
}

/// The race above with three threads that may be last.
fn last_unlock_against_last_decref() {
    let fd = Fd::new();
    race3(&fd, Fd::read, Fd::send, Fd::close);
    fd.assert_closed();
}

/// Two tasks wait behind an operation at rest while a third thread closes: all return.
fn close_against_two_waiters() {
    let fd = Fd::new();
    assert!(fd.lock());
    fd.rest();
    race3(&fd, Fd::read, Fd::read, Fd::close);
    fd.assert_closed();
}

/// The lock is handed over to a waiter while the descriptor is closed: the waiter gets it or is evicted.
fn close_against_hand_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::read, Fd::close);
    fd.assert_closed();
}

/// A task waits for each lock, and both are evicted; the locks are at rest.
fn close_against_waiters_of_both() {
    let fd = Fd::new();
    assert!(fd.lock_of(Mode::Read) && fd.lock_of(Mode::Write));
    fd.rest();
    fd.rest();
    race3(&fd, Fd::read, Fd::write, Fd::close);
    fd.assert_closed();
    for mode in [Mode::Read, Mode::Write] {
        assert_eq!(fd.word.unlock_at_rest(mode), Unlock::Free, "HAS_WAITERS is set though no task waits");
    }
}

/// The two locks of a word do not disturb each other.
fn read_against_write() {
    let word = Arc::new(FdMutex::new());
    let hold = |mode| move |word: &FdMutex| (word.lock(mode), word.unlock(mode));
    let free = (Lock::Locked, Unlock::Free);
    assert_eq!(race(&word, hold(Mode::Read), hold(Mode::Write)), (free, free));
    assert_eq!(word.incref_and_close(), Close::Closed { in_use: false });
    assert!(word.decref());
}

/// A waiter gives up while the holder hands the lock over: it is not lost.
fn cancel_against_hand_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    race(&fd, Fd::unlock, Fd::ask_and_leave);
    fd.assert_free();
}

/// The race above with another task that begins to wait: it gets the lock in the end.
fn cancel_passes_the_lock_on() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::read);
    fd.assert_free();
}

/// A waiter gives up while the descriptor is closed and the holder hands over: the number is closed, once.
fn cancel_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::close);
    fd.assert_closed();
}

/// Both waiters give up: the lock is free, and `HAS_WAITERS` is clear.
fn two_cancel() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::ask_and_leave);
    fd.assert_free();
}

/// A task that polls is woken when the lock is free.
fn notify_against_unlock() {
    let fd = Fd::new();
    assert!(fd.lock());
    race(&fd, Fd::unlock, Fd::poll);
    fd.assert_free();
}

/// The race above with a waiter, which is granted the lock first and gives it back.
fn notify_beside_waiter() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::read);
    fd.assert_free();
}

/// Two tasks that poll share one waker in the list.
fn two_notify() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::poll);
    fd.assert_free();
}

/// A waiter gives up while a task that polls registers.
fn notify_against_cancel() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::ask_and_leave);
    fd.assert_free();
}

/// The descriptor is closed while a task that polls registers.
fn notify_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::close);
    fd.assert_closed();
}

/// `close().await` returns after another thread has closed the number, and it does return.
fn close_against_last_reference() {
    let fd = Fd::new();
    assert!(fd.word.incref());
    let close = |fd: &Fd| {
        fd.close();
        let mut closed = fd.closed.0.lock().expect("no model panics under the lock");
        while !*closed {
            closed = fd.closed.1.wait(closed).expect("no model panics under the lock");
        }
        drop(closed);
        // The kernel may have given the number to another descriptor by now.
        fd.number.set(());
    };
    let user = |fd: &Fd| {
        fd.number.get();
        let last = fd.word.decref();
        fd.close_number(last);
    };
    race(&fd, close, user);
}

/// A thread that sees the descriptor closed sees the writes of its closer.
fn payload_through_closed() {
    struct Closed(FdMutex, Plain<usize>);
    let look = |closed: &Closed| {
        let seen = closed.0.is_closed();
        assert!(!seen || closed.1.get() == 1, "model: closed without the write before it");
    };
    race(&Arc::new(Closed(FdMutex::new(), Plain::new(0))), look, |closed| {
        closed.1.set(1);
        let _ = closed.0.incref_and_close();
    });
}
