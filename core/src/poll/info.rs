//! The published state of a descriptor, which a waiter must read before it sleeps (Go's `atomicInfo`).
//!
//! | bits | meaning | set by | cleared by |
//! |---|---|---|---|
//! | `CLOSING` | the descriptor is being closed | `publish_closing` | `advance` |
//! | `EVENT_ERR` | the last event was an error and nothing else | `set_event` | `set_event`, `advance` |
//! | `READ_HUP`, `HUP`, `ERR` | the peer is gone, half or whole, or an error is queued; sticky | `set_event` | `advance` |
//! | `URGENT` | urgent data have come; sticky | `set_event` | `advance` |
//! | `ENDED` | the poller has ended: no wait may begin | `publish_ended` | `advance` |
//! | `fdseq` at the top | the generation of the slot | `advance` | - |
//!
//! Go has its two "deadline expired" bits here as well. Here they are values of the deadline words
//! ([`deadline`](crate::poll::deadline)), so that no expired bit can outlive a newer deadline.
//!
//! Every change is a read-modify-write, so a stale event's compare-exchange fails on the generation (INV-5).

use super::key::{EventFlags, FDSEQ_BITS};
use crate::sync::{AtomicUsize, Ordering, const_fn};

const CLOSING: usize = 1;
const EVENT_ERR: usize = 1 << 1;
const READ_HUP: usize = 1 << 2;
const HUP: usize = 1 << 3;
const ERR: usize = 1 << 4;
const URGENT: usize = 1 << 5;
const ENDED: usize = 1 << 6;

/// The published state of a descriptor.
#[derive(Debug)]
pub struct AtomicInfo {
    word: AtomicUsize,
}

/// One value of an [`AtomicInfo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info(usize);

impl Info {
    const SHIFT: u32 = usize::BITS - FDSEQ_BITS;

    /// Returns whether the descriptor is being closed.
    #[inline]
    pub fn closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    /// Returns whether the poller has ended, so that no event will end a wait. Calls that need not wait are
    /// still allowed.
    #[inline]
    pub fn ended(self) -> bool {
        self.0 & ENDED != 0
    }

    /// Returns whether no wait may begin, because the descriptor is being closed or the poller has ended.
    #[inline]
    pub fn refuses_waits(self) -> bool {
        self.0 & (CLOSING | ENDED) != 0
    }

    /// Returns whether the last event was an error and nothing else. A call that still finds nothing to read
    /// may then wait in vain: the kernel reports such an error once (golang/go#30624).
    #[inline]
    pub fn event_err(self) -> bool {
        self.0 & EVENT_ERR != 0
    }

    /// Returns whether the peer has shut down its writing half, both halves are down, or an error is queued.
    #[inline]
    pub fn peer_closed(self) -> bool {
        self.0 & (READ_HUP | HUP | ERR) != 0
    }

    /// Returns whether nothing will be read after the bytes that are queued: the peer has shut down its writing
    /// half, or both halves are down.
    #[inline]
    pub fn read_closed(self) -> bool {
        self.0 & (READ_HUP | HUP) != 0
    }

    /// Returns whether nothing can be written any more, as far as events tell: both halves are down, or an
    /// error has been reported.
    #[inline]
    pub fn write_closed(self) -> bool {
        self.0 & (HUP | ERR) != 0
    }

    /// Returns whether an error has been reported.
    #[inline]
    pub fn err(self) -> bool {
        self.0 & ERR != 0
    }

    /// Returns whether urgent data have been reported.
    #[inline]
    pub fn urgent(self) -> bool {
        self.0 & URGENT != 0
    }

    /// Returns whether the socket may have more behind the bytes of a short read: the end of the stream, an
    /// error, an urgent mark. The next read must make the system call then. Also true once the poller has
    /// ended, since it no longer reports these.
    #[inline]
    pub fn may_have_more(self) -> bool {
        self.0 & (READ_HUP | HUP | ERR | URGENT | ENDED) != 0
    }

    /// Returns whether anything but `ENDED` has been published in this generation.
    #[inline]
    pub(crate) fn is_published(self) -> bool {
        self.0 & (CLOSING | EVENT_ERR | READ_HUP | HUP | ERR | URGENT) != 0
    }

