//! The turn to poll, one thread.

use netpoll_core::turn::Turn;

#[test]
fn one_at_a_time() {
    let turn = Turn::default();
    assert!(turn.is_free());
    assert!(turn.take(3));
    assert!(!turn.is_free() && !turn.take(3) && !turn.take(0));
    turn.release();
    assert!(turn.is_free() && turn.take(0));
}

/// Worker 0 is somebody, nobody is not worker 0.
#[test]
fn who_blocks_is_known() {
    let turn = Turn::new();
    let blocked = || [0, 1].map(|who| turn.is_blocked(who));
    assert_eq!(blocked(), [false; 2]);
    assert!(turn.take(0));
    assert_eq!(blocked(), [false; 2], "it polls and does not block");
    turn.block_until(Some(0));
    assert_eq!(blocked(), [true, false]);
    turn.unblock();
    assert_eq!(blocked(), [false; 2], "it is back");
    turn.release();
    assert!(turn.take(1));
    turn.block_until(None);
    assert_eq!(blocked(), [false, true]);
}

#[test]
fn only_an_earlier_tick_needs_a_break() {
    let turn = Turn::new();
    assert!(turn.take(0));
    assert!(!turn.needs_break(0), "nobody sleeps");
    turn.block_until(Some(10));
    assert_eq!([0, 9, 10, 11].map(|tick| turn.needs_break(tick)), [true, true, false, false]);
    turn.block_until(None);
    assert_eq!([0, 10, usize::MAX - 1].map(|tick| turn.needs_break(tick)), [true; 3]);
    turn.unblock();
    assert!(!turn.needs_break(0));
}

/// A tick that looks like one of the words for something else.
#[test]
fn a_sleeper_is_a_sleeper_whatever_its_tick() {
    let turn = Turn::new();
    assert!(turn.take(0));
    turn.block_until(Some(0));
    assert!(turn.needs_break(0), "tick 0 is not nobody");
    turn.block_until(Some(usize::MAX));
    assert!(turn.needs_break(usize::MAX - 2));
}

/// The number plus one would be nobody's.
#[test]
fn the_last_number_takes_the_turn_like_any() {
    let turn = Turn::new();
    assert!(turn.take(usize::MAX) && !turn.take(usize::MAX) && !turn.take(0));
    turn.block_until(None);
    assert!(turn.is_blocked(usize::MAX));
    turn.unblock();
    turn.release();
    assert!(turn.take(0));
}
