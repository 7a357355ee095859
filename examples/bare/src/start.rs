//! What the chip does first: the vector table, RAM as Rust expects it, and what happens when all is lost.

use core::arch::global_asm;
use core::panic::PanicInfo;

use crate::board;

// SAFETY: INV-101, INV-102: the assembly below defines `reset`, each program the two others, all with this signature;
// the chip calls a handler as a C function without arguments.
unsafe extern "C" {
    safe fn reset();
    safe fn sys_tick();
    safe fn uart0();
}

type Handler = extern "C" fn();

/// Entries 1 to 21 (entry 0, the stack, is in the linker script): reset, the faults, SysTick last of the core's own,
/// then the interrupts 0 to 5, of which 5 is the serial port.
#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: [Handler; 21] = {
    let mut table: [Handler; 21] = [fault; 21];
    table[0] = reset;
    table[14] = sys_tick;
    table[20] = uart0;
    table
};

// Statics get their values before any Rust runs: zeros to .bss, the copy in flash to .data.
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

/// Whatever has no handler.
extern "C" fn fault() {
    board::print(format_args!("a fault, or an interrupt that nobody asked for"));
    board::exit(false)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::print(format_args!("{info}"));
    board::exit(false)
}
