//! RV32IMAC in machine mode. No emulator has the peripherals of [`board`](crate::board) beside such a processor, so that these
//! programs are linked and not run.

use core::arch::{asm, global_asm};

// SAFETY: The linker script gives each handler that the program lacks the address of `unhandled`. All have this signature.
unsafe extern "C" {
    safe fn unhandled();
    safe fn sys_tick();
    safe fn ethernet();
}

// Initializes RAM before any Rust runs, as on ARM. A trap saves the registers that a C function may change.
global_asm!(
    ".section .text.reset, \"ax\"",
    ".global reset",
    "reset:",
    "  la sp, stack_top",
    "  la t0, trap",
    "  csrw mtvec, t0",
    "  la t0, bss_start",
    "  la t1, bss_end",
    "1: bgeu t0, t1, 2f",
    "  sw zero, 0(t0)",
    "  addi t0, t0, 4",
    "  j 1b",
    "2: la t0, data_start",
    "  la t1, data_end",
    "  la t2, data_load",
    "3: bgeu t0, t1, 4f",
    "  lw t3, 0(t2)",
    "  sw t3, 0(t0)",
    "  addi t0, t0, 4",
    "  addi t2, t2, 4",
    "  j 3b",
    "4: la t0, bss_end",
    "  li t2, {unused}",
    "5: bgeu t0, sp, 6f",
    "  sw t2, 0(t0)",
    "  addi t0, t0, 4",
    "  j 5b",
    "6: li t0, (1 << 7) | (1 << 11)",
    "  csrw mie, t0",
    "  csrsi mstatus, 8",
    "  call main",
    "  unimp",
    ".balign 4",
    "trap:",
    "  addi sp, sp, -64",
    "  sw ra, 0(sp)",
    "  sw t0, 4(sp)",
    "  sw t1, 8(sp)",
    "  sw t2, 12(sp)",
    "  sw t3, 16(sp)",
    "  sw t4, 20(sp)",
    "  sw t5, 24(sp)",
    "  sw t6, 28(sp)",
    "  sw a0, 32(sp)",
    "  sw a1, 36(sp)",
    "  sw a2, 40(sp)",
    "  sw a3, 44(sp)",
    "  sw a4, 48(sp)",
    "  sw a5, 52(sp)",
    "  sw a6, 56(sp)",
    "  sw a7, 60(sp)",
    "  csrr a0, mcause",
    "  call {handle}",
    "  lw ra, 0(sp)",
    "  lw t0, 4(sp)",
    "  lw t1, 8(sp)",
    "  lw t2, 12(sp)",
    "  lw t3, 16(sp)",
    "  lw t4, 20(sp)",
    "  lw t5, 24(sp)",
    "  lw t6, 28(sp)",
    "  lw a0, 32(sp)",
    "  lw a1, 36(sp)",
    "  lw a2, 40(sp)",
    "  lw a3, 44(sp)",
    "  lw a4, 48(sp)",
    "  lw a5, 52(sp)",
    "  lw a6, 56(sp)",
    "  lw a7, 60(sp)",
    "  addi sp, sp, 64",
    "  mret",
    unused = const super::UNUSED,
    handle = sym handle,
);

/// Calls the handler of an interrupt: the timer's, or that of the one external source.
extern "C" fn handle(cause: u32) {
    const TIMER: u32 = 1 << 31 | 7;
    const EXTERNAL: u32 = 1 << 31 | 11;
    match cause {
        TIMER => sys_tick(),
        EXTERNAL => ethernet(),
        _ => unhandled(),
    }
}

#[inline]
pub fn mask() -> bool {
    const ENABLED: u32 = 1 << 3;
    let before: u32;
    // SAFETY: The instruction changes the mask and one register. Masking breaks no rule of Rust's, and the compiler moves no
    // memory access across the assembly.
    unsafe { asm!("csrrci {}, mstatus, 8", out(reg) before, options(nostack)) };
    before & ENABLED == 0
}

#[inline]
pub fn unmask() {
    // SAFETY: The caller has masked interrupts itself, so no code outside it relies on the mask.
    unsafe { asm!("csrsi mstatus, 8", options(nostack)) };
}

#[inline]
pub fn wait_for_interrupt() {
    // SAFETY: The instruction only waits; it accesses no memory and changes no register.
    unsafe { asm!("wfi", options(nostack)) };
}

/// Stops: there is no emulator to end.
pub fn exit(_success: bool) -> ! {
    mask();
    loop {
        wait_for_interrupt();
    }
}
