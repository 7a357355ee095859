//! Deadlines of a descriptor: they stay in force until the next. Most that are set only move one later: that comes first.

use std::io;
use std::time::{Duration, Instant};

use netpoll_core::{Modes, When};

use super::Fd;
use crate::error;
use crate::netpoll::clock;
use crate::sys::FdOwner;

impl<S: FdOwner> Fd<S> {
    /// Puts a deadline in force for the named directions; `None` clears it.
    ///
    /// # Errors
    ///
    /// Closed, with nothing armed.
    #[inline(always)]
    pub fn set_deadline(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        match self.netpoll().deadline_at(deadline.map(clock::tick)) {
            When::At(at) if self.registration().postpone(modes, at) => Ok(()),
            when => self.change_deadline(modes, when),
        }
    }

    /// Puts a deadline in force that is so far away from now, or a few milliseconds more if that is a second or more.
    ///
    /// # Errors
    ///
    /// Closed, with nothing armed.
    #[inline(always)]
    pub fn set_deadline_after(&self, modes: Modes, duration: Duration) -> io::Result<()> {
        match self.netpoll().deadline_long_after(duration) {
            Some(When::At(at)) if self.registration().postpone(modes, at) => Ok(()),
            when => self.put_deadline_after(modes, duration, when),
        }
    }

    #[inline(never)]
    fn put_deadline_after(&self, modes: Modes, duration: Duration, when: Option<When>) -> io::Result<()> {
        match when.unwrap_or_else(|| self.netpoll().deadline_after(duration)) {
            When::At(at) if self.registration().postpone(modes, at) => Ok(()),
            when => self.change_deadline(modes, when),
        }
    }

    /// Any change but that of a deadline that only moves later.
    #[inline(never)]
    fn change_deadline(&self, modes: Modes, when: When) -> io::Result<()> {
        self.netpoll().set_deadline(self.registration(), modes, when).map_err(error::refused)?;
        self.alert(modes);
        Ok(())
    }
}
