//! The wakers that a poll returns.

use std::fmt;
use std::io;
use std::task::Waker;

use crate::foreign;
use crate::netpoll::PollBuffer;

/// The buffers of a poll, and the wakers that it returns. Reuse it, so that a poll allocates nothing.
///
/// Wakers that are still in it when it is dropped are woken.
pub struct Buffer {
    inner: PollBuffer,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffer {
    /// Creates a buffer that takes up to 256 events from the kernel at a time, in 20 KiB.
    pub fn new() -> Self {
        Self { inner: PollBuffer::new() }
    }

    /// Limits the next polls to `n` events, 1 to 256. The others stay in the kernel until the poll after.
    pub fn set_limit(&mut self, n: usize) {
        self.inner.limit(n);
    }

    /// Returns the number of wakers.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns whether there is no waker.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Takes the wakers out, in the order of their events. The caller wakes each of them. Those that it does not take from the
    /// iterator are woken when the iterator is dropped.
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> + '_ {
        Drain(self.inner.drain())
    }

    /// Makes a poll.
    pub(super) fn fill(&mut self, poll: impl FnOnce(&mut PollBuffer) -> io::Result<()>) -> io::Result<()> {
        let polled = poll(&mut self.inner);
        // After the poller is unlocked: the waker of a dropped timer may be the last reference to a task.
        self.inner.drop_removed();
        polled
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        drop(self.drain());
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The wakers on their way to the caller. Dropping it wakes those that are left.
struct Drain<I: Iterator<Item = Waker>>(I);

impl<I: Iterator<Item = Waker>> Iterator for Drain<I> {
    type Item = Waker;

    fn next(&mut self) -> Option<Waker> {
        self.0.next()
    }
}

impl<I: Iterator<Item = Waker>> Drop for Drain<I> {
    fn drop(&mut self) {
        foreign::wake_all(self.0.by_ref());
    }
}
