//! The lock of the poller, one thread.

use netpoll_core::sched::poller_lock::PollerLock;

#[test]
fn one_at_a_time() {
    let poller = PollerLock::default();
    assert!(!poller.is_locked());
    assert!(poller.try_lock(3));
    assert!(poller.is_locked() && !poller.try_lock(3) && !poller.try_lock(0));
    poller.unlock();
    assert!(!poller.is_locked() && poller.try_lock(0));
}

/// Worker 0 is a holder like any other, and a free lock is not held by worker 0.
#[test]
fn who_blocks_is_known() {
    let poller = PollerLock::new();
    let blocked = || [0, 1].map(|who| poller.is_parked_in_poller(who));
    assert_eq!(blocked(), [false; 2]);
    assert!(poller.try_lock(0));
    assert_eq!(blocked(), [false; 2], "it polls and does not block");
    poller.set_poll_until(Some(0));
    assert_eq!(blocked(), [true, false]);
    poller.clear_poll_until();
    assert_eq!(blocked(), [false; 2], "it is back");
    poller.unlock();
    assert!(poller.try_lock(1));
    poller.set_poll_until(None);
    assert_eq!(blocked(), [false, true]);
}

#[test]
fn only_an_earlier_tick_needs_a_break() {
    let poller = PollerLock::new();
    assert!(poller.try_lock(0));
    assert!(!poller.needs_wakeup(0), "nobody sleeps");
    poller.set_poll_until(Some(10));
    assert_eq!([0, 9, 10, 11].map(|tick| poller.needs_wakeup(tick)), [true, true, false, false]);
    poller.set_poll_until(None);
    assert_eq!([0, 10, usize::MAX - 1].map(|tick| poller.needs_wakeup(tick)), [true; 3]);
    poller.clear_poll_until();
    assert!(!poller.needs_wakeup(0));
}

/// A tick that looks like one of the words for something else.
#[test]
fn a_sleeper_is_a_sleeper_whatever_its_tick() {
    let poller = PollerLock::new();
    assert!(poller.try_lock(0));
    poller.set_poll_until(Some(0));
    assert!(poller.needs_wakeup(0), "tick 0 is not nobody");
    poller.set_poll_until(Some(usize::MAX));
    assert!(poller.needs_wakeup(usize::MAX - 2));
}

/// The last number plus one would read as a free lock.
#[test]
fn the_last_number_takes_the_turn_like_any() {
    let poller = PollerLock::new();
    assert!(poller.try_lock(usize::MAX) && !poller.try_lock(usize::MAX) && !poller.try_lock(0));
    poller.set_poll_until(None);
    assert!(poller.is_parked_in_poller(usize::MAX));
    poller.clear_poll_until();
    poller.unlock();
    assert!(poller.try_lock(0));
}
