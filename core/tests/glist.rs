//! The list that goes up.

mod kit;

use std::panic::{AssertUnwindSafe, catch_unwind};

use kit::Task;
use netpoll_core::glist::GList;

#[test]
fn first_come_first_out() {
    let mut list = GList::<3>::new();
    let tasks: Vec<_> = (0..3).map(|_| Task::new()).collect();
    assert!(list.is_empty() && list.room() == 3);
    for (n, (_, waker)) in tasks.iter().enumerate() {
        assert_eq!((list.len(), list.room()), (n, 3 - n));
        list.push(waker.clone());
        assert!(!list.is_empty());
    }
    let out: Vec<_> = list.drain().collect();
    assert!(list.is_empty() && list.room() == 3);
    assert!(out.iter().zip(&tasks).all(|(out, (_, waker))| out.will_wake(waker)));
    out.into_iter().for_each(|waker| waker.wake());
    assert!(tasks.iter().all(|(task, _)| task.wakes() == 1 && task.wakers() == 1));
}

#[test]
fn a_waker_without_room_is_loud() {
    let mut list = GList::<1>::new();
    let (task, waker) = Task::new();
    list.push(waker.clone());
    let push = catch_unwind(AssertUnwindSafe(|| list.push(waker.clone())));
    assert!(push.is_err());
    assert_eq!((list.len(), task.wakers()), (1, 2));
}

#[test]
fn a_list_that_is_dropped_drops_its_wakers() {
    let (task, waker) = Task::new();
    let mut list = GList::<2>::new();
    list.push(waker.clone());
    list.push(waker.clone());
    let mut drain = list.drain();
    assert!(drain.next().is_some());
    drop(drain);
    assert_eq!((list.len(), task.wakers(), task.wakes()), (0, 1, 0));
}
