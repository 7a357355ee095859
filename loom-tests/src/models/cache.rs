//! Models of `cache`: slots that are allocated once, and events that come after their descriptor is freed.

use std::sync::Arc;
use std::task::Waker;

use loom::thread;
use netpoll_core::{Delivered, Event, EventFlags, GList, Mode, Modes, PollKey, Wait, When};

use super::support::{Counted, FIRST, Own, Slots, event, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m10_stale_event_against_reuse", 2, Some(4), || stale_event(false)),
    green("m10_two_stale_events_against_reuse", 3, Some(1), || two_stale_events(false)),
    green("m10_every_other_generation_is_refused", 1, None, other_generations),
    green("m10_close_by_key_against_reuse", 2, Some(4), || close_by_key(false)),
    green("m10_close_by_key_against_free_of_parked", 2, Some(4), || close_by_key(true)),
    green("m10_late_timer_against_reuse", 2, Some(4), late_timer),
    green("m10_nothing_outlives_a_generation", 1, None, nothing_outlives),
    green("m10b_winner_stalls_over_free_and_reuse", 2, Some(4), || stale_event(true)),
    green("m10b_two_events_stall_over_free_and_reuse", 3, Some(1), || two_stale_events(true)),
    green("m10b_busy_ends_after_reuse", 2, None, busy_ends),
    green("m14_alloc_against_alloc_and_free", 2, Some(4), alloc_against_free),
    green("m14_three_allocate_and_free", 3, Some(2), three_owners),
    green("m14_growth_by_two", 2, Some(4), growth),
    green("m14_dump_against_growth", 2, None, dump_against_growth),
];

/// Creates a cache with one slot.
fn one_slot() -> Arc<Slots<1>> {
    let slots = Slots::new();
    slots.donate(0);
    slots
}

/// Delivers an error event that the kernel returned with `key`, as the poller does.
fn deliver<const LEN: usize>(slots: &Slots<LEN>, key: PollKey) -> Delivered {
    let flags = EventFlags { event_err: true, err: true, ..EventFlags::default() };
    let mut list = GList::<2>::new();
    let Some(desc) = slots.cache.get(key) else { return Delivered::Stale };
    let delivered = desc.ready(Event { key, modes: Modes::BOTH, flags }, &mut list);
    list.wake();
    delivered
}

/// Polls a reader once, or again while another thread still uses the semaphore.
fn park(own: &Own, waker: &Waker) -> Wait {
    loop {
        match own.wait(Mode::Read, waker).0 {
            Wait::Again => thread::yield_now(),
            wait => return wait,
        }
    }
}

/// Frees the slot and allocates it again for a task that parks in it at once.
fn reuse(slots: &Slots<1>, own: Own, waker: &Waker) -> Own {
    slots.free(own);
    let own = slots.alloc().expect("model: the slot was just freed");
    assert!(own.key() == PollKey { slot: 0, fdseq: 1 }, "model: {:?} after a free", own.key());
    let wait = park(&own, waker);
    assert!(wait == Wait::Parked, "model: {wait:?}: an old event reached the new owner");
    own
}

/// Asserts that nothing has disturbed the new owner, which sleeps until its slot is freed.
fn undisturbed(slots: &Slots<1>, own: Own, task: &Counted) {
    let desc = own.desc();
    let info = desc.info();
    assert!(!info.event_err() && !info.peer_closed(), "model: {info:?}: an old event reached the new owner");
    assert!(!info.closing(), "model: an old close reached the new owner");
    assert!(desc.is_parked(Mode::Read) && task.wakes() == 0, "model: an old event woke the new owner");
    assert!(slots.cache.parked() == 1, "model: the new owner is not counted");
    assert!(slots.free(own) == 1 && task.wakes() == 1, "model: the new owner's waker was not its own");
    assert!(slots.cache.parked() == 0, "model: tasks are still parked");
}

/// An event of the old generation comes while the slot is freed and goes to a new owner. If the old owner is
/// parked, the event may be its own, and the unblock may stall between its compare-exchange and the clearing
/// of BUSY.
fn stale_event(parked: bool) {
    let (slots, own, old) = owned(parked);
    let (new, new_waker) = Counted::waker();
    let (own, _) = race(&slots, |slots| reuse(slots, own, &new_waker), |slots| deliver(slots, FIRST));
    woken_once(&old, parked);
    undisturbed(&slots, own, &new);
}

