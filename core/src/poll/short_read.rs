//! The short-read hint: whether the last read came back with less than it asked for.
//!
//! On a byte stream that means that the kernel's queue was empty, so the next read may wait at once. Without the hint it
//! first pays a system call that returns `EAGAIN`, as Go does on every message.
//!
//! | last read | hint | the next read |
//! |---|---|---|
//! | filled the buffer, failed, or never was | clear | resets the semaphore, makes the system call, waits on `EAGAIN` |
//! | came back short | set | clears the hint and waits, with neither reset nor call: a readiness that came since stays |
//!
//! The hint is wrong when something that sends no further edge was queued behind the bytes: the end of the stream, an
//! error, an urgent mark. The poller has published those
//! ([`Info::may_have_more`](crate::poll::info::Info::may_have_more)), so the reader asks there first.

use crate::sync::{AtomicUsize, Ordering, const_fn};

/// The short-read hint of one descriptor. Touched only under the descriptor's read lock (INV-2).
#[derive(Debug)]
pub struct ShortReadHint {
    word: AtomicUsize,
}

impl Default for ShortReadHint {
    fn default() -> Self {
        Self::new()
    }
}

impl ShortReadHint {
    const_fn! {
        /// Creates a hint that is clear.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(0) }
        }
    }

    /// Sets whether a system call came back short. The call must have begun after a reset.
    #[inline]
    pub fn set(&self, short: bool) {
        // alone: the read lock orders one reader after another
        self.word.store(usize::from(short), Ordering::Relaxed);
    }

    /// Returns the hint and clears it.
    #[inline]
    pub fn take(&self) -> bool {
        // alone: the read lock orders one reader after another
        let short = self.word.load(Ordering::Relaxed) != 0;
        if short {
            self.set(false);
        }
        short
    }
}
