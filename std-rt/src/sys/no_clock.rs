//! A system without a clock that is cheaper than the exact one: that one. [`clock.rs`](../clock.rs) is for Linux.

use std::sync::OnceLock;
use std::time::Instant;

/// The exact clock.
#[inline]
pub fn coarse_now() -> u64 {
    exact_now()
}

/// Nanoseconds since it was first asked.
pub fn exact_now() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// How far, in nanoseconds, it may be behind: not at all.
pub fn coarse_lag() -> u64 {
    0
}
