//! The door without a table of faults: nothing is left of it in the program. [`door.rs`](../door.rs) is the other one,
//! and says what each function is for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netpoll_core::poll_key::{Event, PollKey};
use rustix::io::Errno;

use super::Call;

/// Asked before a call is made on a descriptor, each time that it is made.
#[inline(always)]
pub(super) fn ask(_call: Call, _fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(())
}

/// Asked before a call that makes a descriptor, or that has none.
#[inline(always)]
pub(super) fn ask_new(_call: Call) -> Result<(), Errno> {
    Ok(())
}

/// How many of `length` bytes the call may pass to the kernel; at least one, unless it is none.
#[inline(always)]
pub(super) fn cut(_call: Call, _fd: BorrowedFd<'_>, length: usize) -> usize {
    length
}

/// Told the result of a call that the kernel carries out even when it reports an error: it has been made, whatever is
/// said of it.
#[inline(always)]
pub(super) fn told<T>(_call: Call, _fd: impl AsRawFd, result: Result<T, Errno>) -> Result<T, Errno> {
    result
}

/// What the door keeps of a poller.
#[derive(Debug)]
pub(super) struct Watch;

impl Watch {
    /// `wake`: eight bytes written to it end the poller's sleep.
    #[inline(always)]
    pub(super) fn new(_wake: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Watch)
    }

    /// The poller watches the descriptor under this key.
    #[inline(always)]
    pub(super) fn opened(&self, _fd: BorrowedFd<'_>, _key: PollKey) {}

    /// The poller is about to stop watching the descriptor.
    #[inline(always)]
    pub(super) fn closing(&self, _fd: BorrowedFd<'_>) {}

    /// How long a wait may sleep.
    #[inline(always)]
    pub(super) fn shorten(&self, timeout: Option<Duration>) -> Option<Duration> {
        timeout
    }

    /// The kernel's events of one wait, of which at most `limit` may be handed up.
    #[inline(always)]
    pub(super) fn disturb(&self, _batch: &mut Batch, _limit: usize, _kernel: impl Iterator<Item = Event>) {}
}

/// What one wait hands up in place of the kernel's events.
#[derive(Debug, Default)]
pub(super) struct Batch(());

impl Batch {
    /// How many events, if they are in the place of the kernel's.
    #[inline(always)]
    pub(super) fn len(&self) -> Option<usize> {
        None
    }

    /// One of them.
    #[inline(always)]
    pub(super) fn get(&self, _index: usize) -> Option<Event> {
        None
    }
}
