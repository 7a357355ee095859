//! Signals as events of a kqueue of their own, which the poller's watches like any other descriptor: as often as there are
//! listeners, for a kqueue has one filter for a signal. [`signal_pipe.rs`](../../signal_pipe.rs) is for other kernels.
//!
//! The filter counts each signal that is sent to the process, beside what the signal does: whatever handler there is, and
//! even if it is ignored or blocked.
//!
//! **INV-303**: *[`watch`] is called with a number for which sigaction(2) has been made: a signal's.*

use std::ffi::c_int;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent_timespec};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::Signal;

use super::backend::{AT_ONCE, change, make, udata};
use super::{Call, door};

/// In the handler there is nothing to do.
#[derive(Debug)]
pub struct Teller;

impl Teller {
    pub(super) fn tell(&self) {}
}

/// A kqueue: what becomes readable.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn source() -> io::Result<(OwnedFd, Teller)> {
    Ok((make()?, Teller))
}

/// Adds the filter of a signal, which tells from now on how often it came. `number` is one that has a handler.
pub(super) fn watch(source: BorrowedFd<'_>, number: c_int) -> io::Result<()> {
    // SAFETY: INV-303: it is the number of a signal, and goes to the kernel, not to a handler.
    let signal = unsafe { Signal::from_raw_unchecked(number) };
    let filter = EventFilter::Signal { signal, times: 0 };
    retry_on_intr(|| door::ask(Call::PollerOpen, source))?;
    Ok(change(source, &[Event::new(filter, EventFlags::ADD | EventFlags::CLEAR, udata(0))])?)
}

/// Takes the event: as many signals as have come count as one.
///
/// # Errors
///
/// `WouldBlock` if none has come.
pub fn take(source: BorrowedFd<'_>) -> io::Result<()> {
    let mut event = [Event::new(EventFilter::Read(-1), EventFlags::empty(), udata(0))];
    let taken = retry_on_intr(|| {
        door::ask(Call::PollerWait, source)?;
        // SAFETY: no number is handed over here, nor is there a filter of one (INV-7).
        unsafe { kevent_timespec(source, &[], &mut event[..], Some(&AT_ONCE)) }
    })?;
    if taken > 0 { Ok(()) } else { Err(Errno::AGAIN.into()) }
}