/// A thread with the key closes the descriptor while its owner frees the slot and another takes it. A task
/// that was parked is woken once, by one of the two, and the new owner's task never.
fn close_by_key(parked: bool) {
    let (slots, own, old) = owned(parked);
    let (new, new_waker) = Counted::waker();
    let close = |slots: &Slots<1>| {
        if let Some(desc) = slots.cache.get(FIRST) {
            desc.evict(FIRST.fdseq).wake();
        }
    };
    let (own, ()) = race(&slots, |slots| reuse(slots, own, &new_waker), close);
    woken_once(&old, parked);
    undisturbed(&slots, own, &new);
}

/// A timer that was left in the wheel fires while the slot goes to a new owner. No deadline of the new owner
/// expires, and its task may be woken once for nothing.
fn late_timer() {
    let (slots, own, old) = owned(true);
    let (new, new_waker) = Counted::waker();
    assert!(own.set_deadline(Modes::READ, When::At(5)).is_ok(), "model: the descriptor is open");
    let fire = |slots: &Slots<1>| {
        let desc = slots.cache.iter().next().expect("model: a block was donated").1;
        desc.expire(5).0.wake();
    };
    let (own, ()) = race(&slots, |slots| reuse(slots, own, &new_waker), fire);
    woken_once(&old, true);
    assert!(own.desc().deadline(Mode::Read) == When::Never, "model: an old deadline reached the new owner");
    let asleep = usize::from(own.desc().is_parked(Mode::Read));
    assert!(new.wakes() + asleep == 1, "model: the new owner is woken or asleep");
    assert!(slots.free(own) == asleep && new.wakes() == 1, "model: the new owner's waker was not its own");
    assert!(slots.cache.parked() == 0, "model: tasks are still parked");
}

/// Creates one slot with its first owner, which is parked or not.
fn owned(parked: bool) -> (Arc<Slots<1>>, Own, Arc<Counted>) {
    let slots = one_slot();
    let own = slots.alloc().expect("model: a block was donated");
    assert!(own.key() == FIRST, "model: a fresh block begins at generation 0");
    let (task, waker) = Counted::waker();
    if parked {
        assert!(park(&own, &waker) == Wait::Parked, "model: the task may park");
    }
    (slots, own, task)
}

/// Asserts that the event or the free has woken the first owner, if it was parked, and that its waker is
/// dropped.
fn woken_once(old: &Arc<Counted>, parked: bool) {
    assert!(old.wakes() == usize::from(parked), "model: the old owner was woken {} times", old.wakes());
    assert!(Arc::strong_count(old) == 1, "model: a waker is left over");
}

/// Two pollers, each with an event that it copied out before the slot was freed.
fn two_stale_events(parked: bool) {
    let (slots, own, old) = owned(parked);
    let (new, new_waker) = Counted::waker();
    let stale = |slots: &Slots<1>| deliver(slots, FIRST);
    let (own, ..) = race3(&slots, |slots| reuse(slots, own, &new_waker), stale, stale);
    woken_once(&old, parked);
    undisturbed(&slots, own, &new);
}

/// Each generation of two bits refuses the three others, and the fifth is the first again.
fn other_generations() {
    let slots = one_slot();
    for fdseq in [0, 1, 2, 3, 0] {
        let own = slots.alloc().expect("model: the slot is free");
        let found = own.key().fdseq;
        assert!(found == fdseq, "model: generation {found} after {fdseq} frees");
        for other in (0..4).filter(|other| *other != fdseq) {
            let stale = Event {
                key: PollKey { slot: 0, fdseq: other },
                modes: Modes::BOTH,
                flags: EventFlags::default(),
            };
            let delivered = own.desc().ready(stale, &mut GList::<2>::new());
            assert!(delivered == Delivered::Stale, "model: generation {other} at {fdseq}: {delivered:?}");
            assert!(slots.cache.get(stale.key).is_none(), "model: generation {other} at {fdseq} was found");
            assert!(own.desc().evict(other).is_empty(), "model: generation {other} at {fdseq} was closed");
        }
        let waited = own.wait(Mode::Read, Waker::noop()).0;
        assert!(waited == Wait::Parked, "model: {waited:?}: an old event left a trace");
        live(&own);
        assert!(own.evict().is_empty(), "model: no task waits");
        slots.free(own);
    }
}

/// Delivers an event of this generation to both directions, and leaves an expired deadline for the next
/// generation to clear.
fn live(own: &Own) {
    let mut list = GList::<2>::new();
    let delivered = own.desc().ready(event(own.key(), Modes::BOTH), &mut list);
    assert!(delivered == Delivered::Woken(1), "model: {delivered:?} of the reader's own event");
    list.wake();
    for mode in [Mode::Read, Mode::Write] {
        let waited = own.wait(mode, Waker::noop()).0;
        assert!(waited == Wait::Ready, "model: {waited:?} after an event of this generation");
    }
    let set = own.set_deadline(Modes::BOTH, When::Expired);
    assert!(set.is_ok_and(|(list, arm)| list.is_empty() && arm.is_none()), "model: no task waits");
}

