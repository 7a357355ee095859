//! Telling the processor which memory is wanted soon, so that it is there by then. With thousands of connections that is
//! most of what a runtime adds to the kernel's own work.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Bytes that come together.
const LINE: usize = 64;

/// `lines` lines from `place` on are wanted soon. Any address will do: it is a hint, not an access.
#[inline(always)]
pub fn prefetch<T>(place: *const T, lines: usize) {
    for line in 0..lines {
        let place = place.cast::<i8>().wrapping_add(line * LINE);
        // SAFETY: INV-10: the address need not be one, for nothing is read from it that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place) };
    }
}
