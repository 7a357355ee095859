//! The lock of the poller, in one thread.

use netpoll_core::sched::poller_lock::PollerLock;

#[test]
fn a_locked_poller_cannot_be_locked_again() {
    let poller = PollerLock::default();
    assert!(!poller.is_locked());
    assert!(poller.try_lock(3));
    assert!(poller.is_locked() && !poller.try_lock(3) && !poller.try_lock(0));
    poller.unlock();
    assert!(!poller.is_locked() && poller.try_lock(0));
}

/// Worker 0 is an owner like any other, and a free lock is not owned by worker 0.
#[test]
fn only_the_blocking_worker_is_parked_in_the_poller() {
    let poller = PollerLock::new();
    let blocked = || [0, 1].map(|who| poller.is_parked_in_poller(who));
    assert_eq!(blocked(), [false; 2]);
    assert!(poller.try_lock(0));
    assert_eq!(blocked(), [false; 2], "it polls and does not block");
    poller.set_poll_until(Some(0));
    assert_eq!(blocked(), [true, false]);
    poller.clear_poll_until();
    assert_eq!(blocked(), [false; 2], "it has returned");
    poller.unlock();
    assert!(poller.try_lock(1));
    poller.set_poll_until(None);
    assert_eq!(blocked(), [false, true]);
}

#[test]
fn only_an_earlier_tick_needs_a_break() {
    let poller = PollerLock::new();
    assert!(poller.try_lock(0));
    assert!(!poller.needs_wakeup(0), "no thread sleeps");
    poller.set_poll_until(Some(10));
    assert_eq!([0, 9, 10, 11].map(|tick| poller.needs_wakeup(tick)), [true, true, false, false]);
    poller.set_poll_until(None);
    assert_eq!([0, 10, usize::MAX - 1].map(|tick| poller.needs_wakeup(tick)), [true; 3]);
    poller.clear_poll_until();
    assert!(!poller.needs_wakeup(0));
}

#[test]
fn ticks_wrap() {
    let poller = PollerLock::new();
    let wakes = |tick| poller.needs_wakeup(tick);
    poller.set_poll_until(Some(5));
    assert_eq!(
        [usize::MAX - 9, 4, 5, 6].map(wakes),
        [true, true, false, false],
        "the sleep ends after the wrap"
    );
    poller.set_poll_until(Some(usize::MAX - 9));
    assert_eq!([usize::MAX - 10, usize::MAX - 9, usize::MAX - 8, 5].map(wakes), [true, false, false, false]);
}

/// The tick has the value of a reserved word.
#[test]
fn a_reserved_tick_still_counts_as_blocked() {
    let poller = PollerLock::new();
    assert!(poller.try_lock(0));
    poller.set_poll_until(Some(0));
    assert!(poller.needs_wakeup(0), "tick 0 does not mean that no thread sleeps");
    poller.set_poll_until(Some(usize::MAX));
    assert!(poller.needs_wakeup(usize::MAX - 2));
}

/// The largest index plus one would look like a free lock.
#[test]
fn the_largest_worker_index_locks_like_any_other() {
    let poller = PollerLock::new();
    assert!(poller.try_lock(usize::MAX) && !poller.try_lock(usize::MAX) && !poller.try_lock(0));
    poller.set_poll_until(None);
    assert!(poller.is_parked_in_poller(usize::MAX));
    poller.clear_poll_until();
    poller.unlock();
    assert!(poller.try_lock(0));
}
