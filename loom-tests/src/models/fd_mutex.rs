//! Models of `fd_mutex`, with the queue of lockers as std-rt has it around the word.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex, MutexGuard, Notify};
use loom::thread;
use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{Evicted, FdMutex, Lock, Unlock};

use super::support::{Plain, race, race3, race4};
use crate::harness::{Expect, Model};

#[path = "../../../std-rt/src/fd/queue.rs"]
#[allow(dead_code)] // std-rt uses all of it
mod queue;

use queue::{Deliver, Enqueue, LockQueue, QueuePoll, RegisterNotify, Ticket, Withdraw};

// The order in which std-rt calls word and queue is that of `std-rt/src/fd.rs` and `std-rt/src/fd/op`; what stands here as one
// function is one there too, under the same name where it has one.

/// The models of this word.
pub const MODELS: &[Model] = &[
    green("m06_lock_against_lock", 2, None, lock_against_lock),
    green("m06_lock_against_close", 2, None, lock_against_close),
    green("m06_last_unlock_against_last_decref", 3, Some(3), last_unlock_against_last_decref),
    green("m06_close_against_two_queued", 4, Some(2), close_against_two_queued),
    green("m06_close_against_hand_over", 3, Some(3), close_against_hand_over),
    green("m06_read_against_write", 2, None, read_against_write),
    green("m06b_leave_against_hand_over", 2, None, leave_against_hand_over),
    green("m06b_leave_passes_the_lock_on", 3, Some(3), leave_passes_the_lock_on),
    green("m06b_leave_against_close", 3, Some(3), leave_against_close),
    green("m06c_hail_against_unlock", 2, Some(4), hail_against_unlock),
    green("m06c_hail_beside_a_queued_task", 3, Some(2), hail_beside_queued),
    green("m06c_two_hail", 3, Some(2), two_hail),
    green("m06c_hail_against_leave", 3, Some(3), hail_against_leave),
    green("m06c_hail_against_close", 3, Some(3), hail_against_close),
    green("m06d_close_against_a_task_at_rest", 2, None, close_against_rest),
    green("m06d_close_against_the_turn_after_rest", 2, None, close_against_resume),
    green("m06d_close_against_two_at_rest", 3, Some(3), close_against_two_at_rest),
    green("m06d_close_against_a_hand_over_that_nobody_takes", 3, Some(3), close_against_lost_hand_over),
    green("m06d_rest_against_a_queued_task", 2, None, rest_against_queued),
    green("m06e_a_waker_that_panics_is_passed_over", 2, None, passed_over),
    green("m06e_passed_over_against_its_next_look", 3, Some(3), passed_over_against_look),
    green("m06e_passed_over_against_close", 3, Some(2), passed_over_against_close),
    green("m18_close_against_last_reference", 2, None, close_against_last_reference),
];

const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// The read direction of a descriptor: the word, who waits, and the number that both protect (INV-7).
pub struct Fd {
    pub word: FdMutex,
    queue: Mutex<LockQueue<Waker>>,
    /// Who polls, behind the one waker that they share.
    pollers: Mutex<Vec<Arc<Notify>>>,
    /// Looked at under a reference; written by who closes it.
    number: Plain<()>,
    /// Written under the read lock, which comes with a reference.
    buffer: Plain<()>,
    /// Whether the number is closed, for a closer who was not the last.
    closed: (Mutex<bool>, Condvar),
}

/// Who is woken by an entry of the queue.
enum Waker {
    Task(Arc<Notify>),
    Pollers,
    /// Panics, as a foreign one may.
    Broken,
}

/// What a task that asks for the lock has got.
enum Asked {
    Locked,
    Waiting(Ticket, Arc<Notify>),
    Closed,
}

