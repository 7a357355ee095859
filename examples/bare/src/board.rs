//! The registers of the LM3S6965 that all programs use: serial port, system timer and interrupt controller.

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
const PENDING: usize = 0xE000_ED04;
const IRQ_ENABLE: usize = 0xE000_E100;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// The interrupts "the queue holds bytes" and "the queue has held bytes for some time".
const RECEIVE_INTERRUPTS: u32 = 1 << 4 | 1 << 6;
const UART0_IRQ: u32 = 5;

pub(crate) fn read(register: usize) -> u32 {
    // SAFETY: The callers are this file and `ethernet`. They pass constants, aligned addresses of registers (INV-102).
    unsafe { (register as *const u32).read_volatile() }
}

pub(crate) fn write(register: usize, value: u32) {
    // SAFETY: The callers are this file and `ethernet`. They pass constants, aligned addresses of registers (INV-102).
    unsafe { (register as *mut u32).write_volatile(value) }
}

/// Lets the interrupt controller pass on an interrupt.
pub(crate) fn enable_interrupt(number: u32) {
    write(IRQ_ENABLE + number as usize / 32 * 4, 1 << (number % 32));
}

/// Turns the serial port on, and its line of the interrupt controller. The port does not interrupt yet. The emulator needs
/// neither a clock nor a baud rate.
pub fn start_serial() {
    const EIGHT_BITS_AND_QUEUE: u32 = 0b111 << 4;
    const ON: u32 = 1 | 1 << 8 | 1 << 9;
    write(UART_LINE, EIGHT_BITS_AND_QUEUE);
    write(UART_CONTROL, ON);
    enable_interrupt(UART0_IRQ);
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

/// Stops the system timer, and takes back its interrupt if that is pending. Returns the cycles that were left.
pub fn stop_timer() -> u32 {
    const CLEAR_SYSTICK: u32 = 1 << 25;
    let left = read(SYSTICK_NOW);
    write(SYSTICK_CONTROL, 0);
    write(PENDING, CLEAR_SYSTICK);
    left
}
