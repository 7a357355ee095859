//! The timer wheel against a sorted model, over virtual time.

use std::cell::Cell;

use netpoll_core::timer::{Array, OPEN_AT_ONCE, Wheel};

mod model;

use self::model::{Pair, any_scale, new_wheel};

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 31_557_600 * SECOND;
/// Digits of a deadline in base 64, which are the levels of the wheel.
const LEVELS: u32 = 11;

/// Returns 64^level, or the end of time.
fn span_of(level: u32) -> u64 {
    1u64.checked_shl(6 * level).unwrap_or(u64::MAX)
}

/// Returns the times just before and just after each level begins to count its next slot.
fn edges() -> impl Iterator<Item = u64> {
    (0..LEVELS).flat_map(|level| [1, 2, 63, 64].map(|k| span_of(level).saturating_mul(k) - 1))
}

#[test]
fn agrees_with_the_model_from_every_level_edge() {
    let mut random = fastrand::Rng::with_seed(64);
    let mut fired = 0;
    for (round, start) in edges().enumerate() {
        let mut pair = Pair::new(start);
        let span = span_of(1 + round as u32 % LEVELS);
        let pace = random.u32(2..12);
        for _ in 0..17_000 {
            pair.step(&mut random, span, pace);
        }
        pair.drain();
        fired += pair.fired;
    }
    assert!(fired > 100_000, "only {fired} fired");
}

#[test]
fn agrees_with_the_model_under_a_clock_that_jumps() {
    let mut random = fastrand::Rng::with_seed(10);
    let mut fired = 0;
    for round in 0..30 {
        let mut pair = Pair::new(YEAR);
        for _ in 0..10_000 {
            pair.step(&mut random, 100 * SECOND, 2 + round % 10);
            match random.u32(0..200) {
                0 => pair.turn(pair.now - 10 * SECOND, random.usize(1..40)),
                1 => pair.turn(pair.now - any_scale(&mut random, SECOND), random.usize(1..40)),
                2 => pair.turn(pair.now + any_scale(&mut random, 3 * 86_400 * SECOND), random.usize(1..40)),
                3..=9 => pair.turn(pair.now, 8),
                _ => {}
            }
        }
        pair.drain();
        fired += pair.fired;
    }
    assert!(fired > 50_000, "only {fired} fired");
}

#[test]
fn agrees_with_the_model_over_thirty_years() {
    let mut random = fastrand::Rng::with_seed(30);
    let mut pair = Pair::new(0);
    let mut operations = 0;
    while pair.now < 30 * YEAR {
        pair.step(&mut random, YEAR / 50, 2);
        operations += 1;
    }
    assert!(operations > 10_000, "{operations}");
    pair.drain();
    assert!(pair.fired > 1_000, "{}", pair.fired);
}

#[test]
fn next_is_the_earliest_deadline_when_nothing_is_taken_away() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut pair = Pair::new(3 * SECOND);
    for _ in 0..3_000 {
        pair.insert(pair.now + 1 + any_scale(&mut random, YEAR));
        assert_eq!(pair.wheel.next(), pair.earliest());
        if random.bool() {
            let next = pair.wheel.next().expect("one was just inserted");
            pair.turn(next, usize::MAX);
            assert_eq!(pair.wheel.next(), pair.earliest());
        }
    }
    assert!(pair.fired > 1_000);
}

#[test]
fn a_deadline_on_an_edge_fires_at_its_nanosecond() {
    for start in edges() {
        let mut pair = Pair::new(start);
        for level in 0..LEVELS {
            let span = span_of(level);
            for at in [span - 1, span, span + 1, start.saturating_add(span), start.saturating_add(span) - 1] {
                pair.insert(at);
            }
        }
        pair.turn(start, usize::MAX);
        while let Some(at) = pair.earliest() {
            let fired = pair.fired;
            pair.turn(at - 1, usize::MAX);
            assert_eq!(pair.fired, fired);
            pair.turn(at, usize::MAX);
            assert!(pair.fired > fired);
        }
    }
}

#[test]
fn the_end_of_time_is_a_deadline() {
    let mut wheel = new_wheel(0);
    let last = wheel.insert(u64::MAX, "last").unwrap();
    let other = wheel.insert(u64::MAX - 1, "other").unwrap();
    assert_eq!(wheel.next(), Some(u64::MAX - 1));
    assert_eq!(wheel.pop(30 * YEAR), None);
    assert_eq!(wheel.pop(u64::MAX - 1), Some((other, "other")));
    assert_eq!(wheel.pop(u64::MAX - 1), None);
    assert_eq!(wheel.next(), Some(u64::MAX));
    assert_eq!(wheel.pop(u64::MAX), Some((last, "last")));
    let again = wheel.insert(u64::MAX, "again").unwrap();
    assert!(wheel.edit(again, 0));
    assert_eq!(wheel.pop(0), Some((again, "again")));
    assert_eq!(wheel.next(), None);
}

