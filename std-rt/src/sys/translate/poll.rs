//! poll(2): POSIX.1-2024, with `POLLRDHUP` as Linux and FreeBSD have it.
//!
//! The numbers are those of Linux (`include/uapi/asm-generic/poll.h`). The first six are the same in `sys/poll.h` of macOS
//! and the BSDs; `POLLRDHUP` is not, and not everywhere.

use netpoll_core::poll_key::{Event, EventFlags, Modes, PollKey};

/// There is something to read.
pub const IN: u16 = 0x001;
/// Something out of the ordinary, such as urgent data.
pub const PRI: u16 = 0x002;
/// There is room to write.
pub const OUT: u16 = 0x004;
/// An error is queued, or nobody can read what would be written. Reported unasked.
pub const ERR: u16 = 0x008;
/// Both halves are down. Reported unasked.
pub const HUP: u16 = 0x010;
/// The number is of no open file. Reported unasked.
pub const NVAL: u16 = 0x020;
/// The peer has shut down its writing half.
pub const RDHUP: u16 = 0x2000;

/// What was found for a descriptor of which so much was asked:
///
/// | bits | read side | write side | flag |
/// |---|---|---|---|
/// | IN | ready | | |
/// | OUT | | ready | |
/// | RDHUP | ready | | `read_hup` |
/// | HUP | ready | ready | `hup` |
/// | ERR | ready | ready | `err` |
/// | ERR, IN asked for, and nothing but OUT beside | ready | ready | `err`, `event_err` |
/// | NVAL | ready | ready | `err` |
/// | PRI | | | `urgent` |
/// | PRI, and neither IN nor OUT was asked for | ready | | `urgent` |
///
/// Others are ignored. Whether there is room makes no difference to who reads: an error that no read takes away is
/// reported for as long as it is there, and a reader that went on to wait for something to read would spin. After NVAL the
/// next call says what is wrong.
pub fn translate(data: u64, asked: u16, found: u16) -> Event {
    let any = |mask: u16| found & mask != 0;
    let is_news = asked & (IN | OUT) == 0 && any(PRI);
    Event {
        key: PollKey::from_bits(data),
        modes: Modes {
            read: is_news || any(IN | RDHUP | HUP | ERR | NVAL),
            write: any(OUT | HUP | ERR | NVAL),
        },
        flags: EventFlags {
            event_err: found & !OUT == ERR && asked & IN != 0,
            read_hup: any(RDHUP),
            hup: any(HUP),
            err: any(ERR | NVAL),
            urgent: any(PRI),
        },
    }
}
