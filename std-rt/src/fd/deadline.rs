//! Deadlines of a descriptor: they stay in force until the next.

use std::io;
use std::time::{Duration, Instant};

use netpoll_core::poll_key::Modes;

use super::Fd;
use crate::error;
use crate::sys::Source;

impl<S: Source> Fd<S> {
    /// Puts a deadline in force for the named directions; `None` clears it.
    ///
    /// # Errors
    ///
    /// Closed, with nothing armed.
    pub fn set_deadline(&self, modes: Modes, deadline: Option<Instant>) -> io::Result<()> {
        self.netpoll().set_deadline(self.key, modes, deadline).map_err(error::refused)
    }

    /// Puts a deadline in force that is so far away from now.
    ///
    /// # Errors
    ///
    /// Closed, with nothing armed.
    pub fn set_deadline_after(&self, modes: Modes, duration: Duration) -> io::Result<()> {
        self.netpoll().set_deadline_after(self.key, modes, duration).map_err(error::refused)
    }
}