#[test]
fn a_past_deadline_is_due_at_once() {
    let mut wheel = new_wheel(10 * SECOND);
    for at in [0, 1, 10 * SECOND - 1, 10 * SECOND] {
        let id = wheel.insert(at, at).unwrap();
        assert!(wheel.next().is_some_and(|next| next <= at));
        assert_eq!(wheel.pop(10 * SECOND), Some((id, at)));
    }
}

#[test]
fn a_clock_ten_seconds_back_fires_nothing_early() {
    // More timers than one call puts back, so that the clock also steps back while the wheel is still at it.
    let count = 4 * OPEN_AT_ONCE as u64;
    let mut pair = Pair::new(0);
    pair.insert(20 * SECOND);
    pair.turn(20 * SECOND, usize::MAX);
    pair.turn(10 * SECOND, usize::MAX);
    for n in 0..count {
        pair.insert(11 * SECOND + n * 4_000_000);
        pair.insert(30 * SECOND + n);
    }
    for now in [10 * SECOND, 12 * SECOND, 11 * SECOND, 11 * SECOND - 1, 0, 14 * SECOND, 13 * SECOND] {
        pair.turn(now, 1);
    }
    pair.turn(30 * SECOND - 1, usize::MAX);
    assert_eq!(pair.fired as u64, 1 + count);
    pair.turn(30 * SECOND - 1, usize::MAX);
    pair.drain();
    assert_eq!(pair.fired as u64, 1 + 2 * count);
}

#[test]
fn a_clock_two_nanoseconds_back_fires_nothing_early() {
    let mut wheel = new_wheel(1_000);
    let now = wheel.insert(1_000, "now").unwrap();
    let past = wheel.insert(998, "past").unwrap();
    assert_eq!(wheel.pop(997), None);
    assert_eq!(wheel.pop(998), Some((past, "past")));
    assert_eq!(wheel.pop(999), None);
    assert_eq!(wheel.pop(1_000), Some((now, "now")));
}

#[test]
fn a_jump_of_thirty_years_loses_nothing() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut pair = Pair::new(YEAR);
    for _ in 0..2_000 {
        pair.insert(YEAR + any_scale(&mut random, 40 * YEAR));
    }
    let due = pair.order.range(..=(31 * YEAR, u64::MAX)).count();
    pair.turn(31 * YEAR, usize::MAX);
    assert_eq!(pair.fired, due);
    assert!(due < 2_000);
    pair.drain();
}

#[test]
fn a_burst_comes_out_in_bounded_turns() {
    const BURST: usize = 100_000;
    let now = 60 * SECOND;
    let mut wheel = new_wheel(0);
    for n in 0..BURST {
        wheel.insert(now, n).unwrap();
    }
    assert_eq!(wheel.pop(now - 1), None);
    let (mut fired, mut turns) = (0, 0);
    while let Some(next) = wheel.next() {
        assert!(next <= now, "the rest stays due");
        let popped = (0..256).map_while(|_| wheel.pop(now)).count();
        assert!(popped == 256 || wheel.len() > BURST - 256 || wheel.is_empty());
        fired += popped;
        turns += 1;
    }
    assert_eq!(fired, BURST);
    assert!(turns <= BURST / 256 + BURST / OPEN_AT_ONCE + 2, "{turns} turns");
}

#[test]
fn a_large_slot_may_be_changed_while_it_is_opened() {
    let start = span_of(5);
    let mut pair = Pair::new(0);
    for n in 0..4 * OPEN_AT_ONCE as u64 {
        pair.insert(start + 1_000 * n);
    }
    pair.now = start;
    assert!(pair.pop(), "the earliest does not wait until all have been moved");
    assert!(pair.wheel.next() <= Some(start), "the sleeper must not sleep");
    pair.insert(start - 1);
    assert!(pair.wheel.next() < Some(start));
    for position in (0..pair.timers.len()).rev().step_by(3) {
        pair.remove(position);
    }
    for position in (0..pair.timers.len()).step_by(2) {
        pair.edit(position, start + 7 * position as u64);
    }
    pair.insert(start - 2);
    pair.compare();
    // Back to before the slot, and on.
    let before = pair.order.range(..(start, 0)).count();
    pair.turn(start - 1, usize::MAX);
    assert_eq!(pair.fired, 1 + before);
    pair.turn(start + 50_000, 10);
    pair.drain();
}

