//! Fault injection switched off: functions that compile to nothing. [`inject.rs`](../inject.rs) is its
//! counterpart in builds with `--cfg netpoll_door`, and has the contract of each function.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netpoll_core::{Event, PollKey};
use rustix::io::Errno;

use super::Call;

/// Lets a call on a descriptor proceed.
#[inline(always)]
pub(super) fn before(_call: Call, _fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(())
}

/// Lets a call that creates a descriptor, or needs none, proceed.
#[inline(always)]
pub(super) fn before_new(_call: Call) -> Result<(), Errno> {
    Ok(())
}

/// Returns `length`.
#[inline(always)]
pub(super) fn truncate(_call: Call, _fd: BorrowedFd<'_>, length: usize) -> usize {
    length
}

/// Returns the kernel's result.
#[inline(always)]
pub(super) fn after<T>(_call: Call, _fd: impl AsRawFd, result: Result<T, Errno>) -> Result<T, Errno> {
    result
}

/// The part of a poller that fault injection owns: nothing.
#[derive(Debug)]
pub(super) struct PollerHook;

impl PollerHook {
    /// Creates the value.
    #[inline(always)]
    pub(super) fn new(_wake: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(PollerHook)
    }

    /// Ignores that the poller has opened a descriptor.
    #[inline(always)]
    pub(super) fn opened(&self, _fd: BorrowedFd<'_>, _key: PollKey) {}

    /// Ignores that the poller is about to close a descriptor.
    #[inline(always)]
    pub(super) fn closing(&self, _fd: BorrowedFd<'_>) {}

    /// Returns the timeout.
    #[inline(always)]
    pub(super) fn cap_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        timeout
    }

    /// Leaves the kernel's events as they are.
    #[inline(always)]
    pub(super) fn alter(&self, _batch: &mut EventBatch, _limit: usize, _kernel: impl Iterator<Item = Event>) {
    }
}

/// The events that one wait returns in place of the kernel's: never any.
#[derive(Debug, Default)]
pub(super) struct EventBatch(());

impl EventBatch {
    /// Returns `None`: the kernel's events count.
    #[inline(always)]
    pub(super) fn len(&self) -> Option<usize> {
        None
    }

    /// Returns `None`: the kernel's events count.
    #[inline(always)]
    pub(super) fn get(&self, _index: usize) -> Option<Event> {
        None
    }
}
