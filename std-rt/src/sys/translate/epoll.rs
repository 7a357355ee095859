//! epoll: Linux (`include/uapi/linux/eventpoll.h`), whose numbers these are.

use netpoll_core::poll_key::{Event, EventFlags, Modes, PollKey};

/// There is something to read.
pub const IN: u32 = 0x001;
/// Something out of the ordinary, such as urgent data.
pub const PRI: u32 = 0x002;
/// There is room to write.
pub const OUT: u32 = 0x004;
/// An error is queued, or nobody can read what would be written. Reported unasked.
pub const ERR: u32 = 0x008;
/// Both halves are down. Reported unasked.
pub const HUP: u32 = 0x010;
/// The peer has shut down its writing half.
pub const RDHUP: u32 = 0x2000;

/// As Go reads them:
///
/// | bits | read side | write side | flag |
/// |---|---|---|---|
/// | IN | ready | | |
/// | OUT | | ready | |
/// | RDHUP | ready | | `read_hup` |
/// | HUP | ready | ready | `hup` |
/// | ERR | ready | ready | `err`, and `event_err` if there is nothing else |
/// | PRI | | | `urgent` |
/// | PRI, and neither IN nor OUT | ready | | `urgent` |
///
/// Others are ignored. A descriptor that is watched for PRI alone is told by the last row; one that is watched for all may
/// have a read tried for nothing. `data` is what the kernel was given with the descriptor: its key.
#[inline]
pub fn translate(data: u64, bits: u32) -> Event {
    let any = |mask: u32| bits & mask != 0;
    let key = PollKey::from_bits(data);
    // As a rule there is nothing to say of the peer.
    if !any(RDHUP | HUP | ERR | PRI) {
        return Event { key, modes: Modes { read: any(IN), write: any(OUT) }, flags: EventFlags::default() };
    }
    Event {
        key,
        modes: Modes {
            read: any(IN | RDHUP | HUP | ERR) || bits & (PRI | OUT) == PRI,
            write: any(OUT | HUP | ERR),
        },
        flags: EventFlags {
            event_err: bits == ERR,
            read_hup: any(RDHUP),
            hup: any(HUP),
            err: any(ERR),
            urgent: any(PRI),
        },
    }
}
