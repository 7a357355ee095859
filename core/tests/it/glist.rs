//! The list of wakers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};

use netpoll_core::GList;

use crate::common::Task;

#[test]
fn wakers_come_out_in_order() {
    let mut list = GList::<3>::new();
    let tasks: Vec<_> = (0..3).map(|_| Task::new()).collect();
    assert!(list.is_empty() && list.room() == 3);
    for (n, (_, waker)) in tasks.iter().enumerate() {
        assert_eq!((list.len(), list.room()), (n, 3 - n));
        list.push(waker.clone()).expect("there is room");
        assert!(!list.is_empty());
    }
    let out: Vec<_> = list.drain().collect();
    assert!(list.is_empty() && list.room() == 3);
    assert!(out.iter().zip(&tasks).all(|(out, (_, waker))| out.will_wake(waker)));
    out.into_iter().for_each(|waker| waker.wake());
    assert!(tasks.iter().all(|(task, _)| task.wakes() == 1 && task.wakers() == 1));
}

#[test]
fn push_to_a_full_list_returns_the_waker() {
    let mut list = GList::<1>::new();
    let (task, waker) = Task::new();
    list.push(waker.clone()).expect("the list is empty");
    let back = list.push(waker.clone()).expect_err("the list is full");
    assert!(back.will_wake(&waker));
    drop(back);
    assert_eq!((list.len(), task.wakers()), (1, 2));
}

#[test]
fn append_moves_as_many_as_fit() {
    let (task, waker) = Task::new();
    let (mut one, mut two) = (GList::<2>::new(), GList::<2>::new());
    for list in [&mut one, &mut two] {
        list.push(waker.clone()).expect("there is room");
    }
    two.push(waker.clone()).expect("there is room");
    one.append(&mut two);
    assert_eq!((one.len(), two.len(), task.wakers()), (2, 1, 4));
    assert_eq!((one.wake(), two.wake()), (2, 1));
    assert_eq!((task.wakes(), task.wakers()), (3, 1));
}

/// A waker whose `wake` panics.
struct Hostile;

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        panic!("a hostile waker");
    }
}

#[test]
fn a_panicking_waker_does_not_stop_the_others() {
    let (task, waker) = Task::new();
    let mut list = GList::<3>::new();
    for waker in [waker.clone(), Waker::from(Arc::new(Hostile)), waker] {
        list.push(waker).expect("there is room");
    }
    assert!(catch_unwind(AssertUnwindSafe(|| list.wake())).is_err());
    assert_eq!((task.wakes(), task.wakers()), (2, 0));
}

#[test]
fn a_list_that_is_dropped_drops_its_wakers() {
    let (task, waker) = Task::new();
    let mut list = GList::<2>::new();
    list.push(waker.clone()).expect("there is room");
    list.push(waker.clone()).expect("there is room");
    let mut drain = list.drain();
    assert!(drain.next().is_some());
    drop(drain);
    assert_eq!((list.len(), task.wakers(), task.wakes()), (0, 1, 0));
}
