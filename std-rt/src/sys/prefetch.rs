//! A prefetch hint for the processor. With thousands of connections cache misses are most of a runtime's own
//! cost.

#![expect(unsafe_code, reason = "prefetching is an intrinsic of the processor")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// The bytes of one cache line.
const LINE: usize = 64;

/// Prefetches `lines` cache lines from `place` on. Any address is allowed, because it is a hint and not an
/// access.
#[inline(always)]
pub fn prefetch<T>(place: *const T, lines: usize) {
    for line in 0..lines {
        let place = place.cast::<i8>().wrapping_add(line * LINE);
        // SAFETY: a prefetch neither reads nor writes memory that the program can observe, and never faults;
        // so any address will do (INV-10). SSE, which the instruction belongs to, is part of every x86-64
        // processor.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place) };
    }
}
