//! Ticks: the reserved words, the comparison across a wrap, and the tick of the timer.

use netpoll_core::poll::deadline::Deadline;
use netpoll_core::{Mode, Modes, Registration, When};

type Desc<'a> = Registration<'a>;
type Slots = crate::common::Slots<1, 24>;

const HALF: usize = usize::MAX / 2;

fn set(desc: &Desc<'_>, modes: Modes, when: When) -> Option<usize> {
    let (woken, arm) = desc.set_deadline(modes, when).expect("the descriptor is open");
    assert!(woken.is_empty(), "no task waits in these tests");
    arm
}

fn expire(desc: &Desc<'_>, now: usize) -> Option<usize> {
    let (woken, next) = desc.desc().expire(now);
    assert!(woken.is_empty(), "no task waits in these tests");
    next
}

fn deadline(desc: &Desc<'_>, mode: Mode) -> When {
    desc.desc().deadline(mode)
}

fn both(desc: &Desc<'_>) -> (When, When) {
    (deadline(desc, Mode::Read), deadline(desc, Mode::Write))
}

#[test]
fn a_new_word_has_no_deadline() {
    assert_eq!(Deadline::new().get(), When::Never);
    assert_eq!(Deadline::default().get(), When::Never);
    assert_eq!(both(&Slots::new().alloc()), (When::Never, When::Never));
}

#[test]
fn only_a_tick_can_be_due() {
    assert!(When::At(7).is_due(7) && When::At(7).is_due(8) && !When::At(7).is_due(6));
    assert!(!When::Never.is_due(usize::MAX) && !When::Expired.is_due(usize::MAX));
}

#[test]
fn ticks_are_compared_across_a_wrap() {
    assert!(When::At(usize::MAX).is_due(5), "6 ticks late");
    assert!(!When::At(5).is_due(usize::MAX), "6 ticks to go");
    assert!(!When::At(100 + HALF).is_due(100), "half of the range ahead is the farthest tick");
    assert!(When::At(100usize.wrapping_sub(HALF)).is_due(100));
}

/// The words 0 and 1 stand for never and expired.
#[test]
fn the_ticks_0_and_1_stand_for_2() {
    for tick in [0, 1, 2] {
        let slots = Slots::new();
        let desc = slots.alloc();
        assert!(set(&desc, Modes::READ, When::At(tick)).is_some());
        assert_eq!(deadline(&desc, Mode::Read), When::At(2));
        assert!(desc.arm_timer(tick).is_some());
        assert_eq!(expire(&desc, 2), None);
        assert_eq!(deadline(&desc, Mode::Read), When::Expired);
    }
}

#[test]
fn the_last_deadline_set_is_in_force() {
    let slots = Slots::new();
    let desc = slots.alloc();
    for when in [When::At(50), When::Expired, When::At(60), When::Never, When::At(usize::MAX)] {
        set(&desc, Modes::WRITE, when);
        assert_eq!(both(&desc), (When::Never, when));
    }
}

#[test]
fn the_timer_is_armed_for_the_earlier_of_the_two() {
    let slots = Slots::new();
    let desc = slots.alloc();
    assert_eq!(set(&desc, Modes::READ, When::At(300)), Some(300));
    assert!(desc.arm_timer(300).is_some());
    assert_eq!(set(&desc, Modes::WRITE, When::At(400)), None, "the timer fires earlier");
    assert_eq!(set(&desc, Modes::WRITE, When::At(200)), Some(200));
    assert!(desc.arm_timer(200).is_some());
    assert_eq!(expire(&desc, 200), Some(300));
    assert_eq!(both(&desc), (When::At(300), When::Expired));
    assert_eq!(expire(&desc, 300), None);
    assert_eq!(both(&desc), (When::Expired, When::Expired));
}

#[test]
fn the_earlier_deadline_is_found_across_a_wrap() {
    let slots = Slots::new();
    let desc = slots.alloc();
    let (before, after) = (usize::MAX - 1, 5);
    set(&desc, Modes::READ, When::At(after));
    set(&desc, Modes::WRITE, When::At(before));
    assert_eq!(expire(&desc, usize::MAX - 10), Some(before));
    assert_eq!(expire(&desc, usize::MAX), Some(after));
    assert_eq!(both(&desc), (When::At(after), When::Expired));
    assert_eq!(expire(&desc, 6), None);
    assert_eq!(both(&desc), (When::Expired, When::Expired));
}

/// A firing finds another deadline in force than the one it was armed for.
#[test]
fn a_firing_expires_only_due_deadlines() {
    let slots = Slots::new();
    let desc = slots.alloc();
    set(&desc, Modes::READ, When::At(100));
    assert!(desc.arm_timer(100).is_some());
    assert_eq!(set(&desc, Modes::READ, When::At(500)), None, "moving it later costs no timer");
    assert_eq!(expire(&desc, 100), Some(500));
    assert_eq!(deadline(&desc, Mode::Read), When::At(500));

    set(&desc, Modes::READ, When::Never);
    assert_eq!(expire(&desc, 500), None);
    assert_eq!(deadline(&desc, Mode::Read), When::Never);
    assert_eq!(set(&desc, Modes::READ, When::At(600)), Some(600), "no timer is armed any more");
}

/// The words of "never" and "expired" are also ticks, once in a wrap.
#[test]
fn a_deadline_postponed_across_a_wrap_stays_a_tick() {
    let slots = Slots::new();
    let desc = slots.alloc();
    for at in [0, 1, 2, 3] {
        set(&desc, Modes::READ, When::At(usize::MAX - 10));
        assert!(desc.postpone(Modes::READ, at));
        assert_eq!(deadline(&desc, Mode::Read), When::At(at.max(2)), "tick {at}");
        assert_eq!(expire(&desc, usize::MAX), Some(at.max(2)));
        assert_eq!(expire(&desc, 3), None);
        assert_eq!(deadline(&desc, Mode::Read), When::Expired);
    }
}
