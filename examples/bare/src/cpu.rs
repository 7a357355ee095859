//! The processor: its interrupt mask, its sleep, the first instructions, faults and panics.
//!
//! | file | content |
//! |---|---|
//! | `cpu/arm` | ARMv6-M and ARMv7-M: vector table, start, mask, the exit of the emulator |
//! | `cpu/riscv` | RV32IMAC: start, trap entry, mask |

#[cfg_attr(target_arch = "riscv32", path = "cpu/riscv.rs")]
#[cfg_attr(not(target_arch = "riscv32"), path = "cpu/arm.rs")]
mod arch;

use core::cell::RefCell;
use core::panic::PanicInfo;

pub use arch::exit;

use crate::board;

/// The word that [`stack_used`] looks for. The first instructions fill the stack with it.
const UNUSED: u32 = 0xA5A5_A5A5;

// SAFETY: The linker script defines both symbols. They have an address and no content; `stack_used` alone reads from there.
unsafe extern "C" {
    static bss_end: u32;
    static stack_top: u32;
}

/// Masks interrupts. Returns whether they were masked before, for [`restore`].
#[inline]
pub fn mask() -> bool {
    arch::mask()
}

/// Ends a [`mask`] that returned `masked`.
#[inline]
pub fn restore(masked: bool) {
    if !masked {
        arch::unmask();
    }
}

/// Runs `work` with interrupts masked, and restores the mask.
#[inline]
pub fn masked<R>(work: impl FnOnce() -> R) -> R {
    let before = mask();
    let result = work();
    restore(before);
    result
}

/// Sleeps until an interrupt comes, unless `awake` returns true.
///
/// The check and the sleep are one step: with interrupts masked no handler can set a ready bit in between. A pending
/// interrupt ends the sleep even while it is masked, and its handler runs when the mask is restored.
pub fn sleep_unless(awake: impl FnOnce() -> bool) {
    masked(|| {
        if !awake() {
            arch::wait_for_interrupt();
        }
    });
}

/// Returns the number of bytes that the stack has used at most since the start.
pub fn stack_used() -> usize {
    let (mut at, top) = (&raw const bss_end, &raw const stack_top);
    let size = top.addr() - at.addr();
    for unused in (0..size).step_by(4) {
        // SAFETY: The address is between the statics and the end of RAM, aligned, and was written before `main`. It may be in
        // a live frame, which a volatile read of this only thread leaves as it is.
        if unsafe { at.read_volatile() } != UNUSED {
            return size - unused;
        }
        at = at.wrapping_add(1);
    }
    0
}

/// Handles a fault, and an interrupt without a handler.
#[unsafe(no_mangle)]
extern "C" fn unhandled() {
    board::print(format_args!("a fault, or an interrupt without a handler"));
    exit(false)
}

/// A value that tasks and handlers access with interrupts masked.
#[derive(Debug)]
pub struct Masked<T>(RefCell<T>);

// SAFETY: The cell is accessed only with interrupts masked, so by one context at a time (INV-101).
unsafe impl<T: Send> Sync for Masked<T> {}

impl<T> Masked<T> {
    /// Creates a cell with a value.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Runs `work` on the value.
    ///
    /// # Panics
    ///
    /// Panics if `work` calls this method of the same cell.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        masked(|| work(&mut self.0.borrow_mut()))
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::print(format_args!("{info}"));
    exit(false)
}
