//! The break flag of a poller.
//!
//! | flag | breaker | poller, back from a blocking poll |
//! |---|---|---|
//! | clear | sets it and writes to the break descriptor | - |
//! | set | does nothing, as a write is under way | drains the descriptor, then clears it, then looks for work |
//!
//! Both sides are a `swap` ([`Flag`]). A compare-exchange that fails writes nothing, so a poller that then
//! clears the flag would not see the work that was published before it: a lost wakeup. (Go may use one, since
//! its atomics are sequentially consistent.)

use crate::sync::{Flag, const_fn};

/// The break flag, set while a break is on its way to the poller (Go's `netpollWakeSig`).
#[derive(Debug, Default)]
pub struct BreakFlag {
    flag: Flag,
}

impl BreakFlag {
    const_fn! {
        /// Creates a flag that is clear.
        pub const fn new() -> Self {
            Self { flag: Flag::new() }
        }
    }

    /// Requests a break. Returns whether the caller must write to the break descriptor.
    ///
    /// # Memory ordering
    ///
    /// Releases the caller's writes to the poller that clears the flag, also if a write was under way
    /// already.
    #[inline]
    pub fn set(&self) -> bool {
        self.flag.set()
    }

    /// Returns whether a break is requested that the poller has not taken yet.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.flag.is_set()
    }

    /// Clears the flag, after the poller has drained the break descriptor. Returns whether a break was
    /// requested.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of every breaker before its [`BreakFlag::set`].
    #[inline]
    pub fn clear(&self) -> bool {
        self.flag.clear()
    }
}
