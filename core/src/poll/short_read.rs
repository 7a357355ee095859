//! The short-read hint: whether the last read returned fewer bytes than it asked for.
//!
//! On a byte stream such a read has emptied the kernel's queue, so the next read may wait at once. Without
//! the hint it first makes a system call that returns `EAGAIN`, as Go does on every message.
//!
//! | last read | hint | the next read |
//! |---|---|---|
//! | filled the buffer, failed, or was never made | clear | resets the semaphore, makes the system call, waits on `EAGAIN` |
//! | was short | set | clears the hint and waits, with neither reset nor call; a readiness that came since stays |
//!
//! The hint is wrong if something that causes no further event is queued behind the bytes: the end of the
//! stream, an error, an urgent mark. The poller has published these, so the reader first checks
//! [`Info::may_have_more`](crate::poll::info::Info::may_have_more).

use crate::sync::{AtomicUsize, Ordering, const_fn};

/// The short-read hint of one descriptor. Used only under the descriptor's read lock (INV-2).
#[derive(Debug, Default)]
pub struct ShortReadHint {
    word: AtomicUsize,
}

impl ShortReadHint {
    const_fn! {
        /// Creates a hint that is clear.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(0) }
        }
    }

    /// Records whether a system call was a short read. The call must have begun after a reset.
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
