//! The short-read hint, which is taken once.

use netpoll_core::poll::short_read::ShortReadHint;

#[test]
fn a_hint_is_taken_once() {
    let hint = ShortReadHint::default();
    assert!(!hint.take());
    hint.set(true);
    assert!(hint.take());
    assert!(!hint.take());
}

#[test]
fn the_hint_is_that_of_the_last_read() {
    let hint = ShortReadHint::new();
    hint.set(true);
    hint.set(false);
    assert!(!hint.take());
    hint.set(false);
    hint.set(true);
    assert!(hint.take());
}