/// One thread pops while another pops two slots and pushes the first back, which makes the count in the head
/// necessary.
fn alloc_against_free() {
    let slots = Slots::<2>::new();
    slots.donate(0);
    let two = |slots: &Slots<2>| [slots.alloc(), slots.alloc()];
    race(&slots, two, |slots| {
        let first = slots.alloc();
        let _kept = slots.alloc();
        if let Some(own) = first {
            slots.free(own);
        }
    });
}

/// Each owner has its slot's plain memory to itself, and sees it as the last owner left it.
fn three_owners() {
    fn own(slots: &Slots<2>) {
        if let Some(own) = slots.alloc() {
            slots.free(own);
        }
    }
    let slots = Slots::<2>::new();
    slots.donate(0);
    race3(&slots, own, own, own);
    assert!(slots.alloc().is_some() && slots.alloc().is_some(), "model: a slot was lost");
    assert!(slots.alloc().is_none(), "model: there are two slots");
}

/// Two threads find the cache empty and each donates a block.
fn growth() {
    fn own(slots: &Slots<1>, block: usize) -> bool {
        slots.alloc().is_some() || {
            slots.donate(block);
            slots.alloc().is_some()
        }
    }
    let slots = Slots::<1>::new();
    let (one, two) = race(&slots, |slots| own(slots, 0), |slots| own(slots, 1));
    assert!(one || two, "model: no slot of a donated block was allocated");
    let blocks = slots.cache.iter().count();
    let rest = std::iter::from_fn(|| slots.alloc()).count();
    let owned = usize::from(one) + usize::from(two) + rest;
    assert!(owned == blocks, "model: {blocks} slots were donated, {owned} can be allocated");
}

/// A dump looks a block up while it is donated: it finds none, or a complete one.
fn dump_against_growth() {
    let slots = Slots::<2>::new();
    let dump = |slots: &Slots<2>| slots.cache.iter().filter(|(key, _)| key.fdseq == 0).count();
    let (found, ()) = race(&slots, dump, |slots| slots.donate(0));
    assert!(found == 0 || found == 2, "model: {found} descriptors of a block of two");
}

/// A slot has one owner after another: deadlines, a timer and the peer's state end with their generation.
fn nothing_outlives() {
    let slots = Slots::<1>::new();
    slots.donate(0);
    for _ in 0..2 {
        let own = slots.alloc().expect("model: the slot is free");
        let desc = own.desc();
        for mode in [Mode::Read, Mode::Write] {
            assert!(desc.deadline(mode) == When::Never, "model: {mode:?} has the deadline of an old owner");
            let waited = own.wait(mode, Waker::noop()).0;
            assert!(
                waited == Wait::Parked,
                "model: {waited:?}: the last owner has left a readiness or a refusal"
            );
        }
        let mut list = GList::<2>::new();
        assert!(
            desc.ready(event(own.key(), Modes::BOTH), &mut list) == Delivered::Woken(2),
            "model: both wait"
        );
        list.wake();
        let set = own.set_deadline(Modes::BOTH, When::At(5));
        assert!(set.is_ok_and(|(_, arm)| arm == Some(5)), "model: an old owner's timer counts as armed");
        assert!(own.arm_timer(5).is_some(), "model: an old owner's timer counts as armed");
        slots.free(own);
    }
}

/// An unblock is at any step while the slot is freed: the next owner can park in the end.
fn busy_ends() {
    let slots = Slots::<1>::new();
    slots.donate(0);
    let own = slots.alloc().expect("model: a block was donated");
    assert!(own.key() == FIRST, "model: a fresh block begins at generation 0");
    let waited = own.wait(Mode::Read, Waker::noop()).0;
    assert!(waited == Wait::Parked, "model: the task may park");
    let free = |slots: &Slots<1>| slots.free(own);
    race(&slots, free, |slots| {
        let mut list = GList::<2>::new();
        if let Some(desc) = slots.cache.get(FIRST) {
            let _stale_or_not = desc.ready(event(FIRST, Modes::READ), &mut list);
        }
        list.wake();
    });
    let own = slots.alloc().expect("model: the slot was freed");
    let waited = own.wait(Mode::Read, Waker::noop()).0;
    assert!(waited == Wait::Parked, "model: {waited:?}: BUSY is left");
    assert!(slots.free(own) == 1, "model: the new owner is evicted");
}
