//! The deadlines of what reads, of what writes, and of what does both.

/// `set_read_deadline`.
macro_rules! read_deadline {
    ($type:ty) => {
        impl $type {
            /// Sets the instant from which everything that reads fails with `TimedOut`, even if something is there to be
            /// read. It stays in force until the next; `None` clears it. Moving it later is a store, so it can be set before
            /// each read; one that has passed counts at once.
            ///
            /// A read that waits when the deadline passes makes one last attempt. So it does not lose what came in time when
            /// the process itself is late, because it was stopped or its machine was. The `poll_*` functions and the traits
            /// do not: they keep nothing between two polls.
            ///
            /// # Errors
            ///
            /// Closed.
            #[inline]
            pub fn set_read_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                let set = self.fd.set_deadline(netpoll_core::Modes::READ, deadline);
                $crate::net::methods::cold_err(set, |error| self.error("set_read_deadline", error))
            }

            /// As [`set_read_deadline`](Self::set_read_deadline), `duration` from now: the cheaper one to call before each read.
            /// A duration of a second or more may become a few milliseconds longer, since it begins at a clock that is kept at
            /// the kernel's ticks; it is never shorter. One too long to be counted is 292 years.
            ///
            /// # Errors
            ///
            /// Closed.
            #[inline]
            pub fn set_read_deadline_after(&self, duration: std::time::Duration) -> std::io::Result<()> {
                let set = self.fd.set_deadline_after(netpoll_core::Modes::READ, duration);
                $crate::net::methods::cold_err(set, |error| self.error("set_read_deadline", error))
            }
        }
    };
}

/// `set_write_deadline`.
macro_rules! write_deadline {
    ($type:ty) => {
        impl $type {
            /// Sets the instant from which everything that writes fails with `TimedOut`, even if there is room. It stays in
            /// force until the next; `None` clears it. Moving it later is a store, so it can be set before each write; one
            /// that has passed counts at once. A write that waits then makes one last attempt, as a read does.
            ///
            /// # Errors
            ///
            /// Closed.
            #[inline]
            pub fn set_write_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                let set = self.fd.set_deadline(netpoll_core::Modes::WRITE, deadline);
                $crate::net::methods::cold_err(set, |error| self.error("set_write_deadline", error))
            }

            /// As [`set_write_deadline`](Self::set_write_deadline), `duration` from now: the cheaper one to call before each write.
            /// A duration of a second or more may become a few milliseconds longer, since it begins at a clock that is kept at
            /// the kernel's ticks; it is never shorter. One too long to be counted is 292 years.
            ///
            /// # Errors
            ///
            /// Closed.
            #[inline]
            pub fn set_write_deadline_after(&self, duration: std::time::Duration) -> std::io::Result<()> {
                let set = self.fd.set_deadline_after(netpoll_core::Modes::WRITE, duration);
                $crate::net::methods::cold_err(set, |error| self.error("set_write_deadline", error))
            }
        }
    };
}

/// `set_deadline`, for what both reads and writes.
macro_rules! both_deadlines {
    ($type:ty) => {
        impl $type {
            /// Sets the deadline of reads and of writes at once, to the same instant.
            ///
            /// # Errors
            ///
            /// Closed.
            pub fn set_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                let set = self.fd.set_deadline(netpoll_core::Modes::BOTH, deadline);
                set.map_err(|error| self.error("set_deadline", error))
            }
        }
    };
}

pub(crate) use {both_deadlines, read_deadline, write_deadline};
