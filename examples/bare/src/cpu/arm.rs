//! ARMv6-M and ARMv7-M. The code is common to both, so that a program for the first runs on the second, too.

use core::arch::{asm, global_asm};

// SAFETY: The assembly below defines `reset`. The linker script gives each handler that the program lacks the address of
// `unhandled`. All have this signature: the chip calls a handler as a C function without arguments.
unsafe extern "C" {
    safe fn reset();
    safe fn unhandled();
    safe fn sys_tick();
    safe fn uart0();
    safe fn ethernet();
}

type Handler = unsafe extern "C" fn();

/// The vector table from entry 1 on (the linker script has entry 0, the stack): reset, the faults, SysTick as the last of
/// the processor's own, then the interrupts 0 to 42, of which 5 is the serial port's and 42 Ethernet's.
#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: [Handler; 58] = {
    let mut table: [Handler; 58] = [unhandled; 58];
    table[0] = reset;
    table[14] = sys_tick;
    table[15 + 5] = uart0;
    table[15 + 42] = ethernet;
    table
};

// Initializes RAM before any Rust runs: .bss with zeros, .data with its copy in flash, the stack with the word of
// `stack_used`.
global_asm!(
    ".syntax unified",
    ".section .text.reset, \"ax\"",
    ".global reset",
    ".thumb_func",
    "reset:",
    "  ldr r0, =bss_start",
    "  ldr r1, =bss_end",
    "  movs r2, #0",
    "1: cmp r0, r1",
    "  bhs 2f",
    "  str r2, [r0]",
    "  adds r0, #4",
    "  b 1b",
    "2: ldr r0, =data_start",
    "  ldr r1, =data_end",
    "  ldr r2, =data_load",
    "3: cmp r0, r1",
    "  bhs 4f",
    "  ldr r3, [r2]",
    "  str r3, [r0]",
    "  adds r0, #4",
    "  adds r2, #4",
    "  b 3b",
    "4: ldr r0, =bss_end",
    "  ldr r1, =stack_top",
    "  ldr r2, ={unused}",
    "5: cmp r0, r1",
    "  bhs 6f",
    "  str r2, [r0]",
    "  adds r0, #4",
    "  b 5b",
    "6: bl main",
    "  udf #0",
    ".ltorg",
    unused = const super::UNUSED,
);

#[inline]
pub fn mask() -> bool {
    let before: u32;
    // SAFETY: The instructions change the mask and one register. Masking breaks no rule of Rust's, and the compiler moves no
    // memory access across the assembly.
    unsafe { asm!("mrs {}, PRIMASK", "cpsid i", out(reg) before, options(nostack)) };
    before & 1 != 0
}

#[inline]
pub fn unmask() {
    // SAFETY: The caller has masked interrupts itself, so no code outside it relies on the mask.
    unsafe { asm!("cpsie i", options(nostack)) };
}

#[inline]
pub fn wait_for_interrupt() {
    // SAFETY: The instruction only waits; it accesses no memory and changes no register.
    unsafe { asm!("wfi", options(nostack)) };
}

/// Ends the emulation with exit status 0 or 1, through a debugger's breakpoint (semihosting).
pub fn exit(success: bool) -> ! {
    const SYS_EXIT: u32 = 0x18;
    const APPLICATION_EXIT: u32 = 0x2_0026;
    const RUN_TIME_ERROR: u32 = 0x2_0023;
    let reason = if success { APPLICATION_EXIT } else { RUN_TIME_ERROR };
    loop {
        // SAFETY: The emulator reads the two registers and ends. A chip without a debugger stops here.
        unsafe { asm!("bkpt 0xAB", inout("r0") SYS_EXIT => _, in("r1") reason, options(nostack)) };
    }
}
