//! The count of waiters and the break flag, one thread.

use netpoll_core::poll::waiters::{BreakFlag, Waiters};

#[test]
fn nobody_waits_at_first() {
    let waiters = Waiters::default();
    waiters.sub(0);
    assert_eq!(waiters.get(), 0);
}

#[test]
fn one_write_for_many_breaks() {
    let flag = BreakFlag::new();
    assert!(!flag.is_set());
    assert!(flag.set(), "the first one writes");
    assert!(!flag.set() && !flag.set(), "its write is under way");
    assert!(flag.is_set());
    assert!(flag.clear());
    assert!(!flag.clear(), "a poll that nobody asked to come back");
    assert!(flag.set());
}
