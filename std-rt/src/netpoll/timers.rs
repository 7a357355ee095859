//! The timer wheel of a [`Netpoll`](super::Netpoll), and which of its entries belongs to which descriptor. Always
//! under the one lock there.

use std::task::Waker;

use netpoll_core::poll_key::PollKey;

use crate::timer::{TimerId, Wheel};

/// What a timer is for.
#[derive(Debug)]
pub(super) enum Entry {
    /// The deadlines of a descriptor, both directions.
    Descriptor(PollKey),
    /// A task that sleeps.
    Task(Waker),
}

#[derive(Debug)]
pub(super) struct Timers {
    pub(super) wheel: Wheel<Entry>,
    /// The entry of each slot that has one.
    by_slot: Vec<Option<TimerId>>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { wheel: Wheel::new(0), by_slot: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Puts the descriptor's entry at `at`, whether it has one or not.
    pub(super) fn put(&mut self, key: PollKey, at: u64) {
        let slot = key.slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, None);
        }
        match self.by_slot[slot] {
            Some(id) if self.wheel.edit(id, at) => {}
            _ => self.by_slot[slot] = Some(self.wheel.insert(at, Entry::Descriptor(key))),
        }
    }

    /// The descriptor's entry has come out of the wheel.
    pub(super) fn fired(&mut self, slot: u32) {
        self.by_slot[slot as usize] = None;
    }

    /// Takes the descriptor's entry out, if it has one.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let id = self.by_slot.get_mut(slot as usize)?.take()?;
        self.wheel.remove(id)
    }
}
