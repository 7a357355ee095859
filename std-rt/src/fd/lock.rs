//! The lock of one direction as a future, and what holds it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use netpoll_core::fd_mutex::Lock;
use netpoll_core::poll_key::Mode;

use super::Fd;
use super::queue::{Enqueue, LockQueue, Look, Ticket, Withdraw};
use crate::error;

/// Nothing foreign runs under the queue's lock, so a panic cannot leave it in the middle of something.
pub(super) fn locked(queue: &Mutex<LockQueue<Waker>>) -> MutexGuard<'_, LockQueue<Waker>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task that wants a direction; its place in the queue is given up when it is dropped, and a lock that was handed to
/// it in the meantime goes to the next.
pub(super) struct Locking<'a> {
    fd: &'a Fd,
    mode: Mode,
    ticket: Option<Ticket>,
}

impl<'a> Locking<'a> {
    pub(super) fn new(fd: &'a Fd, mode: Mode) -> Self {
        Self { fd, mode, ticket: None }
    }

    fn guard(&mut self) -> Poll<io::Result<Guard<'a>>> {
        self.ticket = None;
        Poll::Ready(Ok(Guard { fd: self.fd, mode: self.mode }))
    }

    fn closed(&mut self) -> Poll<io::Result<Guard<'a>>> {
        self.ticket = None;
        Poll::Ready(Err(error::closed()))
    }

    /// Another task holds the lock: a place in the queue.
    fn enqueue(&mut self, waker: &Waker) -> Poll<io::Result<Guard<'a>>> {
        let enqueued = locked(self.fd.queue(self.mode)).enqueue(waker.clone());
        match enqueued {
            Enqueue::Granted(_) => self.guard(),
            Enqueue::Closed(_) => self.closed(),
            Enqueue::Waiting(ticket) => {
                self.ticket = Some(ticket);
                Poll::Pending
            }
        }
    }
}

impl<'a> Future for Locking<'a> {
    type Output = io::Result<Guard<'a>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(ticket) = &this.ticket else {
            return match this.fd.mutex.lock(this.mode) {
                Lock::Locked => this.guard(),
                Lock::Closed => this.closed(),
                Lock::Queued => this.enqueue(cx.waker()),
            };
        };
        let mut queue = locked(this.fd.queue(this.mode));
        match queue.look(ticket) {
            Look::Waiting(waker) => {
                let old =
                    (!waker.will_wake(cx.waker())).then(|| std::mem::replace(waker, cx.waker().clone()));
                drop(queue);
                drop(old);
                Poll::Pending
            }
            Look::Granted => {
                drop(queue);
                this.guard()
            }
            Look::Closed => {
                drop(queue);
                this.closed()
            }
        }
    }
}

impl Drop for Locking<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let withdrawn = locked(self.fd.queue(self.mode)).withdraw(ticket, || self.fd.mutex.leave(self.mode));
        match withdrawn {
            Withdraw::Unlock => self.fd.unlock(self.mode),
            Withdraw::Done(waker) => drop(waker),
        }
    }
}

/// Holds a direction, and a reference of the descriptor with it.
pub(super) struct Guard<'a> {
    fd: &'a Fd,
    mode: Mode,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.fd.unlock(self.mode);
    }
}
