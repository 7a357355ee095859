//! The driver of the LM3S6965's Ethernet port, as QEMU emulates it: one queue for received frames, and memory for one frame
//! that is sent. The emulator needs neither a clock nor the physical layer's registers.
//!
//! | register | read | write |
//! |---|---|---|
//! | `STATUS` | the interrupts that are raised | acknowledges those of the bits |
//! | `DATA` | the next four bytes of the queue: two of length, the frame, four of checksum | the next four bytes to send: two of length without the header, the frame |
//! | `FRAMES` | the number of frames in the queue | |
//! | `SEND` | 1 while a frame is being sent | 1 sends the frame |
//!
//! An interrupt reports a change: [`acknowledge`] takes it back while the queue still holds the frame. So the task forgets an
//! older event, empties the queue, and waits. A frame that comes in between raises the interrupt again.

use crate::board::{enable_interrupt, read, write};

/// The longest frame, without its checksum.
pub const MAX_FRAME: usize = 1514;
/// The header of a frame, which the length that is sent leaves out.
const HEADER: usize = 14;
/// The bytes of the queue around a frame: its length before it, its checksum behind it.
const AROUND: usize = 6;

const STATUS: usize = 0x4004_8000;
const MASK: usize = 0x4004_8004;
const RECEIVE_CONTROL: usize = 0x4004_8008;
const TRANSMIT_CONTROL: usize = 0x4004_800C;
const DATA: usize = 0x4004_8010;
const ADDRESS_LOW: usize = 0x4004_8014;
const ADDRESS_HIGH: usize = 0x4004_8018;
const FRAMES: usize = 0x4004_8034;
const SEND: usize = 0x4004_8038;

const RECEIVED: u32 = 1;
const ETHERNET_IRQ: u32 = 42;

/// Turns the port on with an address, and its interrupt for received frames.
pub fn start(address: [u8; 6]) {
    const ON_WITHOUT_BAD_CHECKSUMS: u32 = 1 | 1 << 3;
    const EMPTY_QUEUE: u32 = 1 << 4;
    const ON_PADDED_WITH_CHECKSUM_DUPLEX: u32 = 0b1111;
    let [a, b, c, d, e, f] = address;
    write(ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
    write(ADDRESS_HIGH, u32::from_le_bytes([e, f, 0, 0]));
    write(MASK, RECEIVED);
    write(TRANSMIT_CONTROL, ON_PADDED_WITH_CHECKSUM_DUPLEX);
    write(RECEIVE_CONTROL, EMPTY_QUEUE);
    write(RECEIVE_CONTROL, ON_WITHOUT_BAD_CHECKSUMS);
    enable_interrupt(ETHERNET_IRQ);
}

/// Takes the interrupt back. Its handler calls this before it delivers the event.
pub fn acknowledge() {
    write(STATUS, RECEIVED);
}

/// Returns whether the interrupt is raised, so that its handler is still to come.
pub fn is_raised() -> bool {
    read(STATUS) & RECEIVED != 0
}

/// Returns whether the queue holds a frame.
pub fn has_frame() -> bool {
    read(FRAMES) != 0
}

/// Takes the next frame out of the queue. Returns its length, or `None` if the queue is empty. The end of a frame that is
/// longer than the buffer is dropped.
pub fn receive(buffer: &mut [u8; MAX_FRAME]) -> Option<usize> {
    if !has_frame() {
        return None;
    }
    let [low, high, first, second] = read(DATA).to_le_bytes();
    let queued = usize::from(u16::from_le_bytes([low, high]));
    let length = queued.saturating_sub(AROUND).min(MAX_FRAME);
    buffer[..2].copy_from_slice(&[first, second]);
    let mut chunks = buffer[2..length.max(2)].chunks_mut(4);
    for _ in 1..queued.div_ceil(4) {
        let word = read(DATA).to_le_bytes();
        if let Some(chunk) = chunks.next() {
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
    Some(length)
}

/// Sends a frame of at least a header. Waits while the one before is being sent, which is at most 123 µs.
pub fn transmit(frame: &[u8]) {
    while read(SEND) & 1 != 0 {}
    load(frame);
    send();
}

/// Puts a frame of at least a header into the port's memory. [`send`] sends it.
pub fn load(frame: &[u8]) {
    let [low, high] = (frame.len().saturating_sub(HEADER) as u16).to_le_bytes();
    let (first, rest) = frame.split_at(2);
    write(DATA, u32::from_le_bytes([low, high, first[0], first[1]]));
    for chunk in rest.chunks(4) {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        write(DATA, u32::from_le_bytes(word));
    }
}

/// Sends the frame that was loaded.
pub fn send() {
    write(SEND, 1);
}
