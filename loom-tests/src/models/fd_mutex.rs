//! Models of `fd_mutex`, with the queue of lockers as std-rt has it around the word.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex, MutexGuard, Notify};
use netpoll_core::fd_mutex::{Evicted, FdMutex, Lock, Unlock};
use netpoll_core::poll_key::Mode;

use super::kit::{Plain, race, race3, race4};
use crate::harness::{Expect, Model};

#[path = "../../../std-rt/src/fd/queue.rs"]
#[allow(dead_code)] // std-rt uses all of it
mod queue;

use queue::{Deliver, Enqueue, Hail, LockQueue, Look, Ticket, Withdraw};

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
    green("m06c_hail_against_unlock", 2, None, hail_against_unlock),
    green("m06c_hail_beside_a_queued_task", 3, Some(3), hail_beside_queued),
    green("m06c_two_hail", 3, Some(2), two_hail),
    green("m06c_hail_against_leave", 3, Some(3), hail_against_leave),
    green("m06c_hail_against_close", 3, Some(3), hail_against_close),
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
        match self.word.lock(Mode::Read) {
            Lock::Locked => return Asked::Locked,
            Lock::Closed => return Asked::Closed,
            Lock::Queued => {}
        }
        let task = Arc::new(Notify::new());
        let asked = self.queue().enqueue(Waker::Task(task.clone()));
        match asked {
            Enqueue::Granted(_) => Asked::Locked,
            Enqueue::Waiting(ticket) => Asked::Waiting(ticket, task),
            Enqueue::Closed(_) => Asked::Closed,
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
            match self.queue().look(&ticket) {
                Look::Granted => return true,
                Look::Waiting(_) => {}
                Look::Closed => return false,
            }
        }
    }

    fn wake(&self, waker: Waker) {
        match waker {
            Waker::Task(task) => task.notify(),
            Waker::Pollers => {
                let pollers =
                    std::mem::take(&mut *self.pollers.lock().expect("no model panics under the lock"));
                pollers.iter().for_each(|task| task.notify());
            }
        }
    }

    /// Uses number and buffer under the lock, as a task that polls and hails. True if it has closed the number.
    pub fn poll(&self) -> bool {
        let task = Arc::new(Notify::new());
        loop {
            match self.word.lock(Mode::Read) {
                Lock::Locked => break,
                Lock::Closed => return false,
                Lock::Queued => {}
            }
            self.pollers.lock().expect("no model panics under the lock").push(task.clone());
            let hailed = self.queue().hail(Waker::Pollers, || self.word.leave(Mode::Read));
            match hailed {
                Hail::Granted(_) => break,
                Hail::Closed(_) => return false,
                Hail::Waiting(_) => task.wait(),
            }
        }
        self.number.get();
        self.buffer.set(());
        self.unlock()
    }

    /// True if the caller has closed the number.
    pub fn unlock(&self) -> bool {
        let mut hailed = None;
        let closed = self.unlock_and_collect(&mut hailed);
        hailed.into_iter().for_each(|waker| self.wake(waker));
        closed
    }

    fn unlock_and_collect(&self, hailed: &mut Option<Waker>) -> bool {
        loop {
            match self.word.unlock(Mode::Read) {
                Unlock::Free => return false,
                Unlock::Last => return self.close_number(true),
                Unlock::HandedOver => {}
            }
            let (delivered, answered) = {
                let mut queue = self.queue();
                (queue.deliver(), queue.answer())
            };
            if answered.is_some() {
                *hailed = answered;
            }
            match delivered {
                Deliver::Wake(task) => self.wake(task),
                Deliver::Left => {}
                Deliver::UnlockAgain => continue,
            }
            return false;
        }
    }

    /// A task asks for the lock and then changes its mind. True if it has closed the number.
    pub fn ask_and_leave(&self) -> bool {
        let ticket = match self.ask() {
            Asked::Locked => return self.unlock(),
            Asked::Closed => return false,
            Asked::Waiting(ticket, _) => ticket,
        };
        let left = self.queue().withdraw(ticket, || self.word.leave(Mode::Read));
        match left {
            Withdraw::Unlock => self.unlock(),
            Withdraw::Done(_) => false,
        }
    }

    /// Uses number and buffer under the lock, if it can have it. True if it has closed the number.
    pub fn read(&self) -> bool {
        if !self.lock() {
            return false;
        }
        self.number.get();
        self.buffer.set(());
        self.unlock()
    }

    /// Uses the number without the lock, if it is open. True if it has closed the number.
    pub fn send(&self) -> bool {
        if !self.word.incref() {
            return false;
        }
        self.number.get();
        self.close_number(self.word.decref())
    }

    /// Closes, as `Fd::close` does up to its wait for the last reference. True if it has closed the number.
    pub fn close(&self) -> bool {
        let in_use = self.word.incref_and_close().expect("one closer in each model").in_use;
        assert!(!self.word.leave(Mode::Read), "a task is counted in a closed word");
        let evicted = self.queue().close();
        for waker in evicted {
            self.wake(waker);
        }
        let last = self.word.decref();
        assert!(in_use || last, "a reference was taken from a closed word");
        self.close_number(last)
    }

    fn close_number(&self, last: bool) -> bool {
        if last {
            self.number.set(());
        }
        last
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
    assert_eq!(race(&fd, Fd::read, Fd::read), (false, false));
    fd.assert_free();
}

