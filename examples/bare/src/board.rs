//! The registers of the LM3S6965 that the two programs use: serial port, system timer, interrupt controller, and the
//! exit of the emulator.

use core::arch::asm;
use core::fmt;

/// The cycles of the system timer in a millisecond. Its clock is 12.5 MHz after a reset in QEMU.
pub const CYCLES_PER_MS: u32 = 12_500;

const UART_DATA: usize = 0x4000_C000;
const UART_FLAGS: usize = 0x4000_C018;
const UART_LINE: usize = 0x4000_C02C;
const UART_CONTROL: usize = 0x4000_C030;
const UART_INTERRUPTS: usize = 0x4000_C038;
const SYSTICK_CONTROL: usize = 0xE000_E010;
const SYSTICK_RELOAD: usize = 0xE000_E014;
const SYSTICK_NOW: usize = 0xE000_E018;
const IRQ_ENABLE: usize = 0xE000_E100;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// The interrupts "the queue holds bytes" and "the queue has held bytes for some time".
const RECEIVE_INTERRUPTS: u32 = 1 << 4 | 1 << 6;
const UART0_IRQ: u32 = 5;

fn read(register: usize) -> u32 {
    // SAFETY: The callers below pass the constants above, which are aligned addresses of registers (INV-102).
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: The callers below pass the constants above, which are aligned addresses of registers (INV-102).
    unsafe { (register as *mut u32).write_volatile(value) }
}

/// Runs `work` with interrupts masked, and restores the mask.
#[inline]
pub fn masked<R>(work: impl FnOnce() -> R) -> R {
    let before: u32;
    // SAFETY: The instructions change the mask and one register. Masking breaks no rule of Rust's, and the compiler moves no
    // memory access across the assembly.
    unsafe { asm!("mrs {}, PRIMASK", "cpsid i", out(reg) before, options(nostack)) };
    let result = work();
    if before & 1 == 0 {
        // SAFETY: Interrupts were not masked before, so the caller does not rely on the mask.
        unsafe { asm!("cpsie i", options(nostack)) };
    }
    result
}

/// Sleeps until an interrupt comes, unless `awake` returns true.
///
/// The check and the sleep are one step: with interrupts masked no handler can set a ready bit in between. A pending
/// interrupt ends the sleep even while it is masked, and its handler runs when the mask is restored.
pub fn sleep_unless(awake: impl FnOnce() -> bool) {
    masked(|| {
        if !awake() {
            // SAFETY: The instruction only waits; it accesses no memory and changes no register.
            unsafe { asm!("wfi", options(nostack)) };
        }
    });
}

/// Turns the serial port on, and its line of the interrupt controller. The port does not interrupt yet. The emulator needs
/// neither a clock nor a baud rate.
pub fn start_serial() {
    const EIGHT_BITS_AND_QUEUE: u32 = 0b111 << 4;
    const ON: u32 = 1 | 1 << 8 | 1 << 9;
    write(UART_LINE, EIGHT_BITS_AND_QUEUE);
    write(UART_CONTROL, ON);
    write(IRQ_ENABLE, 1 << UART0_IRQ);
}

/// Takes a byte from the serial port's queue, if there is one.
pub fn receive() -> Option<u8> {
    has_byte().then(|| read(UART_DATA) as u8)
}

/// Returns whether the serial port's queue holds a byte.
pub fn has_byte() -> bool {
    read(UART_FLAGS) & RECEIVE_EMPTY == 0
}

/// Sets whether the serial port may interrupt while its queue holds a byte. This writes the whole register, so the handler
/// and the task need no lock.
pub fn set_receive_interrupt(on: bool) {
    write(UART_INTERRUPTS, if on { RECEIVE_INTERRUPTS } else { 0 });
}

/// Returns whether the serial port may interrupt.
pub fn receive_interrupt_is_on() -> bool {
    read(UART_INTERRUPTS) != 0
}

/// The sending side of the serial port. A write waits while the queue is full.
#[derive(Debug)]
pub struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while read(UART_FLAGS) & TRANSMIT_FULL != 0 {}
            write(UART_DATA, u32::from(byte));
        }
        Ok(())
    }
}

/// Prints a line on the serial port.
pub fn print(line: fmt::Arguments<'_>) {
    // `Serial` returns no error.
    let _ = fmt::write(&mut Serial, format_args!("{line}\n"));
}

/// Starts the system timer, which interrupts every `cycles` cycles (at most 24 bits).
pub fn start_timer(cycles: u32) {
    const ON_CORE_CLOCK_WITH_INTERRUPT: u32 = 0b111;
    write(SYSTICK_RELOAD, cycles);
    write(SYSTICK_NOW, 0);
    write(SYSTICK_CONTROL, ON_CORE_CLOCK_WITH_INTERRUPT);
}

/// Stops the system timer. Returns the cycles that were left.
pub fn stop_timer() -> u32 {
    let left = read(SYSTICK_NOW);
    write(SYSTICK_CONTROL, 0);
    left
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
