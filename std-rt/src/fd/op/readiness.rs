//! Waiting until a direction is worth a try, without a buffer.
//!
//! The kernel reports a change once. Bytes that lie there may have been reported long ago, and the report used up by an
//! operation that left them, so nobody may park before he knows that none are there:
//!
//! | hint "drained" | bytes | what [`Readiness`] does |
//! |---|---|---|
//! | set, and nothing else is known of the peer | none at the last read | parks without asking; a readiness that came since ends the wait at once |
//! | set, but the peer is gone or sent urgent data | unknown | looks, as without the hint |
//! | clear | there | a look at the descriptor ([`is_ready_for`]) finds them, however old their report |
//! | clear | none | the look finds none; it began after a reset, so what comes later makes a readiness: parks |
//!
//! Woken from a parking it returns without a second look: an event came. That is a hint, as everywhere; the bytes may
//! have been those of an earlier read.
//!
//! The readiness that ends the wait is consumed, and so is the hint. That takes nothing from the read that follows: it
//! makes its call before it waits. Dropped, it leaves a readiness that came and loses at most the hint, for one call
//! more.
//!
//! For writing there is no hint. It drops the remembered readiness first, unlike a write: here the look that follows
//! says the same and more.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Op, State, Way};
use crate::budget;
use crate::error;
use crate::fd::{Fd, Kind};
use crate::netpoll::PollDesc;
use crate::sys::{Source, is_ready_for};

impl<S: Source> Fd<S> {
    /// Waits until a call in this direction is worth a try. It holds the direction's lock meanwhile.
    ///
    /// Dropped: a readiness that came stays for the next operation.
    ///
    /// # Errors
    ///
    /// Closed, the deadline; `Unsupported` if the kernel reports an error alone on what is no socket.
    pub fn readiness(&self, way: impl Way) -> impl Future<Output = io::Result<()>> + Unpin {
        let state = State::Start;
        Readiness { op: Op { fd: self, way, state, empty: false, listens: true, call: () } }
    }
}

/// An operation whose call is a look.
struct Readiness<'a, W: Way, S: Source> {
    op: Op<'a, W, (), S>,
}

impl<W: Way, S: Source> Readiness<'_, W, S> {
    fn look(&self) -> io::Result<bool> {
        let (fd, mode) = (self.op.fd, self.op.mode());
        let news = fd.registration().reset(mode).map_err(error::refused)?;
        // The kernel says some things once, whoever asks first: then it was the poller.
        let is_news = matches!(fd.kind, Kind::Special(_)) && news;
        Ok(is_news || is_ready_for(fd.io.borrow(), fd.kind.watch(), mode)?)
    }

    /// Under the lock. `fresh`: this is its first poll, so it counts against the budget.
    fn wait(&mut self, desc: &PollDesc, cx: &mut Context<'_>, fresh: bool) -> Poll<io::Result<()>> {
        if fresh && budget::poll_take(cx).is_pending() {
            return self.op.refused();
        }
        let parked = matches!(self.op.state, State::Parked);
        if !parked && !self.op.skips_call(desc) && self.look()? {
            return Poll::Ready(Ok(()));
        }
        let waited = self.op.wait(desc, cx);
        match waited {
            Poll::Pending if fresh => budget::give_back(),
            // As a call does that was parked: what came in time is there, though the deadline has passed.
            Poll::Ready(Err(late)) if parked && late.kind() == io::ErrorKind::TimedOut => {
                let fd = self.op.fd;
                let there = is_ready_for(fd.io.borrow(), fd.kind.watch(), self.op.mode())?;
                return Poll::Ready(if there { Ok(()) } else { Err(late) });
            }
            _ => {}
        }
        waited
    }
}

impl<W: Way, S: Source> Future for Readiness<'_, W, S> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let fresh = matches!(this.op.state, State::Start);
        ready!(this.op.lock(cx))?;
        // An error alone is no readiness to read, but for a socket, whose next call says what it is.
        let desc = this.op.fd.desc();
        let result = ready!(this.wait(desc, cx, fresh)).and_then(|()| this.op.must_be_pollable(desc));
        this.op.state = State::Done;
        this.op.fd.unlock(this.op.mode());
        Poll::Ready(result)
    }
}
