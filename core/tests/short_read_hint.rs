//! The short-read hint is told once.

use netpoll_core::short_read_hint::ShortReadHint;

#[test]
fn a_hint_is_taken_once() {
    let drained = ShortReadHint::default();
    assert!(!drained.take());
    drained.set(true);
    assert!(drained.take());
    assert!(!drained.take());
}

#[test]
fn the_last_read_decides() {
    let drained = ShortReadHint::new();
    drained.set(true);
    drained.set(false);
    assert!(!drained.take());
    drained.set(false);
    drained.set(true);
    assert!(drained.take());
}
