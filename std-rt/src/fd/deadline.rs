//! The deadlines of a descriptor, which stay in force until the next.

use std::io;
use std::time::{Duration, Instant};

use netpoll_core::{Modes, PollErr};

use super::Fd;
use crate::error;
use crate::sys::FdOwner;

impl<S: FdOwner> Fd<S> {
    /// Puts a deadline in force for these directions; `None` clears it.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed; nothing is armed then.
    #[inline(always)]
    pub fn set_deadline(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        match self.registration.set_deadline(modes, deadline) {
            Ok(false) => Ok(()),
            set => self.deadline_set(modes, set),
        }
    }

    /// Puts a deadline in force that is `duration` from now, or a few milliseconds later if that is a second or more.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed; nothing is armed then.
    #[inline(always)]
    pub fn set_deadline_after(&self, modes: Modes, duration: Duration) -> io::Result<()> {
        match self.registration.set_deadline_after(modes, duration) {
            Ok(false) => Ok(()),
            set => self.deadline_set(modes, set),
        }
    }

    /// Lets the tasks that queue for a lock look at a deadline that did not only move later.
    #[inline(never)]
    fn deadline_set(&self, modes: Modes, set: Result<bool, PollErr>) -> io::Result<()> {
        set.map_err(error::refused)?;
        self.alert(modes);
        Ok(())
    }
}