    /// Returns the generation of the slot.
    #[inline]
    pub fn fdseq(self) -> u32 {
        (self.0 >> Self::SHIFT) as u32
    }

    /// Adds the sticky bits of an event, and sets `EVENT_ERR` as the event has it.
    #[inline]
    fn with_event(self, flags: EventFlags) -> Self {
        let bit = |set: bool, bit: usize| usize::from(set) * bit;
        let sticky = bit(flags.read_hup, READ_HUP)
            | bit(flags.hup, HUP)
            | bit(flags.err, ERR)
            | bit(flags.urgent, URGENT);
        Self(self.0 & !EVENT_ERR | bit(flags.event_err, EVENT_ERR) | sticky)
    }
}

impl Default for AtomicInfo {
    fn default() -> Self {
        Self::new()
    }
}

impl AtomicInfo {
    const_fn! {
        /// Creates a word of generation 0 with nothing published.
        pub const fn new() -> Self {
            const { assert!(FDSEQ_BITS + 8 <= usize::BITS, "a generation beside the published bits") };
            Self { word: AtomicUsize::new(0) }
        }
    }

    /// Reads the word.
    ///
    /// # Memory ordering
    ///
    /// Acquires the writes of the closer or the poller before it published. The fence pair (INV-3), not this
    /// load, makes the value fresh enough before a task sleeps.
    #[inline]
    pub fn get(&self) -> Info {
        Info(self.word.load(Ordering::Acquire)) // pair: info::publish_closing, info::publish_ended, info::set_event
    }

    /// Publishes that the descriptor of generation `fdseq` is being closed. Returns false and changes nothing
    /// if the word is of another generation. May be repeated.
    ///
    /// The caller then calls `fence(SeqCst)`, and only after that reads rg and wg (INV-3).
    pub fn publish_closing(&self, fdseq: u32) -> bool {
        // alone: a first guess; the compare-exchange below decides
        let mut old = Info(self.word.load(Ordering::Relaxed));
        while old.fdseq() == fdseq {
            // Release: the closer's writes, to a waiter that sees the bit.
            match self.word.compare_exchange(old.0, old.0 | CLOSING, Ordering::Release, Ordering::Relaxed) // pair: info::get
            {
                Ok(_) => return true,
                Err(found) => old = Info(found),
            }
        }
        false
    }

    /// Publishes that the poller has ended. Returns the previous value.
    ///
    /// The caller then calls `fence(SeqCst)`, and only after that reads rg and wg (INV-3).
    pub fn publish_ended(&self) -> Info {
        // Release: the writes before the end, to a waiter that sees the bit.
        Info(self.word.fetch_or(ENDED, Ordering::Release)) // pair: info::get
    }

    /// Publishes the peer's state from an event of generation `fdseq`. Returns false and changes nothing if
    /// the event is stale.
    ///
    /// The generation is part of the compared word, so the check and the change are one step
    /// (golang/go#59545).
    #[inline]
    pub fn set_event(&self, fdseq: u32, flags: EventFlags) -> bool {
        // alone: a first guess; the compare-exchange below decides
        let mut old = Info(self.word.load(Ordering::Relaxed));
        loop {
            if old.fdseq() != fdseq {
                return false;
            }
            let new = old.with_event(flags);
            if new == old {
                return true;
            }
            // Release: on bare metal the interrupt handler's data go with the bits.
            match self.word.compare_exchange(old.0, new.0, Ordering::Release, Ordering::Relaxed) // pair: info::get
            {
                Ok(_) => return true,
                Err(found) => old = Info(found),
            }
        }
    }

    /// Moves the word to the next generation, of which `mask` keeps the low bits, with nothing published.
    /// Returns that generation.
    ///
    /// Called by the owner's `free` only, when no task waits on the descriptor.
    pub(crate) fn advance(&self, mask: u32) -> u32 {
        let next = self.get().fdseq().wrapping_add(1) & mask;
        // alone: the push to the free list publishes it; a stale event's compare-exchange sees it in any case
        self.word.swap((next as usize) << Info::SHIFT, Ordering::Relaxed);
        next
    }
}
