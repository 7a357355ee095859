//! A tick as a machine word: the losses that a short word may have.

use netpoll_rt::internal::netpoll::clock::{
    SHIFT, is_representable, round_down, round_up, sleep_until, to_nanos,
};

const DAY: u64 = 86_400 * 1_000_000_000;

#[test]
fn a_word_comes_back_as_its_tick_or_a_little_later() {
    for now in [5, DAY, 51 * DAY, 52 * DAY + 1, 400 * DAY] {
        for ahead in [0, 1, 999, 1_000_000, 3_600_000_000_000, 12 * DAY] {
            let at = now + ahead;
            let tick = to_nanos(round_up(at), || now);
            assert!(
                is_representable(at, || now) && tick >= at && tick - at < 1 << SHIFT,
                "{at} at {now}: {tick}"
            );
        }
    }
}

#[test]
fn what_is_due_is_so_in_time_and_not_before() {
    for at in [1, 1 << 20, (1 << 20) + 1, DAY + 7] {
        assert!(to_nanos(round_down(at), || at) <= at);
        assert!(round_down(at - 1) < round_up(at) && round_up(at) <= round_down(at + (1 << SHIFT)));
    }
}

#[test]
fn only_a_short_word_has_an_end() {
    assert_eq!(SHIFT == 0, usize::BITS == 64);
    assert_eq!(is_representable(u64::MAX, || 0), SHIFT == 0);
    assert_eq!(sleep_until(Some(7)), (SHIFT == 0).then_some(7));
}
