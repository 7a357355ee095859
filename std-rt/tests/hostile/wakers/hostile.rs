//! A waker whose functions are foreign code: they call back into their caller, or panic.

#![expect(unsafe_code, reason = "implements a waker whose clone and drop run code of the test")]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use netpoll_core::sync::Counter;
use netpoll_core::sync::Flag;

/// The function of a waker that was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Called {
    Clone,
    Wake,
    Drop,
}

/// The action of such a waker, and the number of times it has acted.
pub struct Hostile {
    /// The function that acts; `None` for each of them.
    on: Option<Called>,
    act: Box<dyn Fn(Called) + Send + Sync>,
    pub acts: Counter,
    disarmed: Flag,
}

thread_local! {
    /// The thread is in an act, whose calls meet a waker that does nothing.
    static ACTING: Cell<bool> = const { Cell::new(false) };
}

/// Ends the act, also by a panic.
struct Acting;

impl Drop for Acting {
    fn drop(&mut self) {
        ACTING.set(false);
    }
}

impl Hostile {
    pub fn new(on: Called, act: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Self::with(Some(on), move |_| act())
    }

    /// Returns one of which each function acts.
    pub fn on_each(act: impl Fn(Called) + Send + Sync + 'static) -> Arc<Self> {
        Self::with(None, act)
    }

    fn with(on: Option<Called>, act: impl Fn(Called) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { on, act: Box::new(act), acts: Counter::new(), disarmed: Flag::new() })
    }

    /// Returns a new waker for each poll, so that no poll mistakes it for the last one: it wraps an `Arc` of its own.
    pub fn waker(self: &Arc<Self>) -> Waker {
        let own = Arc::new(Own(self.clone()));
        // SAFETY: INV-11: the pointer is that of an `Arc` whose reference the waker owns, as each function of the table
        // expects.
        unsafe { Waker::from_raw(raw(own)) }
    }

    /// Makes the waker do nothing from now on.
    pub fn disarm(&self) {
        self.disarmed.set();
    }

    fn called(&self, called: Called) {
        // A second panic while one is on its way up would end the process, as it would anywhere.
        let acts = self.on.is_none_or(|on| on == called);
        if !acts || self.disarmed.is_set() || ACTING.get() || std::thread::panicking() {
            return;
        }
        ACTING.set(true);
        let _acting = Acting;
        self.acts.inc();
        (self.act)(called);
    }
}

/// The target of a waker's pointer.
struct Own(Arc<Hostile>);

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn raw(own: Arc<Own>) -> RawWaker {
    RawWaker::new(Arc::into_raw(own).cast(), &TABLE)
}

/// # Safety
///
/// INV-11: the pointer is that of a waker of this table.
unsafe fn owned(data: *const ()) -> Arc<Own> {
    // SAFETY: INV-11: `raw` made the pointer of such an `Arc`; the caller says whether the reference is its to give up.
    unsafe { Arc::from_raw(data.cast()) }
}

/// # Safety
///
/// INV-11: as for `owned`.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: INV-11: the reference stays the waker's, so it is not dropped here.
    let this = ManuallyDrop::new(unsafe { owned(data) });
    this.0.called(Called::Clone);
    raw(Arc::clone(&this))
}

/// # Safety
///
/// INV-11: as for `owned`; the reference goes.
unsafe fn wake(data: *const ()) {
    // SAFETY: INV-11: the waker is consumed.
    let this = unsafe { owned(data) };
    this.0.called(Called::Wake);
}

/// # Safety
///
/// INV-11: as for `owned`.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: INV-11: the reference stays the waker's, so it is not dropped here.
    let this = ManuallyDrop::new(unsafe { owned(data) });
    this.0.called(Called::Wake);
}

/// # Safety
///
/// INV-11: as for `owned`; the reference goes.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: INV-11: the waker is consumed.
    let this = unsafe { owned(data) };
    this.0.called(Called::Drop);
}
