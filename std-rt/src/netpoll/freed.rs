//! Who waits for a descriptor of this process to become free: loops that accept and found none left.
//!
//! The table of descriptors is the process's, so this is too: a connection that any runtime closes is room for every
//! listener. What others close, std's files for example, is not seen here, nor is memory that the kernel gets back after
//! close(2) has returned: who waits has a timer as well.
//!
//! # Why nobody is forgotten
//!
//! | who starves | who closes |
//! |---|---|
//! | 1. [`Wish::renew`]: enters the list, sets the flag | 1. close(2) |
//! | 2. tries accept(2) again | 2. [`tell`]: looks at the flag |
//!
//! Both calls pass through the kernel's lock of the table of descriptors. If the attempt was there first, then so was the
//! flag, and the closer sees it. If close was there first, the attempt finds the number.

use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use netpoll_core::sync::Flag;

use crate::foreign;

/// None until somebody starves for the first time.
static STARVING: OnceLock<Starving> = OnceLock::new();

#[derive(Debug, Default)]
struct Starving {
    /// The list is not empty.
    waiting: Flag,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    entered: Vec<(u64, Waker)>,
    /// How many have ever entered.
    numbers: u64,
}

impl List {
    /// The waker of a wish that has not been told yet.
    fn find(&mut self, number: Option<u64>) -> Option<&mut Waker> {
        let found = self.entered.iter_mut().find(|(entered, _)| Some(*entered) == number);
        found.map(|(_, waker)| waker)
    }
}

impl Starving {
    fn lock(&self) -> MutexGuard<'_, List> {
        // Nothing foreign runs under it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All are told, not one: whoever is told may have no use for the number, as it finds no connection, or is dropped.
    #[cold]
    fn tell(&self) {
        let told = {
            let mut list = self.lock();
            self.waiting.clear();
            mem::take(&mut list.entered)
        };
        foreign::wake_all(told.into_iter().map(|(_, waker)| waker));
    }
}

/// A descriptor was closed. As long as nobody starves this is a load, or two.
///
/// Not to be called for one that was made by the attempt of who starves: he would tell himself, and spin.
#[inline]
pub fn tell() {
    if let Some(starving) = STARVING.get()
        && starving.waiting.is_set()
    {
        starving.tell();
    }
}

/// The wish to be told once of the next descriptor that is closed. Dropped: withdrawn.
#[derive(Debug, Default)]
pub struct Wish {
    number: Option<u64>,
}

impl Wish {
    /// Enters the list, or stays there with another waker. True if it was not there: what was freed before may have
    /// gone unheard, so the next thing to do is one more attempt.
    pub fn renew(&mut self, waker: &Waker) -> bool {
        let starving = STARVING.get_or_init(Starving::default);
        if starving.lock().find(self.number).is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        let waker = waker.clone();
        let mut list = starving.lock();
        // It may have been told in between.
        if let Some(known) = list.find(self.number) {
            let replaced = mem::replace(known, waker);
            drop(list);
            drop(replaced);
            return false;
        }
        list.numbers += 1;
        let number = list.numbers;
        list.entered.push((number, waker));
        self.number = Some(number);
        starving.waiting.set();
        true
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let (Some(number), Some(starving)) = (self.number, STARVING.get()) else { return };
        let mut list = starving.lock();
        let place = list.entered.iter().position(|(entered, _)| *entered == number);
        let withdrawn = place.map(|place| list.entered.swap_remove(place));
        if list.entered.is_empty() {
            starving.waiting.clear();
        }
        drop(list);
        drop(withdrawn);
    }
}