impl Fd {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            word: FdMutex::new(),
            queue: Mutex::new(LockQueue::new()),
            pollers: Mutex::new(Vec::new()),
            number: Plain::new(()),
            buffer: Plain::new(()),
            closed: (Mutex::new(false), Condvar::new()),
        })
    }

    fn queue(&self) -> MutexGuard<'_, LockQueue<Waker>> {
        self.queue.lock().expect("no model panics under the lock")
    }

    fn ask(&self) -> Asked {
        let task = Arc::new(Notify::new());
        self.ask_with(Waker::Task(task.clone()), task)
    }

    fn ask_with(&self, waker: Waker, task: Arc<Notify>) -> Asked {
        match self.word.lock(Mode::Read) {
            Lock::Locked => return Asked::Locked,
            Lock::Closed => return Asked::Closed,
            Lock::Queued => {}
        }
        let asked = self.queue().enqueue(waker);
        match asked {
            Enqueue::Granted(_) if self.resume() => Asked::Locked,
            Enqueue::Waiting(ticket) => Asked::Waiting(ticket, task),
            Enqueue::Granted(_) | Enqueue::Closed(_) => Asked::Closed,
        }
    }

    /// Takes a reference for a lock at rest; false if the descriptor is closed, and then the lock is given back.
    fn resume(&self) -> bool {
        let resumed = self.word.incref();
        if !resumed {
            let last = self.word.leave_at_rest(Mode::Read);
            self.close_number(last);
        }
        resumed
    }

    /// The end of a poll that is pending.
    fn rest(&self) {
        let last = self.word.decref();
        self.close_number(last);
    }

    /// Gives back a lock at rest.
    fn unlock_at_rest(&self) {
        if self.resume() {
            self.unlock();
        }
    }

    /// Waits for the lock; false if the descriptor is closed.
    pub fn lock(&self) -> bool {
        let (ticket, task) = match self.ask() {
            Asked::Locked => return true,
            Asked::Closed => return false,
            Asked::Waiting(ticket, task) => (ticket, task),
        };
        loop {
            task.wait();
            match self.queue().poll_ticket(&ticket) {
                QueuePoll::Granted => {}
                QueuePoll::Waiting(_) => continue,
                QueuePoll::Closed => return false,
                QueuePoll::Skipped => panic!("model: its waker does not panic"),
            }
            return self.resume();
        }
    }

    /// False if the waker panics.
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
                Lock::Queued => {}
            }
            let registered = self.queue().register_notify(Waker::Pollers, || self.word.leave(Mode::Read));
            match registered {
                RegisterNotify::Granted(_) if self.resume() => break,
                RegisterNotify::Granted(_) | RegisterNotify::Closed(_) => return,
                RegisterNotify::Waiting(_) => {}
            }
            self.pollers.lock().expect("no model panics under the lock").push(task.clone());
            let queue = self.queue();
            let (notified, closed) = (!queue.has_notify_waker(), queue.is_closed());
            drop(queue);
            if closed {
                return;
            }
            if notified {
                // Another thread gets on first: a task that was told at once is polled again later.
                thread::yield_now();
            } else {
                task.wait();
            }
        }
        self.number.get();
        self.buffer.set(());
        self.unlock();
    }

    pub fn unlock(&self) {
        let unlocked = self.word.unlock(Mode::Read);
        self.hand_over(unlocked);
    }

    fn hand_over(&self, mut unlocked: Unlock) {
        let mut to_notify = None;
        loop {
            match unlocked {
                Unlock::Free => break,
                Unlock::Last => break self.close_number(true),
                Unlock::HandedOver => {}
            }
            match self.deliver(&mut to_notify) {
                Deliver::Wake(task, place) => {
                    if self.wake(task) || !self.queue().skip(place) {
                        break;
                    }
                    if !self.resume() {
                        break;
                    }
                    unlocked = self.word.unlock(Mode::Read);
                }
                Deliver::Unclaimed => break,
                Deliver::UnlockAgain => unlocked = self.word.unlock(Mode::Read),
            }
        }
        if let Some(waker) = to_notify {
            self.wake(waker);
        }
    }

    fn deliver(&self, to_notify: &mut Option<Waker>) -> Deliver<Waker> {
        let (delivered, notified, last) = {
            let mut queue = self.queue();
            let delivered = queue.deliver();
            let last = !matches!(delivered, Deliver::UnlockAgain) && self.word.decref();
            (delivered, queue.take_notified(), last)
        };
        self.close_number(last);
        if notified.is_some() {
            *to_notify = notified;
        }
        delivered
    }

    /// A task asks for the lock and then changes its mind.
    pub fn ask_and_leave(&self) {
        match self.ask() {
            Asked::Locked => self.unlock(),
            Asked::Closed => {}
            Asked::Waiting(ticket, _) => self.leave(ticket),
        }
    }

    fn leave(&self, ticket: Ticket) {
        let left = self.queue().withdraw(ticket, || self.word.leave(Mode::Read));
        match left {
            Withdraw::Unlock => self.unlock_at_rest(),
            Withdraw::Done(_) => {}
        }
    }

    /// Uses number and buffer under the lock, if it can have it.
    pub fn read(&self) {
        if self.lock() {
            self.call();
            self.unlock();
        }
    }

    /// The system call of a task that has the lock and a reference.
    fn call(&self) {
        self.number.get();
        self.buffer.set(());
    }

    /// Uses the number without the lock, if it is open.
    pub fn send(&self) {
        if self.word.incref() {
            self.number.get();
            let last = self.word.decref();
            self.close_number(last);
        }
    }

    /// Closes, as `Fd::close` does up to its wait for the calls that still run. Its second poll comes at once, which leaves
    /// operations the least time to let go by themselves.
    pub fn close(&self) {
        let in_use = self.word.incref_and_close().expect("one closer in each model").in_use;
        assert!(!self.word.leave(Mode::Read), "a task is counted in a closed word");
        let evicted = self.queue().close();
        for waker in evicted {
            self.wake(waker);
        }
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

    /// The number has been closed, once.
    pub fn assert_closed(&self) {
        assert!(
            *self.closed.0.lock().expect("no model panics under the lock"),
            "the number was never closed"
        );
    }

    /// Nobody holds anything, nobody is counted: the lock can be had at once.
    pub fn assert_free(&self) {
        assert_eq!(self.word.lock(Mode::Read), Lock::Locked, "the lock was lost");
        assert_eq!(self.word.unlock(Mode::Read), Unlock::Free, "somebody is still counted");
        assert!(self.queue().is_empty());
    }
}

