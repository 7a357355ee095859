//! The start of the program: the vector table, the initialization of RAM, faults and panics.

use core::arch::global_asm;
use core::panic::PanicInfo;

use crate::board;

// SAFETY: The assembly below defines `reset`, and each program the two others, all with this signature. The chip calls a
// handler as a C function without arguments.
unsafe extern "C" {
    safe fn reset();
    safe fn sys_tick();
    safe fn uart0();
}

type Handler = extern "C" fn();

/// The vector table from entry 1 on (the linker script has entry 0, the stack): reset, the faults, SysTick as the last of
/// the processor's own, then the interrupts 0 to 5, of which 5 is the serial port's.
#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: [Handler; 21] = {
    let mut table: [Handler; 21] = [fault; 21];
    table[0] = reset;
    table[14] = sys_tick;
    table[20] = uart0;
    table
};

// Initializes the statics before any Rust runs: .bss with zeros, .data with its copy in flash.
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
    "  beq 2f",
    "  str r2, [r0], #4",
    "  b 1b",
    "2: ldr r0, =data_start",
    "  ldr r1, =data_end",
    "  ldr r2, =data_load",
    "3: cmp r0, r1",
    "  beq 4f",
    "  ldr r3, [r2], #4",
    "  str r3, [r0], #4",
    "  b 3b",
    "4: bl main",
    "  udf #0",
    ".ltorg",
);

/// Handles a fault, and an interrupt without a handler.
extern "C" fn fault() {
    board::print(format_args!("a fault, or an interrupt without a handler"));
    board::exit(false)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::print(format_args!("{info}"));
    board::exit(false)
}
