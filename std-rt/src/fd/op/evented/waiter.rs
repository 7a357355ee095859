//! The place of a task among those that wait for an [`Evented`](super::Evented).

use std::os::fd::AsFd;
use std::task::Waker;

use netpoll_core::Mode;

use super::Side;
use crate::fd::Fd;
use crate::fd::op::poll_wakers::{EntryId, WakerSet};
use crate::sys::OwnedBy;

/// A task that waits.
pub(super) enum Waiter<'a> {
    /// A `poll_*` function: the last task that polls a direction waits alone, or has its entry beside futures.
    Slot,
    /// A future.
    Own(&'a mut Entries),
}

/// The entries of a future in both directions.
#[derive(Debug, Default)]
pub(super) struct Entries {
    parked: [Option<EntryId>; 2],
    lock: [Option<EntryId>; 2],
}

impl Waiter<'_> {
    /// Creates the waiter of one call of a `poll_*` function.
    #[inline]
    pub(super) fn slot() -> Self {
        Waiter::Slot
    }

    /// Returns whether this is a `poll_*` function.
    pub(super) fn is_slot(&self) -> bool {
        matches!(self, Waiter::Slot)
    }

    /// Returns a future's entry among the tasks that wait for the lock.
    pub(super) fn lock_entry(&mut self, mode: Mode) -> Option<&mut Option<EntryId>> {
        match self {
            Waiter::Slot => None,
            Waiter::Own(entries) => Some(&mut entries.lock[mode as usize]),
        }
    }

    /// Puts the task among those that are parked, under the lock of the direction.
    pub(super) fn register(&mut self, side: &Side, parked: &WakerSet, mode: Mode, waker: &Waker) {
        match self {
            Waiter::Slot => {
                let mut entry = (side.slot.get() as u64).checked_sub(1).map(EntryId);
                parked.register_owned(&mut entry, waker);
                side.slot.set(entry.map_or(0, |entry| entry.0 as usize + 1));
            }
            Waiter::Own(entries) => parked.register_owned(&mut entries.parked[mode as usize], waker),
        }
    }

    /// Returns whether this is a future that was woken since it parked.
    pub(super) fn was_woken<T: AsFd>(&self, fd: &Fd<OwnedBy<T>>, mode: Mode) -> bool {
        let Waiter::Own(entries) = self else { return false };
        entries.parked[mode as usize].is_some_and(|entry| !fd.pollers(mode).parked.has(entry))
    }
}

impl Entries {
    /// Removes the entries of a future that is dropped or has its result.
    pub(super) fn leave<T: AsFd>(&mut self, fd: &Fd<OwnedBy<T>>) {
        for mode in [Mode::Read, Mode::Write] {
            if let Some(entry) = self.lock[mode as usize].take() {
                fd.pollers(mode).awaiting_lock().leave(entry);
            }
            if let Some(entry) = self.parked[mode as usize].take()
                && fd.pollers(mode).parked.leave(entry)
            {
                fd.retract_if_unused(mode);
            }
        }
    }
}