/// What one did under the lock is visible to the next, whether it was queued or not.
fn lock_against_lock() {
    let fd = Fd::new();
    race(&fd, Fd::read, Fd::read);
    fd.assert_free();
}

/// The number is closed once, after the last use, by whichever of the two is last.
fn lock_against_close() {
    let fd = Fd::new();
    race(&fd, Fd::read, Fd::close);
    fd.assert_closed();
}

/// As above with three that may be last.
fn last_unlock_against_last_decref() {
    let fd = Fd::new();
    race3(&fd, Fd::read, Fd::send, Fd::close);
    fd.assert_closed();
}

/// Two queue up behind a holder, a third closes: all return.
fn close_against_two_queued() {
    let fd = Fd::new();
    assert!(fd.lock());
    race4(&fd, Fd::unlock, Fd::read, Fd::read, Fd::close);
    fd.assert_closed();
}

/// The lock is on its way to a queued task while the descriptor is closed: the task has it or is thrown out, and the
/// reference that comes with it is given back.
fn close_against_hand_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::read, Fd::close);
    fd.assert_closed();
}

/// The two locks of a word do not disturb each other.
fn read_against_write() {
    let word = Arc::new(FdMutex::new());
    let hold = |mode| move |word: &FdMutex| (word.lock(mode), word.unlock(mode));
    let free = (Lock::Locked, Unlock::Free);
    assert_eq!(race(&word, hold(Mode::Read), hold(Mode::Write)), (free, free));
    assert_eq!(word.incref_and_close(), Some(Evicted { readers: 0, writers: 0, in_use: false }));
    assert!(word.decref());
}

/// A queued task leaves while the holder hands the lock over: it is not lost.
fn leave_against_hand_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    race(&fd, Fd::unlock, Fd::ask_and_leave);
    fd.assert_free();
}

/// As above with another who comes to wait: it has the lock in the end.
fn leave_passes_the_lock_on() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::read);
    fd.assert_free();
}

/// A queued task leaves while the descriptor is closed and the holder hands over: the number is closed, once.
fn leave_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::close);
    fd.assert_closed();
}

/// A task that polls is told when the lock is free.
fn hail_against_unlock() {
    let fd = Fd::new();
    assert!(fd.lock());
    race(&fd, Fd::unlock, Fd::poll);
    fd.assert_free();
}

/// As above with another in the queue, who is handed the lock and gives it back.
fn hail_beside_queued() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::read);
    fd.assert_free();
}

/// Two that poll share one place in the queue.
fn two_hail() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::poll);
    fd.assert_free();
}

/// One that is queued leaves meanwhile.
fn hail_against_leave() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::ask_and_leave);
    fd.assert_free();
}

/// The descriptor is closed meanwhile.
fn hail_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    race3(&fd, Fd::unlock, Fd::poll, Fd::close);
    fd.assert_closed();
}

