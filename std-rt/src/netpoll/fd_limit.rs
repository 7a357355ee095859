//! The list of tasks that wait for a descriptor of this process to be closed: loops that accept and found none free.
//!
//! The table of descriptors belongs to the process, and so does this list: a connection that any runtime closes frees a
//! number for every listener. It misses the descriptors that other code closes, such as std's files, and memory that the
//! kernel frees after close(2) has returned, so a waiting task has a timer as well.
//!
//! # Why no waiter is missed
//!
//! | a waiter | a thread that closes |
//! |---|---|
//! | 1. [`FdWaiter::register`]: enters the list, sets the flag | 1. close(2) |
//! | 2. tries accept(2) again | 2. [`notify_closed`]: looks at the flag |
//!
//! Both calls pass through the kernel's lock of the table of descriptors. If the attempt was there first, then so was the
//! flag, and the closer sees it. If close was there first, the attempt finds the number.

use std::mem;
use std::ptr;
use std::task::Waker;

use netpoll_core::sync::Flag;

use crate::foreign;
use crate::sync::{Mutex, lock};
use crate::sys::PerProcess;

/// The list of this process; unset until a task waits for the first time.
static WAITERS: PerProcess<FdWaiters> = PerProcess::new();

#[derive(Debug, Default)]
struct FdWaiters {
    /// Set while the list is not empty.
    waiting: Flag,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    entered: Vec<(u64, Waker)>,
    /// The number of waiters that have ever entered.
    numbers: u64,
}

impl List {
    /// Returns the waker of a waiter that has not been notified yet.
    fn find(&mut self, number: Option<u64>) -> Option<&mut Waker> {
        let found = self.entered.iter_mut().find(|(entered, _)| Some(*entered) == number);
        found.map(|(_, waker)| waker)
    }
}

/// Wakes all waiters after a descriptor was closed: the first may have no use for the number, because it finds no connection
/// or is dropped. While there are none this costs few loads.
///
/// Do not call it for a descriptor that a waiter's own attempt has made: the waiter would wake itself, and spin.
#[inline]
pub fn notify_closed() {
    if let Some(waiters) = WAITERS.get_used()
        && waiters.waiting.is_set()
    {
        notify_waiters(waiters);
    }
}

#[cold]
fn notify_waiters(waiters: &FdWaiters) {
    let notified = {
        let mut list = lock(&waiters.list);
        waiters.waiting.clear();
        mem::take(&mut list.entered)
    };
    foreign::wake_all(notified.into_iter().map(|(_, waker)| waker));
}

/// A waiter, which is notified once, of the next descriptor that is closed. Dropping it unregisters it.
#[derive(Debug, Default)]
pub struct FdWaiter {
    /// The list that it has entered, and its number there.
    entered: Option<(&'static FdWaiters, u64)>,
}

impl FdWaiter {
    /// Registers the waiter, or replaces its waker. Returns true if it was not registered: a descriptor may have been closed
    /// before, so the caller makes one more attempt.
    pub fn register(&mut self, waker: &Waker) -> bool {
        let waiters = WAITERS.get();
        // In a forked child it has entered no list.
        let number = self.entered.filter(|(list, _)| ptr::eq(*list, waiters)).map(|(_, number)| number);
        if lock(&waiters.list).find(number).is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        // Cloned outside the lock; the waiter may be notified meanwhile.
        let waker = waker.clone();
        let mut list = lock(&waiters.list);
        if let Some(known) = list.find(number) {
            let replaced = mem::replace(known, waker);
            drop(list);
            drop(replaced);
            return false;
        }
        list.numbers += 1;
        let number = list.numbers;
        list.entered.push((number, waker));
        self.entered = Some((waiters, number));
        waiters.waiting.set();
        true
    }
}

impl Drop for FdWaiter {
    fn drop(&mut self) {
        // In a forked child the list is the parent's, and may be locked for ever.
        let is_ours = |list: &FdWaiters| WAITERS.get_used().is_some_and(|ours| ptr::eq(ours, list));
        let Some((waiters, number)) = self.entered.filter(|(list, _)| is_ours(list)) else { return };
        let mut list = lock(&waiters.list);
        let index = list.entered.iter().position(|(entered, _)| *entered == number);
        // Dropped outside the lock.
        let withdrawn = index.map(|index| list.entered.swap_remove(index));
        if list.entered.is_empty() {
            waiters.waiting.clear();
        }
        drop(list);
        drop(withdrawn);
    }
}
