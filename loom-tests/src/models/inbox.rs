//! Models of `inbox`: what is pushed is taken once, whole, and in its producer's order.

use std::sync::Arc;

use loom::sync::Notify;
use netpoll_core::inbox::{Inbox, Link};

use super::kit::{Plain, race, race3};
use crate::harness::{Expect, Model};

/// The models of this word.
pub const MODELS: &[Model] = &[
    green("m13c_two_pushes_against_take", 2, None, two_pushes),
    green("m13c_two_producers_against_take", 3, Some(3), two_producers),
    green("m13c_take_then_push_again", 2, None, take_then_push_again),
    green("m13c_first_push_wakes_the_owner", 3, Some(3), first_push_wakes),
];

const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// A list, and three items with a payload each: number `n` has the word `n`, and 0 is none.
struct Rig {
    inbox: Inbox,
    items: [(Link, Plain<usize>); 3],
    owner: Notify,
}

impl Rig {
    fn new() -> Arc<Rig> {
        let items = [(); 3].map(|()| (Link::new(), Plain::new(0)));
        Arc::new(Rig { inbox: Inbox::new(), items, owner: Notify::new() })
    }

    /// Puts the payload into the item and pushes it; true if the list was empty.
    fn push(&self, item: usize) -> bool {
        let (link, payload) = &self.items[item - 1];
        payload.set(item);
        self.inbox.push(item, link)
    }

    /// Takes all, with each payload out of its item.
    fn take(&self) -> Vec<usize> {
        let link = |item: usize| &self.items[item - 1].0;
        let mut taken = Vec::new();
        let mut item = self.inbox.take(link);
        while item != 0 {
            assert!(taken.len() < self.items.len(), "model: an item is taken twice");
            let payload = self.items[item - 1].1.replace(0);
            assert!(payload == item, "model: item {item} came with payload {payload}");
            taken.push(item);
            item = Inbox::after(link(item));
        }
        taken
    }
}

/// One producer: all come, in the order of their pushes.
fn two_pushes() {
    let rig = Rig::new();
    let (mut taken, _) = race(&rig, Rig::take, |rig| (rig.push(1), rig.push(2)));
    taken.extend(rig.take());
    assert!(taken == [1, 2], "model: {taken:?} were taken");
    assert!(rig.inbox.is_empty(), "model: something is left");
}

/// Two producers: all come once, and each one's in its order.
fn two_producers() {
    let rig = Rig::new();
    let (mut taken, ..) = race3(&rig, Rig::take, |rig| (rig.push(1), rig.push(2)), |rig| rig.push(3));
    taken.extend(rig.take());
    let place = |item| taken.iter().position(|taken| *taken == item);
    assert!(taken.len() == 3 && place(3).is_some(), "model: {taken:?} were taken");
    assert!(place(1).is_some() && place(1) < place(2), "model: {taken:?}: one producer's order was lost");
}

/// The owner pushes what it has just taken, as a task is that was woken again, against another producer.
fn take_then_push_again() {
    let rig = Rig::new();
    rig.push(1);
    let again = |rig: &Rig| {
        let taken = rig.take();
        for item in &taken {
            rig.push(*item);
        }
        taken.len()
    };
    let (taken, _) = race(&rig, again, |rig| rig.push(2));
    assert!(taken == 1 || taken == 2, "model: {taken} were taken");
    let mut left = rig.take();
    left.sort_unstable();
    assert!(left == [1, 2], "model: {left:?} are left");
}

/// The owner sleeps when it finds nothing: whoever pushed into the empty list wakes it, and nobody else has to.
fn first_push_wakes() {
    let push = |item| {
        move |rig: &Rig| {
            if rig.push(item) {
                rig.owner.notify();
            }
        }
    };
    let take_two = |rig: &Rig| {
        let mut taken = rig.take();
        while taken.len() < 2 {
            rig.owner.wait();
            taken.extend(rig.take());
        }
        taken.sort_unstable();
        taken
    };
    let (taken, (), ()) = race3(&Rig::new(), take_two, push(1), push(2));
    assert!(taken == [1, 2], "model: {taken:?} were taken");
}
