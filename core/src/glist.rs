//! Wakers on their way up: the poller fills the list, the scheduler drains it (Go's `gList`).
//!
//! Nothing is woken in the poll loop nor under a lock; what is to be run is a value.

use core::task::Waker;

/// At most `N` wakers, in the order in which their events came.
#[derive(Debug, Default)]
pub struct GList<const N: usize> {
    wakers: heapless::Vec<Waker, N>,
}

impl<const N: usize> GList<N> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { wakers: heapless::Vec::new() }
    }

    /// How many more wakers fit. [`PollDesc`](crate::poll_desc::PollDesc) asks before an event's
    /// compare-exchange: a waker taken with nowhere to put it is a lost task.
    #[inline]
    pub fn room(&self) -> usize {
        N - self.wakers.len()
    }

    /// How many wakers are in the list.
    #[inline]
    pub fn len(&self) -> usize {
        self.wakers.len()
    }

    /// True if there is nobody to wake.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// The waker that was appended last.
    #[inline]
    pub fn last(&self) -> Option<&Waker> {
        self.wakers.last()
    }

    /// Appends a waker.
    ///
    /// # Panics
    ///
    /// If the list is full: the caller did not look at [`GList::room`] first.
    #[inline]
    pub fn push(&mut self, waker: Waker) {
        assert!(
            self.wakers.push(waker).is_ok(),
            "GList: no room was left for a waker (look at room() first)"
        );
    }

    /// Takes all wakers out, first come first; the list is empty afterwards, however far the iterator came.
    #[inline]
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.wakers.drain(..)
    }
}
