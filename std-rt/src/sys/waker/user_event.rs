//! The waker of a kqueue as a user filter (`EVFILT_USER`): Apple systems, FreeBSD, DragonFly.
//! [`kqueue_pipe.rs`](../kqueue_pipe.rs) is for the other systems.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, UserDefinedFlags, UserFlags};

use crate::sys::Call;
use crate::sys::backend::{BREAK, change, udata};
use crate::sys::call::retry;

/// A filter of the kqueue, which the kernel reports to one wait and then clears (`EV_CLEAR`).
#[derive(Debug)]
pub struct Waker;

impl Waker {
    /// Adds the filter to a kqueue.
    pub fn new(kqueue: BorrowedFd<'_>) -> io::Result<Self> {
        retry(Call::PollerOpen, kqueue, || Ok(()))?;
        change(kqueue, &[filter(EventFlags::ADD | EventFlags::CLEAR, UserFlags::NOINPUT)])?;
        Ok(Waker)
    }

    /// Ends a wait.
    pub fn wake(&self, kqueue: BorrowedFd<'_>) -> io::Result<()> {
        retry(Call::Break, kqueue, || Ok(()))?;
        Ok(change(kqueue, &[filter(EventFlags::empty(), UserFlags::TRIGGER)])?)
    }

    /// Returns the kqueue where a descriptor is required whose bytes would end a wait. A kqueue accepts no
    /// bytes, so an event that fault injection holds back arrives with the next one.
    pub fn writer<'a>(&'a self, kqueue: BorrowedFd<'a>) -> BorrowedFd<'a> {
        kqueue
    }

    /// Consumes a break that a wait has seen: the kernel has cleared the filter.
    pub fn consume(&self) -> io::Result<bool> {
        Ok(true)
    }
}

fn filter(flags: EventFlags, user: UserFlags) -> Event {
    let user = EventFilter::User { ident: 0, flags: user, user_flags: UserDefinedFlags::new(0) };
    Event::new(user, flags, udata(BREAK))
}
