//! The events of one wait, and the array that it gives to the kernel.

use netpoll_core::poll_key::Event;
use rustix::event::PollFd;

use super::table::Asked;
use crate::sys::door;

/// Room for the events of one wait, made once and used by every wait of its owner.
pub struct Events {
    /// What poll(2) is given; empty between two waits.
    pub(super) set: Vec<PollFd<'static>>,
    /// The same entries, as the table knows them.
    pub(super) asked: Vec<Asked>,
    pub(super) found: Vec<Event>,
    /// 1..=capacity.
    pub(super) limit: usize,
    capacity: usize,
    /// What the door makes of the events: nothing, in an ordinary build.
    pub(super) disturbed: door::Batch,
}

impl Events {
    /// The largest capacity.
    pub const MAX_CAPACITY: usize = 1 << 16;

    /// Room for `capacity` events, clamped to 1..=[`MAX_CAPACITY`](Events::MAX_CAPACITY).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Events::MAX_CAPACITY);
        Events {
            set: Vec::new(),
            asked: Vec::new(),
            found: Vec::with_capacity(capacity),
            limit: capacity,
            capacity,
            disturbed: door::Batch::default(),
        }
    }

    /// Lets every later wait return at most `limit` events, clamped to 1..=capacity. What is left over stays armed for
    /// the wait after it.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.capacity);
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

    /// The events of the last wait, in the order of their descriptors' numbers, which begins at another place whenever
    /// some were left over.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