#[test]
fn a_slot_half_opened_is_not_forgotten() {
    let start = span_of(5) + 5_000;
    let mut pair = Pair::new(0);
    for n in (0..4 * OPEN_AT_ONCE as u64).rev() {
        // The earliest are the last in the slot.
        pair.insert(start + 1_000 * n);
    }
    pair.now = start;
    assert!(!pair.pop());
    // Another slot that comes and goes.
    pair.insert(u64::MAX);
    pair.remove(pair.timers.len() - 1);
    pair.compare();
    // A clock that steps back within the slot.
    pair.insert(start - 15);
    pair.turn(start - 10, 1);
    pair.turn(start - 10, usize::MAX);
    assert_eq!(pair.fired, 1);
    pair.turn(start, usize::MAX);
    assert_eq!(pair.fired, 2);
    pair.drain();
}

#[test]
fn places_are_used_again() {
    let mut wheel = new_wheel(0);
    for round in 0..1_000 {
        let ids: Vec<_> = (0..50).map(|n| wheel.insert(round + n, n).unwrap()).collect();
        ids.iter().step_by(2).for_each(|id| assert!(wheel.remove(*id).is_some()));
        while wheel.pop(u64::MAX).is_some() {}
        assert!(wheel.is_empty());
    }
    assert_eq!(wheel.places(), 50);
}

/// The places that a wheel keeps in any case.
const KEPT: usize = 1024;

#[test]
fn places_are_given_back() {
    const MANY: u64 = 100_000;
    let mut random = fastrand::Rng::with_seed(3);
    let mut wheel = new_wheel(0);
    let mut stale = Vec::new();
    for round in 1..=3 {
        let mut ids: Vec<_> = (0..MANY).map(|n| wheel.insert(n * SECOND, n).unwrap()).collect();
        assert!(stale.iter().all(|id| wheel.get(*id).is_none()), "round {round}: an id was used twice");
        stale.clone_from(&ids);
        random.shuffle(&mut ids);
        // Half of them fire, in their order.
        let (removed, fired) = ids.split_at(ids.len() / 2);
        assert!(removed.iter().all(|id| wheel.remove(*id).is_some()));
        let mut pops = 0;
        while !wheel.is_empty() {
            // A pop that opens a large slot may return nothing.
            pops += usize::from(wheel.pop(u64::MAX).is_some());
        }
        assert_eq!(pops, fired.len());
        assert!(wheel.places() <= KEPT, "round {round}: {} places", wheel.places());
        assert!(stale.iter().all(|id| wheel.remove(*id).is_none()), "round {round}: an id lives on");
    }
}

#[test]
fn a_few_timers_that_stay_do_not_keep_the_places() {
    for backward in [false, true] {
        let mut wheel = new_wheel(0);
        let mut many: Vec<_> = (0..100_000).map(|n| wheel.insert(SECOND + n, n).unwrap()).collect();
        if backward {
            many.reverse();
        }
        // Those that stay are all over the array.
        let (mut few, others): (Vec<_>, Vec<_>) =
            many.into_iter().partition(|id| wheel.get(*id).is_some_and(|n| n % 999 == 0));
        others.into_iter().for_each(|id| assert!(wheel.remove(id).is_some()));
        assert!(few.len() > 100);
        // Each is replaced by one that comes later, again and again.
        for round in 0..10_000 {
            let position = round % few.len();
            let later = wheel.insert(2 * SECOND, 0).unwrap();
            assert!(wheel.remove(std::mem::replace(&mut few[position], later)).is_some());
        }
        assert_eq!(wheel.len(), few.len());
        assert!(wheel.places() <= 2 * KEPT, "{} places", wheel.places());
    }
}

#[test]
fn entries_that_are_due_by_a_time_are_counted() {
    let mut wheel = new_wheel(0);
    assert_eq!(wheel.count_due(u64::MAX, 4), 0);
    let start = 5 * SECOND;
    for n in 0..10 {
        wheel.insert(start + n * 100_000, n).unwrap();
    }
    // The slots are wide before the first has fired.
    assert_eq!(wheel.pop(start).map(|(_, payload)| payload), Some(0));
    assert_eq!(wheel.count_due(start + 99_999, 4), 0);
    assert_eq!(wheel.count_due(start + 100_000, 1), 1);
    assert_eq!(wheel.count_due(start + 900_000, 4), 4);
    assert_eq!(wheel.count_due(start + 900_000, 100), 9);
    for last in 1..10 {
        assert_eq!(wheel.pop(start + last * 100_000).map(|(_, payload)| payload), Some(last));
        assert_eq!(wheel.count_due(u64::MAX, 100), 9 - last as usize);
    }
}

#[test]
fn a_stale_id_touches_nothing() {
    let mut wheel = new_wheel(0);
    let fired = wheel.insert(5, "fired").unwrap();
    assert_eq!(wheel.pop(5), Some((fired, "fired")));
    let removed = wheel.insert(9, "removed").unwrap();
    assert_eq!(wheel.remove(removed), Some("removed"));
    let live = wheel.insert(12, "live").unwrap();
    for stale in [fired, removed] {
        assert_ne!(stale, live);
        assert!(!wheel.edit(stale, 1));
        assert_eq!(wheel.remove(stale), None);
    }
    assert_eq!((wheel.next(), wheel.len()), (Some(12), 1));
    assert_eq!(wheel.pop(12), Some((live, "live")));
}

