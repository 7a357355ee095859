//! The lock of each direction, and the hand-over to the tasks that wait for it.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::task::Waker;

use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{Cancel, HandOver, Unlock, WaitList, WaiterId, WaiterMap};

use super::Fd;
use crate::foreign;
use crate::sys::FdOwner;

/// The tasks that wait for one lock.
#[derive(Debug, Default)]
pub(super) struct WakerMap(BTreeMap<WaiterId, Waker>);

impl WaiterMap for WakerMap {
    type Waker = Waker;

    fn push_last(&mut self, id: WaiterId, waker: Waker) {
        self.0.insert(id, waker);
    }

    fn pop_first(&mut self) -> Option<(WaiterId, Waker)> {
        self.0.pop_first()
    }

    fn remove(&mut self, id: WaiterId) -> Option<Waker> {
        self.0.remove(&id)
    }

    fn get_mut(&mut self, id: WaiterId) -> Option<&mut Waker> {
        self.0.get_mut(&id)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (WaiterId, &mut Waker)> {
        self.0.iter_mut().map(|(id, waker)| (*id, waker))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: FdOwner> Fd<S> {
    /// Locks the list of waiters. No foreign code runs under this lock, so a panic cannot leave the list half changed.
    pub(super) fn waiters(&self) -> MutexGuard<'_, WaitList<WakerMap>> {
        self.extra().waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks a direction, or hands the lock over to the next operation.
    #[inline]
    pub(super) fn unlock(&self, mode: Mode) {
        match self.mutex.unlock(mode) {
            Unlock::Free => {}
            unlocked => self.unlock_slow(mode, unlocked),
        }
    }

    #[cold]
    fn unlock_slow(&self, mode: Mode, unlocked: Unlock) {
        let handed = match unlocked {
            Unlock::Free => return,
            Unlock::Last => HandOver::Last,
            Unlock::Contended => self.mutex.hand_over(mode, &mut self.waiters()),
        };
        self.end_hand_over(mode, handed);
    }

    /// Unlocks a direction whose lock is at rest, as [`Fd::unlock`].
    pub(super) fn unlock_at_rest(&self, mode: Mode) {
        let handed = match self.mutex.unlock_at_rest(mode) {
            Unlock::Free => return,
            Unlock::Last => HandOver::Last,
            Unlock::Contended => self.mutex.hand_over_at_rest(mode, &mut self.waiters()),
        };
        self.end_hand_over(mode, handed);
    }

    /// Removes a task that waits for the lock. Returns its waker if it was still there; a lock that was granted to the task is
    /// handed on.
    pub(super) fn cancel(&self, mode: Mode, id: WaiterId) -> Option<Waker> {
        let cancelled = self.mutex.cancel(mode, &mut self.waiters(), id);
        match cancelled {
            Cancel::Removed(waker) => return Some(waker),
            Cancel::HandedOn(handed) => self.end_hand_over(mode, handed),
            Cancel::Gone => {}
        }
        None
    }

    /// Completes an unlock after the list was unlocked: wakes tasks, or closes the number.
    fn end_hand_over(&self, mode: Mode, mut handed: HandOver<Waker>) {
        loop {
            match handed {
                HandOver::Free => return,
                HandOver::Last => {
                    // The error of close(2) is dropped: the task in `Fd::close` waits only until the number is closed.
                    let _ = self.destroy();
                    return;
                }
                HandOver::Notify(waker) => return foreign::wake_all([waker]),
                HandOver::Granted(waker, id) => {
                    // A task whose waker panics may never be polled: the lock goes on to the next task, and if this one is
                    // polled, it waits again.
                    if foreign::wake(waker) {
                        return;
                    }
                    let cancelled = self.mutex.cancel(mode, &mut self.waiters(), id);
                    let Cancel::HandedOn(next) = cancelled else { return };
                    handed = next;
                }
            }
        }
    }
}
