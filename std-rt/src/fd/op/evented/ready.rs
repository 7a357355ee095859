//! Waits for conditions, and calls after them.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use netpoll_core::Mode;

use super::waiter::{Entries, Waiter};
use super::{Evented, ReadyEvent, is_would_block};
use crate::coop;
use crate::fd::ReadySet;

impl<T: AsFd> Evented<T> {
    /// Waits until one of the conditions of `interest` holds, and returns those that do. The end of a direction ends a wait
    /// for it. Nothing is cleared: the next wait is ready at once, unless a call has found nothing.
    ///
    /// As tokio's it is counted against the task's budget and never refused, so a loop of it and of attempts that succeed keeps
    /// its worker; [`take_turn`](crate::task::take_turn) in the loop gives others their turns.
    ///
    /// It is a hint, and a call may still find nothing. The set is empty if another task has cleared it since the event.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if its runtime has ended ([`runtime_ended`](crate::runtime_ended)); `Unsupported` if the kernel
    /// reports an error and nothing else of a descriptor that is no socket, whose reads find nothing.
    pub fn ready(&self, interest: ReadySet) -> Ready<'_, T> {
        Ready { evented: self, interest: interest.with_ends(), entries: Entries::default() }
    }

    /// Waits as [`ready`](Self::ready) does. The future can go to another thread also if the value cannot be shared.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ready`](Self::ready).
    pub async fn ready_mut(&mut self, interest: ReadySet) -> io::Result<ReadyEvent> {
        let mut ready =
            ReadyMut { evented: self, interest: interest.with_ends(), entries: Entries::default() };
        poll_fn(|cx| ready.poll(cx)).await
    }

    /// Polls for input, as [`ready`](Self::ready) waits. The last task that polls is woken.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ready`](Self::ready).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<ReadyEvent>> {
        self.poll_direction(Mode::Read, ReadySet::READABLE, cx)
    }

    /// Polls for space to write, as [`ready`](Self::ready) waits. The last task that polls is woken.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ready`](Self::ready).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<ReadyEvent>> {
        self.poll_direction(Mode::Write, ReadySet::WRITABLE, cx)
    }

    fn poll_direction(
        &self,
        mode: Mode,
        condition: ReadySet,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<ReadyEvent>> {
        ready!(coop::poll_proceed(cx));
        let interest = condition.with_ends();
        let polled = self.poll_event(mode, interest, &mut Waiter::slot(), cx);
        if polled.is_pending() {
            coop::refund();
        }
        polled.map_ok(|()| self.seen(interest))
    }

    /// Calls `call` when one of the conditions of `interest` holds, until it returns something other than `WouldBlock`,
    /// which clears the conditions.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future did nothing: `call` has returned nothing but `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Returns the error of `call`, and the errors of [`ready`](Self::ready).
    pub async fn async_io<R>(
        &self,
        interest: ReadySet,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let mut asked = interest.with_ends();
        coop::proceed().await;
        loop {
            let event = Ready { evented: self, interest: asked, entries: Entries::default() }.await?;
            let called = call();
            if !is_would_block(&called) {
                return called;
            }
            self.clear(event);
            // The end of a direction stays. A call that finds nothing nevertheless waits for an event.
            asked = interest;
            coop::proceed().await;
        }
    }
}

/// The future of [`Evented::ready`].
#[must_use = "futures do nothing unless they are awaited"]
#[derive(Debug)]
pub struct Ready<'a, T: AsFd> {
    evented: &'a Evented<T>,
    interest: ReadySet,
    entries: Entries,
}

// No field is pinned.
impl<T: AsFd> Unpin for Ready<'_, T> {}

impl<T: AsFd> Ready<'_, T> {
    fn poll_directions(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ReadyEvent>> {
        let (evented, interest) = (self.evented, self.interest);
        evented.check()?;
        if interest.is_empty() {
            return Poll::Ready(Ok(evented.seen(interest)));
        }
        let mut waiter = Waiter::Own(&mut self.entries);
        for mode in evented.directions(interest) {
            if let Poll::Ready(result) = evented.poll_event(mode, interest, &mut waiter, cx) {
                // The other direction may have an event too.
                return Poll::Ready(result.map(|()| evented.now(interest)));
            }
        }
        Poll::Pending
    }
}

impl<T: AsFd> Future for Ready<'_, T> {
    type Output = io::Result<ReadyEvent>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.poll_directions(cx);
        if polled.is_ready() {
            // It is counted, and not refused: between two calls a task may look at the readiness without a wait.
            coop::spend(1);
            let this = &mut *self;
            this.entries.leave(&this.evented.fd);
        }
        polled
    }
}

/// The wait of [`Evented::ready_mut`]. Between two polls it has no shared borrow of the value.
struct ReadyMut<'a, T: AsFd> {
    evented: &'a mut Evented<T>,
    interest: ReadySet,
    entries: Entries,
}

impl<T: AsFd> ReadyMut<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ReadyEvent>> {
        let (interest, entries) = (self.interest, mem::take(&mut self.entries));
        let mut ready = Ready { evented: self.evented, interest, entries };
        let polled = Pin::new(&mut ready).poll(cx);
        self.entries = mem::take(&mut ready.entries);
        polled
    }
}

impl<T: AsFd> Drop for ReadyMut<'_, T> {
    fn drop(&mut self) {
        self.entries.leave(&self.evented.fd);
    }
}

impl<T: AsFd> Drop for Ready<'_, T> {
    fn drop(&mut self) {
        self.entries.leave(&self.evented.fd);
    }
}