#[test]
fn a_lone_timer_wakes_its_sleeper_once() {
    for at in edges().chain([1, 77, 31 * YEAR, u64::MAX]) {
        let mut wheel = new_wheel(0);
        let id = wheel.insert(at, ()).unwrap();
        // A deadline that was taken away costs no wake if it leaves one entry alone.
        let earlier = wheel.insert(at - at / 1_000, ()).unwrap();
        wheel.remove(earlier);
        let wake = wheel.next().expect("one is outstanding");
        assert_eq!(wake, at);
        assert_eq!(wheel.pop(wake), Some((id, ())));
    }
}

#[test]
fn a_far_timer_wakes_its_sleeper_at_most_once_a_level() {
    let at = 0x7777_7777_7777_7777;
    let mut pair = Pair::new(0);
    pair.insert(at);
    pair.insert(at + 1);
    let mut wakes = 0;
    while pair.fired == 0 {
        // The worst neighbour: at the very start of the timer's slot, and taken away again.
        let starts = (0..LEVELS).rev().map(|level| at / span_of(level) * span_of(level));
        if let Some(start) = starts.into_iter().find(|start| *start > pair.now) {
            pair.insert(start);
            pair.remove(pair.timers.len() - 1);
        }
        pair.turn(pair.wheel.next().expect("it has not fired"), usize::MAX);
        wakes += 1;
    }
    assert!((5..=LEVELS).contains(&wakes), "{wakes} wakes");
}

#[test]
fn a_full_array_returns_the_payload_and_uses_free_places_again() {
    static EMPTY: Wheel<Array<u64, 4>> = Wheel::new(0, Array::new());
    assert_eq!((EMPTY.next(), EMPTY.places()), (None, 0), "a wheel may be a static");
    let mut wheel = Wheel::new(0, Array::<_, 4>::new());
    for round in 0..1_000 {
        let ids = [7, 5, 6, 8].map(|at| wheel.insert(10 * round + at, at).unwrap());
        assert_eq!(wheel.insert(10 * round, 9), Err(9));
        assert_eq!((wheel.len(), wheel.next()), (4, Some(10 * round + 5)), "what is refused leaves no trace");
        assert_eq!(wheel.remove(ids[2]), Some(6));
        let again = wheel.insert(10 * round + 1, 1).unwrap();
        let fired = std::iter::from_fn(|| wheel.pop(10 * round + 9)).collect::<Vec<_>>();
        assert_eq!(fired, [(again, 1), (ids[1], 5), (ids[0], 7), (ids[3], 8)]);
        assert!(ids.iter().all(|id| wheel.get(*id).is_none()));
    }
    assert_eq!(wheel.places(), 4);
}

#[test]
fn several_entries_are_removed_at_once_and_stale_ids_are_skipped() {
    let mut wheel = new_wheel(0);
    let ids: Vec<_> = (0..6).map(|n| wheel.insert(n, n).unwrap()).collect();
    assert_eq!(wheel.remove(ids[1]), Some(1));
    let mut removed = vec![9];
    wheel.remove_each(&[ids[0], ids[1], ids[4], ids[4]], &mut removed);
    assert_eq!((removed, wheel.len()), (vec![9, 0, 4], 3));
}

/// Counts its own drops.
#[derive(Debug)]
struct Counted<'a>(&'a Cell<u32>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn every_payload_is_dropped_once() {
    let mut random = fastrand::Rng::with_seed(3);
    let drops: Vec<Cell<u32>> = (0..20_000).map(|_| Cell::new(0)).collect();
    let mut wheel = new_wheel(0);
    let mut ids = Vec::new();
    let mut given_back = 0;
    for (n, cell) in drops.iter().enumerate() {
        let now = n as u64 * 1_000;
        ids.push(wheel.insert(now + any_scale(&mut random, SECOND), Some(Counted(cell))).unwrap());
        let id = ids[random.usize(0..ids.len())];
        match random.u32(0..4) {
            0 => given_back += usize::from(wheel.remove(id).is_some()),
            1 => given_back += usize::from(wheel.pop(now).is_some()),
            _ => _ = wheel.edit(id, now + any_scale(&mut random, SECOND)),
        }
        assert_eq!(wheel.len() + given_back, n + 1);
    }
    assert_eq!(drops.iter().filter(|cell| cell.get() == 1).count(), given_back);
    assert!(!wheel.is_empty());
    drop(wheel);
    assert!(drops.iter().all(|cell| cell.get() == 1));
}
