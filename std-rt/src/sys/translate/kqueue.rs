//! kqueue: kqueue(2) of FreeBSD, macOS, NetBSD and OpenBSD.
//!
//! The numbers are those of FreeBSD's `sys/event.h`. The flags are the same everywhere; NetBSD numbers its filters
//! otherwise.

use netpoll_core::poll_key::{Event, EventFlags, Modes, PollKey};

/// The filter of what can be read.
pub const READ: i16 = -1;
/// The filter of what can be written.
pub const WRITE: i16 = -2;

/// Something is wrong with the filter itself; `data` says what.
pub const ERROR: u16 = 0x4000;
/// On the read filter: nothing comes any more. On the write filter: nobody takes anything any more.
pub const EOF: u16 = 0x8000;

/// What an event says:
///
/// | filter | flags | read side | write side | flag |
/// |---|---|---|---|---|
/// | READ | | ready | | |
/// | READ | EOF | ready | ready | `read_hup` |
/// | WRITE | | | ready | |
/// | WRITE | EOF | | ready | `hup` |
/// | either | ERROR | as without | as without | `err`, and `event_err` if there is no other flag |
/// | any other | | | | |
///
/// The end of what can be read wakes the writer too, as in Go: on some kernels the write filter says nothing of a peer
/// that is gone. The flags with which a filter was added (`CLEAR` and its like) come back with every event and mean
/// nothing here.
pub fn translate(key: PollKey, filter: i16, flags: u16) -> Event {
    let (read, write) = (filter == READ, filter == WRITE);
    let (known, eof) = (read || write, flags & EOF != 0);
    let err = known && flags & ERROR != 0;
    Event {
        key,
        modes: Modes { read, write: write || read && eof },
        flags: EventFlags {
            event_err: err && flags == ERROR,
            read_hup: read && eof,
            hup: write && eof,
            err,
            urgent: false,
        },
    }
}

/// How a key fits the machine word that the kernel keeps for a filter (`udata`): whole where that has 64 bits. In 32
/// bits there is room for half of it: [`half`].
pub mod whole {
    use netpoll_core::poll_key::PollKey;

    /// Bits of the generation that come back.
    pub const FDSEQ_BITS: u32 = 32;

    /// None only where half a key is kept.
    pub fn pack(key: PollKey) -> Option<u64> {
        Some(key.to_bits())
    }

    /// The reverse.
    pub fn unpack(data: u64) -> PollKey {
        PollKey::from_bits(data)
    }
}

/// 16 bits of the slot and 16 of the generation, for a machine word of 32 bits.
///
/// So at most 65,535 descriptors can be watched at a time, and an event that was copied out of the kernel before its
/// descriptor was closed would be taken for the present one's if 65,536 others, or a multiple, had used the slot in the
/// meantime. The words count their generation in as many bits, so that they compare all of it.
pub mod half {
    use netpoll_core::poll_key::PollKey;

    /// Bits of the generation that come back.
    pub const FDSEQ_BITS: u32 = 16;

    /// None for a slot that does not fit; all ones are the break's.
    pub fn pack(key: PollKey) -> Option<u64> {
        let slot = u16::try_from(key.slot).ok().filter(|slot| *slot != u16::MAX)?;
        Some(u64::from(key.fdseq as u16) << 16 | u64::from(slot))
    }

    /// The reverse.
    pub fn unpack(data: u64) -> PollKey {
        PollKey { slot: data as u32 & 0xffff, fdseq: (data >> 16) as u32 & 0xffff }
    }
}
