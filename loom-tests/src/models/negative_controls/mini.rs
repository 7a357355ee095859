//! The protocol of `sema` and `desc` with one direction, small enough to build known faults into it.

use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::thread;
use netpoll_core::sync::{AtomicUsize, Ordering, fence};

use super::super::support::Plain;

/// The fault of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// The control, which has no fault.
    None,
    /// Go's version, with each access sequentially consistent and no fence. It is right in Go and in C++.
    /// Loom treats such an access as acquire and release, so it cannot prove this version, which is why the
    /// words have fences.
    SeqCstText,
    /// Each access acquires and releases, and there is no fence: wrong everywhere.
    NoFence,
    /// The waiter leaves by a load and a store: a readiness that comes between the two is lost.
    LoadStoreExit,
    /// The slot is taken without BUSY: a poll that comes before the take writes the slot at the same time.
    BareSlot,
}

const NIL: usize = 0;
const READY: usize = 1;
const WAIT: usize = 2;
const PARKED: usize = 3;
const STATE: usize = 3;
const BUSY: usize = 4;

const CLOSING: usize = 1;
const EXPIRED: usize = 1;

/// The reason why a wait is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Closing,
    Timeout,
}

/// A descriptor with one direction, and the kernel's queue of messages.
pub struct Mini {
    flaw: Flaw,
    info: AtomicUsize,
    deadline: AtomicUsize,
    rg: AtomicUsize,
    slot: Plain<Option<Waker>>,
    queue: loom::sync::Mutex<usize>,
}

impl Mini {
    pub fn new(flaw: Flaw) -> Arc<Mini> {
        let word = || AtomicUsize::new(0);
        let (info, deadline, rg) = (word(), word(), word());
        Arc::new(Mini { flaw, info, deadline, rg, slot: Plain::new(None), queue: loom::sync::Mutex::new(0) })
    }

    fn load(&self, word: &AtomicUsize) -> usize {
        let order = if self.flaw == Flaw::SeqCstText { Ordering::SeqCst } else { Ordering::Acquire };
        word.load(order)
    }

    fn swap(&self, word: &AtomicUsize, new: usize) {
        let order = if self.flaw == Flaw::SeqCstText { Ordering::SeqCst } else { Ordering::AcqRel };
        word.swap(new, order);
    }

    fn cas(&self, old: usize, new: usize) -> bool {
        let text = self.flaw == Flaw::SeqCstText;
        let (order, failure) =
            if text { (Ordering::SeqCst, Ordering::SeqCst) } else { (Ordering::AcqRel, Ordering::Acquire) };
        self.rg.compare_exchange(old, new, order, failure).is_ok()
    }

    fn fence(&self) {
        if !matches!(self.flaw, Flaw::SeqCstText | Flaw::NoFence) {
            fence(Ordering::SeqCst);
        }
    }

    fn check_err(&self) -> Result<(), Refused> {
        if self.load(&self.info) == CLOSING {
            Err(Refused::Closing)
        } else if self.load(&self.deadline) == EXPIRED {
            Err(Refused::Timeout)
        } else {
            Ok(())
        }
    }

    /// Polls a task once, until a readiness, a refusal or a parking. A task that is unblocked for a reason
    /// that does not hold any more "pretends it has not happened" and waits again, as in Go, without another
    /// system call.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<(), Refused>> {
        loop {
            self.check_err()?;
            let old = self.load(&self.rg);
            if old & STATE == READY {
                self.leave();
                return Poll::Ready(Ok(()));
            }
            if old & BUSY != 0 || !self.cas(old, WAIT) {
                thread::yield_now();
                continue;
            }
            self.fence();
            if let Err(refused) = self.check_err() {
                self.leave();
                return Poll::Ready(Err(refused));
            }
            self.slot.replace(Some(waker.clone()));
            if self.cas(WAIT, PARKED) {
                return Poll::Pending;
            }
            self.slot.replace(None);
            if self.leave() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ends a wait that did not park: sets NIL, and returns whether a readiness had come.
    fn leave(&self) -> bool {
        loop {
            let old = self.load(&self.rg);
            if self.flaw == Flaw::LoadStoreExit {
                self.rg.store(old & BUSY, Ordering::Release);
            } else if !self.cas(old, old & BUSY) {
                continue;
            }
            return old & STATE == READY;
        }
    }

    /// Unblocks. Returns the waker of a parked task.
    fn unblock(&self, ready: bool) -> Option<Waker> {
        loop {
            let old = self.load(&self.rg);
            let state = old & STATE;
            if state == READY || (state == NIL && !ready) {
                return None;
            }
            let busy = if state == PARKED && self.flaw != Flaw::BareSlot { BUSY } else { 0 };
            let new = old & BUSY | if ready { READY } else { NIL } | busy;
            if !self.cas(old, new) {
                continue;
            }
            if state != PARKED {
                return None;
            }
            let waker = self.slot.replace(None);
            if busy != 0 {
                self.rg.fetch_and(!BUSY, Ordering::Release);
            }
            return waker;
        }
    }

    /// Unblocks and wakes.
    pub fn wake(&self, ready: bool) {
        if let Some(waker) = self.unblock(ready) {
            waker.wake();
        }
    }

    pub fn close(&self) {
        self.swap(&self.info, CLOSING);
        self.fence();
        self.wake(false);
    }

    pub fn fire(&self) {
        self.swap(&self.deadline, EXPIRED);
        self.fence();
        self.wake(false);
    }

    pub fn clear_deadline(&self) {
        self.swap(&self.deadline, 0);
    }

    /// Queues a message and delivers its event.
    pub fn arrive(&self) {
        *self.queue.lock().expect("no model panics in the kernel") += 1;
        self.wake(true);
    }

    fn try_read(&self) -> bool {
        let mut queue = self.queue.lock().expect("no model panics in the kernel");
        let found = *queue > 0;
        *queue -= usize::from(found);
        found
    }

    /// Reads a message: resets, tries, waits, starts over.
    pub async fn read(&self) -> Result<(), Refused> {
        loop {
            self.check_err()?;
            if self.load(&self.rg) & STATE == READY {
                self.leave();
            }
            if self.try_read() {
                return Ok(());
            }
            std::future::poll_fn(|cx| self.poll(cx.waker())).await?;
        }
    }
}
