//! netpoll-core on a Cortex-M3 (LM3S6965, as QEMU emulates it), without an operating system.
//!
//! | file | content |
//! |---|---|
//! | [`runtime`] | **read this first**: tasks, wakers, deadlines and interrupts on the state words of netpoll-core |
//! | [`net`] | TCP by smoltcp: each connection is a descriptor, woken by way of the Ethernet interrupt |
//! | [`echo`] | the server that the host talks to: its tasks, for any executor |
//! | [`ethernet`] | the driver of the Ethernet port |
//! | [`board`] | the registers of the chip |
//! | [`cpu`] | interrupt mask, statics that are accessed under it, vector table, first instructions, panics; for ARM and RISC-V |
//! | `bin/uart` | a serial line that is read with a deadline, and a wait that is closed while it is parked |
//! | `bin/tcp` | the echo server on [`Runtime::run`](runtime::Runtime::run): 16 connections at once |
//! | `bin/embassy` | the same tasks under embassy-executor |
//! | `bin/sweep` | a timer interrupt between any two instructions of the operations on the state words |
//! | `bin/sweep_ethernet` | a frame, and its interrupt, between any two instructions of the path that receives it |
//!
//! `cargo xtask bare` builds them and runs them in QEMU. `cargo xtask cross` links `bin/embassy` for chips without
//! compare-and-swap, and for RISC-V.
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
pub mod cpu;
pub mod echo;
pub mod ethernet;
pub mod net;
pub mod runtime;

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
