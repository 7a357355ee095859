//! The break of a kqueue as a filter of its own (`EVFILT_USER`): Darwin, FreeBSD, DragonFly.
//! [`break_pipe.rs`](../break_pipe.rs) is for the others.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, UserDefinedFlags, UserFlags};
use rustix::io::retry_on_intr;

use super::backend::{BREAK, change, udata};
use super::{Call, door};

/// Nothing but a filter of the kqueue, which gives it to one waiter and forgets it then (`EV_CLEAR`).
#[derive(Debug)]
pub(super) struct Break;

impl Break {
    pub(super) fn new(kqueue: BorrowedFd<'_>) -> io::Result<Self> {
        retry_on_intr(|| door::ask(Call::PollerOpen, kqueue))?;
        change(kqueue, &[filter(EventFlags::ADD | EventFlags::CLEAR, UserFlags::NOINPUT)])?;
        Ok(Break)
    }

    /// Ends a wait.
    pub(super) fn trigger(&self, kqueue: BorrowedFd<'_>) -> io::Result<()> {
        retry_on_intr(|| door::ask(Call::Break, kqueue))?;
        Ok(change(kqueue, &[filter(EventFlags::empty(), UserFlags::TRIGGER)])?)
    }

    /// In the place of a descriptor whose bytes would end a wait: a kqueue takes none, so that what the door holds back
    /// comes with the next event.
    pub(super) fn writer<'a>(&'a self, kqueue: BorrowedFd<'a>) -> BorrowedFd<'a> {
        kqueue
    }

    /// A wait was given the break. True if it is consumed; one that does not block gives it back.
    pub(super) fn seen(&self, kqueue: BorrowedFd<'_>, blocking: bool) -> io::Result<bool> {
        if blocking { Ok(true) } else { self.trigger(kqueue).map(|()| false) }
    }
}

fn filter(flags: EventFlags, user: UserFlags) -> Event {
    let user = EventFilter::User { ident: 0, flags: user, user_flags: UserDefinedFlags::new(0) };
    Event::new(user, flags, udata(BREAK))
}
