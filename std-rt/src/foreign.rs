//! Calls into foreign code: wakers, closures, destructors.
//!
//! Two rules hold for all of this crate.
//!
//! 1. Such code runs under no lock and no borrow, and only while the state around it is consistent: it may call back into
//!    its caller, and it may panic.
//! 2. A panic belongs to the task whose code it is. If that task is the one that calls (its own waker is cloned or dropped,
//!    its closure is called), the panic goes on up to it. If it is another task, the panic hook has reported it, and the
//!    caller is not affected: neither its result nor the other tasks that it was about to wake.

use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Calls `call` and catches its panic, which the panic hook has reported. Returns true if there was none.
pub fn catch_panic(call: impl FnOnce()) -> bool {
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(discard).is_ok()
}

/// Drops the payload of a panic. Its destructor may panic; the payload of that second panic is leaked, so that this ends.
pub fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
}

/// Wakes a task; returns whether its waker did not panic.
pub fn wake(waker: Waker) -> bool {
    catch_panic(|| waker.wake())
}

/// Wakes each of these tasks.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        wake(waker);
    }
}

/// The waker of one task that waits.
#[derive(Debug, Default)]
pub struct WakerSlot(Mutex<Option<Waker>>);

impl WakerSlot {
    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        // No foreign code runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the waker. The caller checks afterwards whether its event has happened already.
    pub fn register(&self, waker: &Waker) {
        drop(self.replace(waker));
    }

    /// Replaces the waker as [`register`](Self::register) does, and returns the one before, if it was that of another task. Its
    /// drop is foreign code, which may cause the event.
    pub fn replace(&self, waker: &Waker) -> Option<Waker> {
        if self.lock().as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        let waker = waker.clone();
        self.lock().replace(waker)
    }

    /// Wakes the task, if there is one.
    pub fn wake(&self) {
        let waker = self.lock().take();
        wake_all(waker);
    }
}

/// Catches a panic of the waker's own drop, which does not concern the task that drops the slot.
impl Drop for WakerSlot {
    fn drop(&mut self) {
        let left = self.lock().take();
        catch_panic(|| drop(left));
    }
}
