//! The events of one wait.
//!
//! **INV-302**: *`udata` is an integer in the place of a pointer: it points nowhere, and nobody follows it.*

use netpoll_core::poll_key::Event;
use rustix::event::kqueue::{Event as Record, EventFilter, EventFlags};

use super::{BREAK, udata, unpack};
use crate::sys::door;
use crate::sys::translate::kqueue as translate;

// The numbers of the table are the kernel's.
const _: () =
    assert!(EventFlags::EOF.bits() == translate::EOF && EventFlags::ERROR.bits() == translate::ERROR);

/// Room for the events of one wait, made once and used by every wait of its owner.
pub struct Events {
    /// As long as the capacity from the start; means something only within a wait.
    pub(super) buffer: Vec<Record>,
    pub(super) found: Vec<Event>,
    /// 1..=capacity.
    pub(super) limit: usize,
    /// What the door makes of the events: nothing, in an ordinary build.
    pub(super) disturbed: door::Batch,
}

// SAFETY: INV-302: the one field that does not say so itself is the kernel's records, which hold a pointer each.
unsafe impl Send for Events {}

// SAFETY: INV-302, and a shared `Events` is only read.
unsafe impl Sync for Events {}

impl Events {
    /// The largest capacity.
    pub const MAX_CAPACITY: usize = 1 << 16;

    /// Room for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        let empty = Record::new(EventFilter::Read(-1), EventFlags::empty(), udata(0));
        Events {
            buffer: vec![empty; capacity],
            found: Vec::with_capacity(capacity),
            limit: capacity,
            disturbed: door::Batch::default(),
        }
    }

    /// Lets every later wait return at most `limit` events, clamped to 1..=capacity. What is left over stays with
    /// the kernel for the wait after it.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.buffer.len());
    }

    /// How many events the last wait returned, the break not counted.
    pub fn len(&self) -> usize {
        self.disturbed.len().unwrap_or(self.found.len())
    }

    /// The last wait returned no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Event `index` of the last wait.
    ///
    /// # Panics
    ///
    /// Unless `index < len()`.
    pub fn get(&self, index: usize) -> Event {
        self.disturbed.get(index).unwrap_or_else(|| self.found[index])
    }

    /// The events of the last wait in the kernel's order. The two directions of a descriptor are two events.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Translates the first `filled` records; true if the break is among them.
    pub(super) fn take(&mut self, filled: usize) -> bool {
        let mut broken = false;
        for record in &self.buffer[..filled] {
            let data = record.udata().addr();
            if data == BREAK {
                broken = true;
                continue;
            }
            let filter = match record.filter() {
                EventFilter::Read(_) => translate::READ,
                EventFilter::Write(_) => translate::WRITE,
                // No other is ever added.
                _ => continue,
            };
            self.found.push(translate::translate(unpack(data), filter, record.flags().bits()));
        }
        broken
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
