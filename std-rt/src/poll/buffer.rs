//! The wakers that a poll returns.

use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use crate::foreign;
use crate::netpoll::{Netpoll, PollBuffer};

/// The buffers of a poll, and the wakers that it returns. Reuse it, so that a poll allocates nothing.
///
/// Wakers that are still in it when it is dropped are woken.
pub struct Buffer {
    inner: PollBuffer,
    /// The poller, and the number of tasks that the last poll has taken from descriptors.
    woken: Option<(Arc<Netpoll>, usize)>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffer {
    /// Creates a buffer that takes up to 256 events from the kernel at a time, in 20 KiB.
    pub fn new() -> Self {
        Self { inner: PollBuffer::new(), woken: None }
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
        Drain { counted: self.woken.take(), wakers: self.inner.drain() }
    }

    /// Makes a poll, which returns the number of tasks that it has taken from descriptors.
    pub(super) fn fill(
        &mut self,
        netpoll: &Arc<Netpoll>,
        poll: impl FnOnce(&mut PollBuffer) -> io::Result<usize>,
    ) -> io::Result<()> {
        let polled = poll(&mut self.inner);
        // After the poller is unlocked: the waker of a dropped timer may be the last reference to a task.
        self.inner.drop_removed();
        let taken = self.inner.taken();
        self.woken = (taken > 0).then(|| (netpoll.clone(), taken));
        polled.map(|_| ())
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

/// The wakers on their way to the caller. They count as parked until it has made them runnable.
struct Drain<I: Iterator<Item = Waker>> {
    wakers: I,
    counted: Option<(Arc<Netpoll>, usize)>,
}

impl<I: Iterator<Item = Waker>> Iterator for Drain<I> {
    type Item = Waker;

    fn next(&mut self) -> Option<Waker> {
        self.wakers.next()
    }
}

impl<I: Iterator<Item = Waker>> Drop for Drain<I> {
    fn drop(&mut self) {
        foreign::wake_all(self.wakers.by_ref());
        if let Some((netpoll, n)) = mem::take(&mut self.counted) {
            netpoll.sub_waiters(n);
        }
    }
}
