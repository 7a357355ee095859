//! The translation of the kernels' event bits to an [`Event`](crate::Event), as pure functions of plain numbers:
//! epoll, kqueue and poll(2).
//!
//! All three are compiled on every host, so that every table is tested on any of them. Each module names the
//! kernel whose numbers it uses; a backend converts its own kernel's bits to those.
//!
//! ```
//! use netpoll_core::poll::translate::epoll::{IN, RDHUP, translate};
//! use netpoll_core::{Modes, PollKey};
//!
//! // What epoll_wait(2) returns for a connection that the peer has shut down: its user data, and its bits.
//! let (data, bits) = (PollKey { slot: 7, fdseq: 41 }.to_bits(), IN | RDHUP);
//! let event = translate(PollKey::from_bits(data), bits);
//! assert_eq!(event.modes, Modes::READ);
//! assert!(event.flags.read_hup && !event.flags.err);
//! ```
//!
//! | kernel | watch a descriptor with | the bits come from |
//! |---|---|---|
//! | epoll | `EPOLLIN`, `EPOLLOUT`, `EPOLLRDHUP`, `EPOLLPRI`, `EPOLLET`, once; the key as `epoll_event.data` | `epoll_event.events` |
//! | kqueue | `EVFILT_READ` and `EVFILT_WRITE` with `EV_CLEAR`, once; the key as `kevent.udata` | `kevent.filter` and `kevent.flags` |
//! | poll(2) | `POLLIN` or `POLLOUT` for each direction in which a task has parked, and `POLLRDHUP`, `POLLPRI` | `pollfd.events` and `pollfd.revents` |

pub mod epoll {
    //! The bits of epoll, numbered as in Linux's `include/uapi/linux/eventpoll.h`.

    use crate::poll::key::{Event, EventFlags, Modes, PollKey};

    /// Readable.
    pub const IN: u32 = 0x001;
    /// An exceptional condition, such as urgent data.
    pub const PRI: u32 = 0x002;
    /// Writable.
    pub const OUT: u32 = 0x004;
    /// An error is queued, or the reader is gone. Always reported.
    pub const ERR: u32 = 0x008;
    /// Both halves are shut down. Always reported.
    pub const HUP: u32 = 0x010;
    /// The peer has shut down its writing half.
    pub const RDHUP: u32 = 0x2000;

    /// Translates an event as Go does:
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
    /// Other bits are ignored. The last row reports a descriptor that is registered for PRI alone; one that
    /// is registered for all conditions may have a read tried in vain. `key` is the one that the kernel was
    /// given with the descriptor.
    #[inline]
    pub fn translate(key: PollKey, bits: u32) -> Event {
        let any = |mask: u32| bits & mask != 0;
        // Most events say nothing about the peer.
        if !any(RDHUP | HUP | ERR | PRI) {
            return Event {
                key,
                modes: Modes { read: any(IN), write: any(OUT) },
                flags: EventFlags::default(),
            };
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
}

pub mod kqueue {
    //! The filters and flags of kqueue(2) of FreeBSD, macOS, NetBSD and OpenBSD.
    //!
    //! The numbers are those of FreeBSD's `sys/event.h`. The flags are the same everywhere; NetBSD numbers
    //! its filters differently.

    use crate::poll::key::{Event, EventFlags, Modes, PollKey};

    /// The read filter.
    pub const READ: i16 = -1;
    /// The write filter.
    pub const WRITE: i16 = -2;

    /// The filter itself has an error, which `data` contains.
    pub const ERROR: u16 = 0x4000;
    /// On the read filter: nothing more arrives. On the write filter: nothing more is accepted.
    pub const EOF: u16 = 0x8000;

    /// Translates an event:
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
    /// EOF on the read filter wakes the writer too, as in Go, because on some kernels the write filter does
    /// not report a closed peer. The flags with which a filter was added (`CLEAR` and similar) come back with
    /// every event and are ignored.
    #[inline]
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

    /// Keys in the word that the kernel keeps for a filter (`udata`), where that has 64 bits: the whole key.
    /// In 32 bits only half of it fits: [`half`].
    pub mod whole {
        use crate::poll::key::PollKey;

        /// The number of bits of the generation that come back.
        pub const FDSEQ_BITS: u32 = 32;

        /// Packs a key. Never returns `None`; `half` does.
        #[inline]
        pub fn pack(key: PollKey) -> Option<u64> {
            Some(key.to_bits())
        }

        /// Unpacks a key.
        #[inline]
        pub fn unpack(data: u64) -> PollKey {
            PollKey::from_bits(data)
        }
    }

    /// Keys in a word of 32 bits: 16 bits of the slot and 16 of the generation.
    ///
    /// At most 65,535 descriptors can be registered at a time. An event that was copied out of the kernel
    /// before its descriptor was closed is taken for the present one's if exactly 65,536 others, or a
    /// multiple, have used the slot in the meantime. The state words count their generation in as many bits,
    /// so they compare all of it.
    pub mod half {
        use crate::poll::key::PollKey;

        /// The number of bits of the generation that come back: those of
        /// [`PollCache::with_fdseq_bits`](crate::PollCache::with_fdseq_bits).
        pub const FDSEQ_BITS: u32 = 16;

        /// Packs a key; `None` for a slot that does not fit. All ones are reserved for the break.
        #[inline]
        pub fn pack(key: PollKey) -> Option<u64> {
            let slot = u16::try_from(key.slot).ok().filter(|slot| *slot != u16::MAX)?;
            Some(u64::from(key.fdseq as u16) << 16 | u64::from(slot))
        }

        /// Unpacks a key.
        #[inline]
        pub fn unpack(data: u64) -> PollKey {
            PollKey { slot: data as u32 & 0xffff, fdseq: (data >> 16) as u32 & 0xffff }
        }
    }
}

pub mod poll {
    //! The bits of poll(2): POSIX.1-2024, with `POLLRDHUP` as Linux and FreeBSD have it.
    //!
    //! The numbers are those of Linux (`include/uapi/asm-generic/poll.h`). The first six are the same in
    //! `sys/poll.h` of macOS and the BSDs; `POLLRDHUP` is not, and does not exist everywhere.

    use crate::poll::key::{Event, EventFlags, Modes, PollKey};

    /// Readable.
    pub const IN: u16 = 0x001;
    /// An exceptional condition, such as urgent data.
    pub const PRI: u16 = 0x002;
    /// Writable.
    pub const OUT: u16 = 0x004;
    /// An error is queued, or the reader is gone. Always reported.
    pub const ERR: u16 = 0x008;
    /// Both halves are shut down. Always reported.
    pub const HUP: u16 = 0x010;
    /// The number is not that of an open file. Always reported.
    pub const NVAL: u16 = 0x020;
    /// The peer has shut down its writing half.
    pub const RDHUP: u16 = 0x2000;

    /// Translates the bits found for a descriptor, of which `asked` were asked for:
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
    /// Other bits are ignored. OUT beside ERR makes no difference to a reader: an error that no read removes
    /// is reported for as long as it exists, and a reader that waited again would spin. An event that only a
    /// writer asked for clears `event_err`; a reader that waits asks anew, and its event sets the flag again.
    /// After NVAL the next call on the descriptor returns the error.
    #[inline]
    pub fn translate(key: PollKey, asked: u16, found: u16) -> Event {
        let any = |mask: u16| found & mask != 0;
        let is_news = asked & (IN | OUT) == 0 && any(PRI);
        Event {
            key,
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
}
