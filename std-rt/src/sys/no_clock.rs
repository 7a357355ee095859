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
    known_instant().0.elapsed().as_nanos() as u64
}

/// When it was first asked.
pub fn known_instant() -> (Instant, u64) {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    (*FIRST.get_or_init(Instant::now), 0)
}

/// How far, in nanoseconds, it may be behind: not at all.
pub fn coarse_lag() -> u64 {
    0
}
