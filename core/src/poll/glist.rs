//! A list of wakers: the poller fills it, the scheduler drains it (Go's `gList`).
//!
//! No waker is woken in the poll loop or under a lock. The tasks to run are a return value.

use core::task::Waker;

/// A list of at most `N` wakers, in the order in which their events came. Dropping it wakes no task: drain
/// it.
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

    /// Returns how many more wakers fit. [`PollDesc::ready`](crate::PollDesc::ready) looks before it takes a
    /// waker out, so that no waker is without a place.
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

    /// Appends a waker.
    ///
    /// # Errors
    ///
    /// Returns the waker if the list is full. Look at [`GList::room`] first, or wake it.
    #[inline]
    pub fn push(&mut self, waker: Waker) -> Result<(), Waker> {
        self.wakers.push(waker)
    }

    /// Moves wakers of another list to the end of this one, in order, as long as there is room. The others
    /// stay in their list.
    #[inline]
    pub fn append<const M: usize>(&mut self, other: &mut GList<M>) {
        let fits = self.room().min(other.len());
        self.wakers.extend(other.wakers.drain(..fits));
    }

    /// Takes all wakers out, in order. The list is empty afterwards, however many the caller has taken from
    /// the iterator.
    #[inline]
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.wakers.drain(..)
    }

    /// Wakes every task in the list, and returns their number. Call it with no lock held. If a waker panics,
    /// the others are woken before the panic goes on.
    pub fn wake(self) -> usize {
        let woken = self.len();
        let mut rest = Rest(self.wakers.into_iter());
        rest.by_ref().for_each(Waker::wake);
        woken
    }
}

/// The wakers that have not been woken yet. Dropping it wakes them, which happens only while a panic unwinds.
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
