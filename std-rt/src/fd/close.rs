//! The end of a descriptor: `close`, and the drop of its owner.
//!
//! The number is closed by the thread that makes the fdMutex's word final ([`FdMutex`](netpoll_core::poll::fd_mutex)). An
//! operation holds a reference only while it is polled, and its lock between two polls:
//!
//! | when `close` is called there are | the number is closed by | `close` returns |
//! |---|---|---|
//! | no operations | `close`, at once | at its first poll |
//! | operations that wait, and that are polled or dropped soon | the last of them | at its next poll |
//! | operations that wait, whose futures are neither polled nor dropped | `close`, at its second poll | at its second poll |
//! | calls on other threads | the last such thread | once the number is closed |
//! | the same, and the future of `close` is dropped | its drop, or the last such thread | - |
//!
//! The first poll of `close` wakes all operations that wait, so that they can release what they hold in their own context.
//! An operation that is polled or dropped after the number was closed finds that out and makes no call.

#![expect(unsafe_code, reason = "the last reference closes the descriptor")]

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::Poll;

use netpoll_core::poll::fd_mutex::{Close, WaitList};

use super::{Extra, Fd};
use crate::error;
use crate::foreign;
use crate::netpoll::fd_limit;
use crate::sys::{FdOwner, SharedFd};

/// A `close` that waits. Dropping it ends the wait.
struct Closing<'a, S: FdOwner> {
    fd: &'a Fd<S>,
    waits_for_rest: bool,
}

impl<S: FdOwner> Closing<'_, S> {
    /// Waits for operations at rest no longer. Returns the result of close(2) if there was nothing else to wait for.
    fn abandon(&mut self) -> Option<io::Result<()>> {
        self.waits_for_rest = false;
        self.fd.mutex.abandon().then(|| self.fd.destroy())
    }
}

impl<S: FdOwner> Drop for Closing<'_, S> {
    fn drop(&mut self) {
        if self.waits_for_rest {
            // The future that would have returned the error is being dropped.
            let _ = self.abandon();
        }
    }
}

impl<S: FdOwner> Fd<S> {
    /// Closes the descriptor: every operation on it fails from now on. Returns once the number is closed.
    ///
    /// It waits for calls that run on other threads, but not for an operation that waits if its future is neither polled nor
    /// dropped.
    ///
    /// Dropped: the descriptor is closed nevertheless.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed already, and the error of close(2) if this task made that call.
    pub async fn close(&self) -> io::Result<()> {
        let in_use = self.close_and_evict().ok_or_else(error::closed)?;
        // Made before this reference goes: the thread that makes the word final must find it.
        let extra = in_use.then(|| self.extra());
        if self.mutex.decref() {
            return self.destroy();
        }
        let Some(extra) = extra else { return Ok(()) };
        self.check_owner_process()?;
        let mut closing = Closing { fd: self, waits_for_rest: true };
        yield_to_woken(extra).await;
        if let Some(closed) = closing.abandon() {
            return closed;
        }
        poll_fn(|cx| {
            extra.close_waker.register(cx.waker());
            if self.closed.is_set() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Closes the word with a reference, and wakes every task that is parked on the descriptor or waits for one of its locks.
    /// Returns whether other threads hold references or locks, or `None` if the word was closed already.
    fn close_and_evict(&self) -> Option<bool> {
        let (in_use, evicted) = match self.mutex.incref_and_close() {
            Close::Closed { in_use } => (in_use, None),
            Close::Already => return None,
            Close::Contended => {
                // In a forked child a thread of the parent may hold the list, and the tasks in it are the parent's.
                let closed = if self.netpoll().is_owner_process() {
                    self.mutex.close_and_evict(&mut self.waiters())
                } else {
                    self.mutex.close_and_evict(&mut WaitList::default())
                };
                let (in_use, evicted) = closed?;
                (in_use, Some(evicted))
            }
        };
        self.registration.evict();
        foreign::wake_all(evicted.into_iter().flatten());
        Some(in_use)
    }

    /// Deregisters the descriptor and closes its number, after the word was made final.
    pub(super) fn destroy(&self) -> io::Result<()> {
        self.registration.deregister(self.io.as_fd());
        // SAFETY: INV-7: the caller made the word of a closed fdMutex final, so no call uses the number any more, and
        // none will. A number borrowed with `pin_fd` is not closed here: the borrow ends before `end` closes it.
        let result = if self.is_borrowed() { Ok(()) } else { unsafe { self.io.close() } };
        self.closed.set();
        if let Some(extra) = self.extra.get() {
            extra.close_waker.wake();
        }
        fd_limit::notify_closed();
        result
    }

    /// Completes the close: wakes all tasks, deregisters the descriptor and closes its number, unless that was done.
    pub(super) fn end(&mut self) {
        // No borrow of this value is left, so neither is one of the number.
        let borrowed = self.end_borrow();
        if self.close_and_evict().is_some() {
            // The word is final now, unless the future of an operation was leaked. Such a future cannot be polled any more,
            // because it borrows this value, so its lock or reference protects no call.
            self.mutex.decref();
            // A drop cannot return the error of close(2).
            let _ = self.destroy();
        } else if !self.closed.is_set() {
            // The future of an operation was leaked, as above, and the future of a `close` as well.
            let _ = self.destroy();
        } else if borrowed {
            // SAFETY: INV-7: the word is closed, its last reference gone, and `destroy` left the number to us.
            let _ = unsafe { self.io.close() };
        }
    }
}

impl Fd<SharedFd> {
    /// Deregisters the descriptor as a drop does, and returns it instead of closing it.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed already.
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        self.mark_other_writers();
        self.close_and_evict().ok_or_else(error::closed)?;
        // As in `end`.
        self.mutex.decref();
        self.end_borrow();
        self.registration.deregister(self.io.as_fd());
        // `end` has nothing left to close.
        self.closed.set();
        // SAFETY: INV-7: the word is closed and `self` is not shared, so no call uses the number any more. The drop of `self`
        // does not close it: the word is closed, `closed` is set, and the borrow has ended.
        Ok(unsafe { self.io.release() })
    }
}

/// Yields once, so that the operations that were woken can release what they hold in their own context. Correctness does not
/// depend on whether they do.
async fn yield_to_woken(extra: &Extra) {
    let mut began = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut began, true) {
            return Poll::Ready(());
        }
        extra.close_waker.register(cx.waker());
        extra.close_waker.wake();
        Poll::Pending
    })
    .await;
}