/// The number is closed once, after the last use, by whichever of the two is last.
fn lock_against_close() {
    let fd = Fd::new();
    let (unlocked, closed) = race(&fd, Fd::read, Fd::close);
    assert!(unlocked != closed, "closed twice or never");
}

/// As above with three that may be last.
fn last_unlock_against_last_decref() {
    let fd = Fd::new();
    let (unlocked, sent, closed) = race3(&fd, Fd::read, Fd::send, Fd::close);
    assert_once([unlocked, sent, closed]);
}

/// Two queue up behind a holder, a third closes: all return.
fn close_against_two_queued() {
    let fd = Fd::new();
    assert!(fd.lock());
    let (unlocked, first, second, closed) = race4(&fd, Fd::unlock, Fd::read, Fd::read, Fd::close);
    assert_once([unlocked, first, second, closed]);
}

/// The lock is on its way to a queued task while the descriptor is closed: the task has it or is thrown out, and the
/// reference that comes with it is given back.
fn close_against_hand_over() {
    let fd = Fd::new();
    assert!(fd.lock());
    let (unlocked, queued, closed) = race3(&fd, Fd::unlock, Fd::read, Fd::close);
    assert_once([unlocked, queued, closed]);
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
    assert_eq!(race(&fd, Fd::unlock, Fd::ask_and_leave), (false, false));
    fd.assert_free();
}

/// As above with another who comes to wait: it has the lock in the end.
fn leave_passes_the_lock_on() {
    let fd = Fd::new();
    assert!(fd.lock());
    assert_eq!(race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::read), (false, false, false));
    fd.assert_free();
}

/// A queued task leaves while the descriptor is closed and the holder hands over: the number is closed, once.
fn leave_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    let (unlocked, left, closed) = race3(&fd, Fd::unlock, Fd::ask_and_leave, Fd::close);
    assert_once([unlocked, left, closed]);
}

/// A task that polls is told when the lock is free.
fn hail_against_unlock() {
    let fd = Fd::new();
    assert!(fd.lock());
    assert_eq!(race(&fd, Fd::unlock, Fd::poll), (false, false));
    fd.assert_free();
}

/// As above with another in the queue, who is handed the lock and gives it back.
fn hail_beside_queued() {
    let fd = Fd::new();
    assert!(fd.lock());
    assert_eq!(race3(&fd, Fd::unlock, Fd::poll, Fd::read), (false, false, false));
    fd.assert_free();
}

/// Two that poll share one place in the queue.
fn two_hail() {
    let fd = Fd::new();
    assert!(fd.lock());
    assert_eq!(race3(&fd, Fd::unlock, Fd::poll, Fd::poll), (false, false, false));
    fd.assert_free();
}

/// One that is queued leaves meanwhile.
fn hail_against_leave() {
    let fd = Fd::new();
    assert!(fd.lock());
    assert_eq!(race3(&fd, Fd::unlock, Fd::poll, Fd::ask_and_leave), (false, false, false));
    fd.assert_free();
}

/// The descriptor is closed meanwhile.
fn hail_against_close() {
    let fd = Fd::new();
    assert!(fd.lock());
    let (unlocked, polled, closed) = race3(&fd, Fd::unlock, Fd::poll, Fd::close);
    assert_once([unlocked, polled, closed]);
}

/// `close().await` returns after the number was closed by somebody else, and it does return.
fn close_against_last_reference() {
    let fd = Fd::new();
    assert!(fd.word.incref());
    let close = |fd: &Fd| {
        if !fd.close() {
            let mut closed = fd.closed.0.lock().expect("no model panics under the lock");
            while !*closed {
                closed = fd.closed.1.wait(closed).expect("no model panics under the lock");
            }
        }
        // Another may have the number by now, for something else.
        fd.number.set(());
    };
    let user = |fd: &Fd| {
        fd.number.get();
        if fd.close_number(fd.word.decref()) {
            *fd.closed.0.lock().expect("no model panics under the lock") = true;
            fd.closed.1.notify_one();
        }
    };
    race(&fd, close, user);
}

fn assert_once<const N: usize>(closed: [bool; N]) {
    let times = closed.iter().filter(|&&closed| closed).count();
    assert!(times == 1, "the number was closed {times} times");
}
