//! The middle of an operation, under its direction's lock: call, wait, again; and what that costs the turn's budget.
//!
//! | at the first poll | it costs |
//! |---|---|
//! | the call succeeds or fails | one unit, taken before |
//! | the call finds nothing, and it parks | nothing: what was taken is given back |
//! | the hint of the short read spares the call, and it parks | nothing, and the budget is not asked |
//! | the hint spares the call, and a readiness has come since | one unit, taken before the call that follows |
//! | the call gets on with a part (`write_all`) | one unit for each further call; in between others may have a turn |

use std::io;
use std::task::{Context, Poll, ready};

use netpoll_core::PollErr;

use super::{Direction, Op, OpState};
use crate::coop;
use crate::error;
use crate::fd::Fd;
use crate::sys::FdOwner;

impl<T, W: Direction, F: FnMut(&Fd<S>) -> io::Result<Option<T>>, S: FdOwner> Op<'_, W, F, S> {
    /// Calls and waits in turn, under the lock. `fresh`: this is its first poll, so it counts against the budget
    /// if it is ready without a wait.
    #[inline]
    pub(super) fn attempt(&mut self, cx: &mut Context<'_>, fresh: bool) -> Poll<io::Result<T>> {
        let desc = self.fd.desc();
        let parked = self.state == OpState::Parked;
        let mut wait = parked || self.take_short_read_hint(desc);
        let mut taken = fresh && !wait;
        if taken && coop::poll_proceed(cx).is_pending() {
            return self.refused();
        }
        let mut late = false;
        loop {
            if wait {
                match self.wait(desc, cx) {
                    Poll::Pending if taken => return self.pending(),
                    // It was parked until its deadline had passed. What arrived in time may be there all the same, unseen so
                    // far: the whole process may have been stopped until after the deadline. So it calls once more.
                    Poll::Ready(Err(error)) if parked && error.kind() == io::ErrorKind::TimedOut => {
                        late = true
                    }
                    waited => ready!(waited)?,
                }
                // Ready at once, in place of a call that was skipped. The hint has been taken, so that the next poll calls.
                if fresh && !std::mem::replace(&mut taken, true) && coop::poll_proceed(cx).is_pending() {
                    return self.refused();
                }
            } else {
                self.prepare(desc)?
            }
            match (self.call)(self.fd) {
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ if late => return Poll::Ready(Err(error::refused(PollErr::Timeout))),
                // One more call costs one more unit. Between its parts it keeps the lock.
                Ok(None) if coop::spend(1) => return self.goes_on(cx),
                Ok(None) => wait = false,
                Err(_) => wait = true,
            }
        }
    }

    /// What it has taken from the budget was for nothing.
    #[cold]
    fn pending(&self) -> Poll<io::Result<T>> {
        coop::refund();
        Poll::Pending
    }

    /// Comes again in its task's next turn, to make its call.
    #[cold]
    fn goes_on(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
