//! The key of a descriptor, which the kernel hands back with an event.
//!
//! A [`PollKey`] is the slot of a descriptor and the generation (`fdseq`) in which the slot was allocated. No
//! pointer leaves the process.
//!
//! **INV-5** An event counts only if its key's fdseq is the descriptor's, and the compare-exchange that would
//! change a state word is the check. So an event that was copied out of the kernel before its descriptor was
//! closed has no effect:
//!
//! | the poller | the owner |
//! |---|---|
//! | `epoll_wait` copies out an event with key (7, 41) | |
//! | | closes the descriptor: slot 7 goes to generation 42 and to the free list |
//! | | opens another: `alloc` returns slot 7 again, key (7, 42) |
//! | looks slot 7 up; its compare-exchange expects generation 41 and fails | parks in slot 7, not disturbed |

/// The number of bits of a generation: all of `PollKey::fdseq` on 64-bit targets, 24 on 32-bit ones, where a
/// word must hold the state bits beside it.
pub const FDSEQ_BITS: u32 = if usize::BITS >= 64 { 32 } else { 24 };

/// The slot and the generation of a descriptor, which the kernel stores in 64 bits of user data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PollKey {
    /// The index of the descriptor's slot in the [`PollCache`](crate::poll::cache::PollCache).
    pub slot: u32,
    /// The generation of the slot when the descriptor was opened.
    pub fdseq: u32,
}

impl PollKey {
    /// The key of the break descriptor. No other descriptor has it, since slots go up to
    /// [`PollKey::MAX_SLOT`] only.
    pub const BREAK: PollKey = PollKey { slot: u32::MAX, fdseq: u32::MAX };

    /// The largest slot index that a descriptor may have.
    pub const MAX_SLOT: u32 = u32::MAX - 1;

    /// Packs the key into the kernel's 64 bits of user data.
    pub const fn to_bits(self) -> u64 {
        (self.fdseq as u64) << 32 | self.slot as u64
    }

    /// Unpacks a key, the reverse of [`PollKey::to_bits`]. Any bits give a key, which [`PollCache::get`] may
    /// refuse.
    ///
    /// [`PollCache::get`]: crate::poll::cache::PollCache::get
    pub const fn from_bits(bits: u64) -> Self {
        PollKey { slot: bits as u32, fdseq: (bits >> 32) as u32 }
    }
}

impl Default for PollKey {
    /// Returns the key of no descriptor, [`PollKey::BREAK`].
    fn default() -> Self {
        Self::BREAK
    }
}

/// One direction of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Reads and accepts (Go's `'r'`).
    Read,
    /// Writes and connects (Go's `'w'`).
    Write,
}

/// A set of directions: Go's `'r'`, `'w'` and `'r'+'w'`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Modes {
    /// The set has the read side.
    pub read: bool,
    /// The set has the write side.
    pub write: bool,
}

impl Modes {
    /// Neither direction.
    pub const NONE: Modes = Modes { read: false, write: false };
    /// The read side alone.
    pub const READ: Modes = Modes { read: true, write: false };
    /// The write side alone.
    pub const WRITE: Modes = Modes { read: false, write: true };
    /// Both directions.
    pub const BOTH: Modes = Modes { read: true, write: true };
}

impl From<Mode> for Modes {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Read => Modes::READ,
            Mode::Write => Modes::WRITE,
        }
    }
}

/// The state of the peer that an event reports, beside the directions that it makes ready.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct EventFlags {
    /// The kernel reported an error and nothing else (Go's `pollEventErr`). Unlike the others it is not
    /// sticky: each event sets it anew.
    pub event_err: bool,
    /// The peer has shut down its writing half.
    pub read_hup: bool,
    /// Both halves are shut down.
    pub hup: bool,
    /// An error is queued on the socket.
    pub err: bool,
    /// Urgent data have come: a read stops at the mark with bytes behind it.
    pub urgent: bool,
}

/// One readiness event in the poller's terms, to which a backend translates the kernel's bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// The key of the descriptor.
    pub key: PollKey,
    /// The directions that are ready.
    pub modes: Modes,
    /// The state of the peer.
    pub flags: EventFlags,
}
