//! The allocator of the programs that count allocations.
//!
//! INV-201: the duties that [`GlobalAlloc`] puts on a caller hold for a call that is passed on unchanged.

#![expect(unsafe_code, reason = "implements a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

use netpoll_core::sync::Counter;

/// The system's allocator, which counts from the first [`count`] on.
#[derive(Debug)]
pub struct Counting;

static COUNT: OnceLock<Counter> = OnceLock::new();

/// The bytes that were allocated and freed.
static BYTES: OnceLock<[Counter; 2]> = OnceLock::new();

fn moved(allocated: usize, freed: usize) {
    if let Some([all, gone]) = BYTES.get() {
        all.add(allocated);
        gone.add(freed);
    }
}

// SAFETY: INV-201, every call goes to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: INV-201, asked of the caller.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(count) = COUNT.get() {
            count.inc();
        }
        moved(layout.size(), 0);
        // SAFETY: INV-201.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: INV-201, asked of the caller.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        moved(0, layout.size());
        // SAFETY: INV-201.
        unsafe { System.dealloc(pointer, layout) }
    }

    // SAFETY: INV-201, asked of the caller.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if let Some(count) = COUNT.get() {
            count.inc();
        }
        moved(size, layout.size());
        // SAFETY: INV-201.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the number of allocations of the process so far.
pub fn count() -> usize {
    COUNT.get_or_init(Counter::new).get()
}

/// Returns the number of bytes that are allocated beyond those at the first call, or a negative number.
pub fn bytes() -> isize {
    let [allocated, freed] = BYTES.get_or_init(Default::default);
    // A byte is counted first where it was allocated.
    let freed = freed.get();
    allocated.get().wrapping_sub(freed) as isize
}

/// The number of repetitions that [`allocations`] counts.
pub const ROUNDS: usize = 200;

/// Returns the allocations of [`ROUNDS`] repetitions in the steady state: the fewest of some attempts, since a worker
/// allocates what it needs when it polls first, whenever that is.
pub async fn allocations(mut act: impl AsyncFnMut()) -> usize {
    let mut fewest = usize::MAX;
    for _ in 0..10 {
        let before = count();
        for _ in 0..ROUNDS {
            act().await;
        }
        fewest = fewest.min(count() - before);
    }
    fewest
}
