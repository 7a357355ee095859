//! netpoll-core on a Cortex-M3 (LM3S6965, as QEMU emulates it), without an operating system.
//!
//! | file | content |
//! |---|---|
//! | [`runtime`] | **read this first**: tasks, wakers, deadlines and interrupts on the state words of netpoll-core |
//! | [`statics`] | statics that are written once, or accessed only with interrupts masked |
//! | [`board`] | the registers of the chip |
//! | [`start`] | vector table, first instructions, panics |
//! | `bin/uart` | a serial line that is read with a deadline, and a wait that is closed while it is parked |
//! | `bin/sweep` | a timer interrupt between any two instructions of the operations on the state words |
//!
//! `cargo xtask bare` builds and runs both in QEMU.
//!
//! # Invariants
//!
//! These hold beside those of netpoll-core:
//!
//! - **INV-101** There is one core: while interrupts are masked, or in a handler (all have the same priority, none
//!   interrupts another), nothing else runs.
//! - **INV-102** Register addresses are constants from the chip's data sheet, aligned, and name no memory of Rust's.
//! - **INV-103** A waker's pointer is a `&'static` ready bit.

#![no_std]

pub mod board;
pub mod runtime;
pub mod start;
pub mod statics;

/// The bytes on the serial line. The host generates the same ones (xorshift).
#[derive(Debug)]
pub struct Bytes(u32);

impl Default for Bytes {
    fn default() -> Self {
        Self(0x2545_F491)
    }
}

impl Iterator for Bytes {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        Some((self.0 >> 16) as u8)
    }
}
