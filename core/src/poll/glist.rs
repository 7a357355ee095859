//! A list of wakers that are handed up: the poller fills it, the scheduler drains it (Go's `gList`).
//!
//! Nothing is woken in the poll loop nor under a lock; what is to be run is a value.

use core::task::Waker;

/// A list of at most `N` wakers, in the order in which their events came. A list that is dropped wakes no task: drain it.
#[derive(Debug, Default)]
#[must_use = "a waker that is dropped here is a lost wakeup"]
pub struct GList<const N: usize> {
    wakers: heapless::Vec<Waker, N>,
}

impl<const N: usize> GList<N> {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self { wakers: heapless::Vec::new() }
    }

    /// Returns how many more wakers fit. [`PollDesc`](crate::poll::desc::PollDesc) asks before an event's
    /// compare-exchange: a waker taken with nowhere to put it is a lost task.
    #[inline]
    pub fn room(&self) -> usize {
        N - self.wakers.len()
    }

    /// Returns how many wakers are in the list.
    #[inline]
    pub fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Returns whether there is no task to wake.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// Returns the waker that was appended last.
    #[inline]
    pub fn last(&self) -> Option<&Waker> {
        self.wakers.last()
    }

    /// Appends a waker. Returns it if the list is full.
    ///
    /// # Errors
    ///
    /// Returns the waker itself if there is no room: look at [`GList::room`] first, or wake it.
    #[inline]
    pub fn push(&mut self, waker: Waker) -> Result<(), Waker> {
        self.wakers.push(waker)
    }

    /// Moves wakers of another list to the end of this one, in order, as long as there is room; the others stay there.
    #[inline]
    pub fn append<const M: usize>(&mut self, other: &mut GList<M>) {
        let fits = self.room().min(other.len());
        self.wakers.extend(other.wakers.drain(..fits));
    }

    /// Takes all wakers out, first come first; the list is empty afterwards, however far the iterator came.
    #[inline]
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.wakers.drain(..)
    }

    /// Wakes every task in the list. Returns how many. The count of waiters falls by as many afterwards. If a waker panics
    /// the others are woken before the panic goes on.
    pub fn wake(self) -> usize {
        let woken = self.len();
        let mut rest = Rest(self.wakers.into_iter());
        rest.by_ref().for_each(Waker::wake);
        woken
    }
}

/// The wakers that have not been woken yet; the drop, which finds some only during unwinding, wakes them.
struct Rest<const N: usize>(heapless::vec::IntoIter<Waker, N, usize>);

impl<const N: usize> Iterator for Rest<N> {
    type Item = Waker;

    fn next(&mut self) -> Option<Waker> {
        self.0.next()
    }
}

impl<const N: usize> Drop for Rest<N> {
    fn drop(&mut self) {
        self.0.by_ref().for_each(Waker::wake);
    }
}
