//! What a [`Poller`](super::Poller) knows of its descriptors: one slot for each number, and who sleeps on them.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use netpoll_core::poll_key::{Event, Mode, PollKey};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::Events;
use crate::sys::Watch;
use crate::sys::rdhup::RDHUP;
use crate::sys::translate::poll as translate;

/// A watched descriptor, and what the next poll(2) asks of it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: PollKey,
    read: bool,
    write: bool,
    /// Nothing is known of the peer's end yet.
    peer: bool,
    watch: Watch,
}

impl Slot {
    /// None if there is nothing to ask: poll(2) would report a hang-up all the same, again and again.
    fn asks(&self) -> Option<PollFlags> {
        match self.watch {
            Watch::Both => {}
            Watch::Priority => return self.read.then_some(PollFlags::PRI),
            Watch::Error => return self.read.then(PollFlags::empty),
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.read);
        flags.set(PollFlags::OUT, self.write);
        flags.set(RDHUP, self.read || self.peer);
        (self.read || self.write || self.peer).then_some(flags)
    }

    /// An event for it has been found: what it says is not asked again before the next `arm`. False if somebody else has
    /// found all of that in the meantime.
    fn disarm(&mut self, event: &Event) -> bool {
        let gone = event.flags.read_hup || event.flags.hup || event.flags.err;
        let news = self.read && event.modes.read || self.write && event.modes.write || self.peer && gone;
        self.read &= !event.modes.read;
        self.write &= !event.modes.write;
        self.peer &= !gone;
        news
    }
}

/// One entry of the array that poll(2) is given: whom it is for, and what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    number: RawFd,
    key: PollKey,
    flags: PollFlags,
}

/// The slots, by descriptor number: the kernel gives out the smallest that is free, so there are few gaps.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    /// Where the next array begins, so that nobody starves behind those in front.
    first: usize,
    /// Threads in a poll(2) that sleeps.
    pub(super) sleepers: usize,
    /// The pipe has been written; all sleepers are on their way out.
    pub(super) kicked: bool,
    /// A break is pending.
    pub(super) broken: bool,
}

impl Table {
    pub(super) fn insert(&mut self, fd: BorrowedFd<'_>, key: PollKey, watch: Watch) -> Result<(), Errno> {
        let index = index(fd);
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        match &mut self.slots[index] {
            Some(_) => Err(Errno::EXIST),
            free => {
                let both = watch == Watch::Both;
                *free = Some(Slot { key, read: true, write: both, peer: both, watch });
                Ok(())
            }
        }
    }

    pub(super) fn remove(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let slot = self.slots.get_mut(index(fd)).and_then(Option::take);
        slot.map(|_| ()).ok_or(Errno::NOENT)
    }

    /// True if it was not armed in that direction.
    pub(super) fn arm(&mut self, fd: BorrowedFd<'_>, key: PollKey, mode: Mode) -> Result<bool, Errno> {
        let slot = self.slots.get_mut(index(fd)).and_then(Option::as_mut);
        let slot = slot.filter(|slot| slot.key == key).ok_or(Errno::NOENT)?;
        let armed = match mode {
            Mode::Read => &mut slot.read,
            Mode::Write => &mut slot.write,
        };
        Ok(!std::mem::replace(armed, true))
    }

    /// Writes the array for one poll(2).
    pub(super) fn fill(&mut self, events: &mut Events) {
        self.first = if self.first < self.slots.len() { self.first } else { 0 };
        let (front, back) = self.slots.split_at(self.first);
        let numbered = (self.first..).zip(back).chain((0..).zip(front));
        for (number, slot) in numbered {
            let Some((slot, flags)) = slot.as_ref().and_then(|slot| Some((slot, slot.asks()?))) else {
                continue;
            };
            let number = number as RawFd;
            events.asked.push(Asked { number, key: slot.key, flags });
            events.set.push(entry(number, flags));
        }
    }

    /// Turns what poll(2) has found into events, as many as there may be, and empties the array. What is left over stays
    /// armed.
    pub(super) fn collect(&mut self, events: &mut Events) {
        let asked = std::mem::take(&mut events.asked);
        for (asked, entry) in asked.iter().zip(&events.set) {
            let found = entry.revents();
            if found.is_empty() {
                continue;
            }
            if events.found.len() == events.limit {
                self.first = asked.number as usize;
                break;
            }
            let event = translate::translate(asked.key.to_bits(), portable(asked.flags), portable(found));
            // The number may have another owner by now.
            let slot = self.slots.get_mut(asked.number as usize).and_then(Option::as_mut);
            if slot.is_some_and(|slot| slot.key == asked.key && slot.disarm(&event)) {
                events.found.push(event);
            }
        }
        events.asked = asked;
        events.asked.clear();
        events.set.clear();
    }
}

fn index(fd: BorrowedFd<'_>) -> usize {
    // No borrowed descriptor is negative.
    fd.as_raw_fd() as usize
}

/// An entry that outlives the borrow it is made of: until the array is emptied, which every wait does before it lets a
/// [`close`](super::Poller::close) go on.
pub(super) fn entry(number: RawFd, flags: PollFlags) -> PollFd<'static> {
    // SAFETY: INV-7: a number is in the table from `open` to `close`, and its owner keeps it open in between. `close`
    // takes it out and returns only when no thread is in a poll(2) that was given it; the array is empty by then. The
    // pipe's number lives as long as the poller, which every wait borrows.
    PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(number) }, flags)
}

/// The kernel's bits in the form of the table of [`translate`].
fn portable(flags: PollFlags) -> u16 {
    let bits = [
        (PollFlags::IN, translate::IN),
        (PollFlags::PRI, translate::PRI),
        (PollFlags::OUT, translate::OUT),
        (PollFlags::ERR, translate::ERR),
        (PollFlags::HUP, translate::HUP),
        (PollFlags::NVAL, translate::NVAL),
        (RDHUP, translate::RDHUP),
    ];
    let there = |(flag, bit): (PollFlags, u16)| if flags.intersects(flag) { bit } else { 0 };
    bits.into_iter().map(there).sum()
}
