//! A list that anybody may push to and that its owner takes whole: tasks made ready by other threads, edits of a timer
//! wheel.
//!
//! The head is the word of the item pushed last, each item's [`Link`] names the one before it. A push is one
//! compare-exchange, in a loop that goes round only when somebody else has pushed. The owner takes all with one swap, so
//! no item is ever popped from under a push and the ABA problem does not arise.
//!
//! What is taken comes in reverse; [`Inbox::take`] turns it round.
//!
//! An item is in one list at a time and its link is touched by nobody else meanwhile (INV-9).

use crate::sync::{AtomicUsize, Ordering};

/// The place in an item where the list keeps the word of the next one.
#[derive(Debug)]
pub struct Link {
    next: AtomicUsize,
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// Of an item in no list.
    pub fn new() -> Self {
        Self { next: AtomicUsize::new(0) }
    }
}

/// The list. A word that is 0 means "none"; items have others.
#[derive(Debug)]
pub struct Inbox {
    head: AtomicUsize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An empty list.
    pub fn new() -> Self {
        Self { head: AtomicUsize::new(0) }
    }

    /// Anybody: pushes an item by its word and its link; true if the list was empty, so that the owner may have to be
    /// woken. Lock-free; may run in an interrupt handler.
    ///
    /// # Memory ordering
    ///
    /// What happened before is visible to who takes the item out.
    pub fn push(&self, item: usize, link: &Link) -> bool {
        // alone: a first guess; the compare-exchange decides
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // alone: the compare-exchange releases it
            link.next.store(head, Ordering::Relaxed);
            // Release: the item and its link, to who takes them.
            match self.head.compare_exchange(head, item, Ordering::Release, Ordering::Relaxed) // pair: inbox::take
            {
                Ok(_) => return head == 0,
                Err(found) => head = found,
            }
        }
    }

    /// Owner: takes all items out; gives the first in the order of the pushes, 0 if there is none. `link` finds the
    /// link of an item; [`Inbox::after`] then gives the next.
    pub fn take<'a>(&self, link: impl Fn(usize) -> &'a Link) -> usize {
        // Acquire: every item and its link (each push is a read-modify-write, so the last one's release covers all).
        let mut item = self.head.swap(0, Ordering::Acquire); // pair: inbox::push
        let mut first = 0;
        while item != 0 {
            let link = link(item);
            // alone: acquired above
            let before = link.next.load(Ordering::Relaxed);
            // alone: the list is the owner's now
            link.next.store(first, Ordering::Relaxed);
            first = item;
            item = before;
        }
        first
    }

    /// Owner: the item that follows the one of `link` in what was taken, 0 after the last.
    pub fn after(link: &Link) -> usize {
        // alone: the list is the owner's now
        link.next.load(Ordering::Relaxed)
    }

    /// Anybody: nothing to take; looked at after a fence by an owner that is about to sleep.
    pub fn is_empty(&self) -> bool {
        // alone: the fence made it fresh enough
        self.head.load(Ordering::Relaxed) == 0
    }
}