/// An operation waits, and nobody polls it any more: the closer closes the number. Polled or dropped later, it touches nothing.
fn close_against_rest() {
    let fd = Fd::new();
    assert!(fd.lock());
    race(&fd, Fd::rest, Fd::close);
    fd.assert_closed();
    assert!(!fd.word.leave_at_rest(Mode::Read), "model: the number is closed twice");
}

/// An operation at rest goes on while the descriptor is closed: it makes its call on an open number, or none.
fn close_against_resume() {
    let fd = Fd::new();
    assert!(fd.lock());
    fd.rest();
    let turn = |fd: &Fd| {
        if fd.resume() {
            fd.call();
            fd.rest();
        }
    };
    race(&fd, turn, Fd::close);
    fd.assert_closed();
}

/// An operation waits in each direction; one has a turn and the other is dropped while the descriptor is closed.
fn close_against_two_at_rest() {
    let fd = Fd::new();
    assert!(fd.lock());
    fd.rest();
    assert_eq!(fd.word.lock(Mode::Write), Lock::Locked);
    assert!(!fd.word.decref());
    let turn = |fd: &Fd| {
        if fd.resume() {
            fd.call();
            fd.unlock();
        }
    };
    let dropped = |fd: &Fd| {
        let last = match fd.word.incref() {
            true => fd.word.unlock(Mode::Write) == Unlock::Last,
            false => fd.word.leave_at_rest(Mode::Write),
        };
        fd.close_number(last);
    };
    race3(&fd, turn, dropped, Fd::close);
    fd.assert_closed();
}

/// The lock is handed to a task that has been queued and is never polled again.
fn close_against_lost_hand_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    let queued = |fd: &Fd| match fd.ask() {
        Asked::Locked => fd.unlock(),
        Asked::Closed | Asked::Waiting(..) => {}
    };
    race3(&fd, Fd::unlock, queued, Fd::close);
    fd.assert_closed();
}

/// A task is queued behind one at rest: it has the lock when that one has ended.
fn rest_against_queued() {
    let fd = Fd::new();
    assert!(fd.lock());
    let rest_and_end = |fd: &Fd| {
        fd.rest();
        assert!(fd.resume(), "model: nobody closes");
        fd.call();
        fd.unlock();
    };
    race(&fd, rest_and_end, Fd::read);
    fd.assert_free();
}

/// A task is queued whose waker panics.
fn broken(fd: &Fd) -> Ticket {
    match fd.ask_with(Waker::Broken, Arc::new(Notify::new())) {
        Asked::Waiting(ticket, _) => ticket,
        Asked::Locked | Asked::Closed => panic!("model: another one has the lock"),
    }
}

/// The first in the queue cannot be woken: the next has the lock.
fn passed_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    let _never_polled = broken(&fd);
    race(&fd, Fd::unlock, Fd::read);
    fd.assert_free();
}

/// As above, and the first one is polled all the same: it has had the lock, or begins anew.
fn passed_over_against_look() {
    let fd = Fd::new();
    assert!(fd.lock());
    let ticket = broken(&fd);
    let ticket = loom::sync::Mutex::new(Some(ticket));
    let fd = Arc::new((fd, ticket));
    let look = |(fd, ticket): &(Arc<Fd>, loom::sync::Mutex<Option<Ticket>>)| {
        let ticket = ticket.lock().expect("no model panics under the lock").take().expect("it looks once");
        let looked = match fd.queue().poll_ticket(&ticket) {
            QueuePoll::Granted => Some(true),
            QueuePoll::Skipped => Some(false),
            QueuePoll::Waiting(_) => None,
            QueuePoll::Closed => panic!("model: nobody closes"),
        };
        match looked {
            Some(true) => fd.unlock_at_rest(),
            Some(false) => fd.read(),
            None => fd.leave(ticket),
        }
    };
    race3(&fd, |(fd, _)| fd.unlock(), look, |(fd, _)| fd.read());
    fd.0.assert_free();
}

/// As above, and the descriptor is closed meanwhile.
fn passed_over_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    let _never_polled = broken(&fd);
    race3(&fd, Fd::unlock, Fd::read, Fd::close);
    fd.assert_closed();
}

/// `close().await` returns after the number was closed by somebody else, and it does return.
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
        // Another may have the number by now, for something else.
        fd.number.set(());
    };
    let user = |fd: &Fd| {
        fd.number.get();
        let last = fd.word.decref();
        fd.close_number(last);
    };
    race(&fd, close, user);
}
