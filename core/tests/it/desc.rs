//! A descriptor in one thread.

use std::task::Waker;

use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollErr, PollKey, Registration, Wait, When,
};

use crate::common::{Slots, Task};

/// The key of the first owner of the first slot.
const FIRST: PollKey = PollKey { slot: 0, fdseq: 0 };
const PLAIN: EventFlags =
    EventFlags { event_err: false, read_hup: false, hup: false, err: false, urgent: false };

/// A descriptor with its cache and a list of wakers.
struct Fixture<'a> {
    registration: Registration<'a>,
    slots: &'a Slots<1, 24>,
    list: GList<2>,
}

impl<'a> Fixture<'a> {
    fn new(slots: &'a Slots<1, 24>) -> Self {
        Self { registration: slots.alloc(), slots, list: GList::new() }
    }

    fn ready(&mut self, modes: Modes) -> Delivered {
        self.deliver(self.registration.key(), modes, PLAIN)
    }

    fn deliver(&mut self, key: PollKey, modes: Modes, flags: EventFlags) -> Delivered {
        self.registration.desc().ready(Event { key, modes, flags }, &mut self.list)
    }

    fn set(&mut self, modes: Modes, when: When) -> Result<(usize, Option<usize>), PollErr> {
        let (list, arm) = self.registration.set_deadline(modes, when)?;
        Ok((self.keep(list), arm))
    }

    fn expire(&mut self, now: usize) -> (usize, Option<usize>) {
        let (list, next) = self.registration.desc().expire(now);
        (self.keep(list), next)
    }

    fn evict(&mut self) -> usize {
        let list = self.registration.evict();
        self.keep(list)
    }

    fn keep(&mut self, mut list: GList<2>) -> usize {
        let n = list.len();
        self.list.append(&mut list);
        assert!(list.is_empty(), "the list has room for two wakers");
        n
    }

    fn wait(&self, mode: Mode, waker: &Waker) -> Wait {
        let (wait, displaced) = self.registration.wait(mode, waker);
        assert!(displaced.is_none(), "one task per direction");
        wait
    }

    fn parked(&self) -> usize {
        self.slots.cache.parked()
    }

    /// Wakes the tasks of the list. Returns how many there were.
    fn hand_up(&mut self) -> usize {
        std::mem::take(&mut self.list).wake()
    }
}

#[test]
fn an_event_wakes_the_tasks_of_its_directions() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let ((reader, read), (writer, write)) = (Task::new(), Task::new());
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Parked);
    assert_eq!(fixture.wait(Mode::Write, &write), Wait::Parked);
    assert!(
        fixture.registration.desc().is_parked(Mode::Read)
            && fixture.registration.desc().is_parked(Mode::Write)
    );
    assert_eq!(fixture.parked(), 2);

    assert_eq!(fixture.ready(Modes::READ), Delivered::Woken(1));
    assert_eq!((reader.wakes(), fixture.parked()), (0, 1), "no task is woken before the list is");
    assert_eq!(fixture.hand_up(), 1);
    assert_eq!((reader.wakes(), writer.wakes(), fixture.parked()), (1, 0, 1));
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Ready);
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Parked);

    assert_eq!(fixture.ready(Modes::BOTH), Delivered::Woken(2));
    assert_eq!(fixture.hand_up(), 2);
    assert_eq!((reader.wakes(), writer.wakes(), fixture.parked()), (2, 1, 0));
    assert_eq!((reader.wakers(), writer.wakers()), (1, 1));
}

#[test]
fn an_event_that_comes_first_is_remembered_until_reset() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (_, waker) = Task::new();
    assert_eq!(fixture.ready(Modes::BOTH), Delivered::Woken(0));
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Ready);
    assert_eq!(fixture.ready(Modes::READ), Delivered::Woken(0));
    assert_eq!(fixture.registration.reset(Mode::Read), Ok(true));
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Parked);
    assert_eq!(fixture.wait(Mode::Write, &waker), Wait::Ready, "the other side's readiness is its own");
}

#[test]
fn an_event_without_directions_wakes_no_task() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (task, waker) = Task::new();
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Parked);
    assert_eq!(fixture.deliver(FIRST, Modes::NONE, EventFlags { hup: true, ..PLAIN }), Delivered::Woken(0));
    assert!(fixture.registration.desc().info().peer_closed() && task.wakes() == 0);
}

#[test]
fn a_stale_event_changes_nothing() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (task, waker) = Task::new();
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Parked);
    let before = fixture.registration.desc().info();
    for fdseq in [1, 1 << 24, u32::MAX] {
        let key = PollKey { slot: 0, fdseq };
        let all = EventFlags { event_err: true, read_hup: true, hup: true, err: true, urgent: true };
        assert_eq!(fixture.deliver(key, Modes::BOTH, all), Delivered::Stale);
    }
    assert_eq!(fixture.registration.desc().info(), before);
    assert!(
        fixture.registration.desc().is_parked(Mode::Read) && fixture.list.is_empty() && task.wakers() == 2
    );
}

#[test]
fn an_event_without_room_can_be_delivered_again() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (task, waker) = Task::new();
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Parked);
    fixture.list.push(Waker::noop().clone()).expect("there is room for two");
    let hup = EventFlags { hup: true, ..PLAIN };
    assert_eq!(fixture.deliver(FIRST, Modes::READ, hup), Delivered::NoRoom);
    assert!(
        fixture.registration.desc().is_parked(Mode::Read)
            && !fixture.registration.desc().info().peer_closed()
    );
    assert_eq!(fixture.list.drain().count(), 1);
    assert_eq!(fixture.deliver(FIRST, Modes::READ, hup), Delivered::Woken(1));
    assert_eq!((fixture.hand_up(), task.wakes()), (1, 1));
}

#[test]
fn an_event_that_is_an_error_alone_wakes_and_sets_event_err() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let ((reader, read), (_, write)) = (Task::new(), Task::new());
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Parked);
    assert_eq!(
        fixture.deliver(FIRST, Modes::BOTH, EventFlags { event_err: true, ..PLAIN }),
        Delivered::Woken(1)
    );
    assert_eq!((fixture.hand_up(), reader.wakes()), (1, 1));
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Ready);
    assert!(fixture.registration.desc().info().event_err());
    assert_eq!(fixture.wait(Mode::Write, &write), Wait::Ready);
}

#[test]
fn a_deadline_in_the_past_beats_a_readiness_and_stays() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (_, waker) = Task::new();
    assert_eq!(fixture.ready(Modes::BOTH), Delivered::Woken(0));
    assert_eq!(fixture.set(Modes::READ, When::Expired), Ok((0, None)));
    for _ in 0..2 {
        assert_eq!(fixture.registration.reset(Mode::Read), Err(PollErr::Timeout));
        assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Failed(PollErr::Timeout));
    }
    assert_eq!(fixture.wait(Mode::Write, &waker), Wait::Ready, "directions are independent");
    assert_eq!(fixture.set(Modes::READ, When::Never), Ok((0, None)));
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Ready, "the direction is still ready");
}

#[test]
fn a_deadline_in_the_past_wakes_the_parked_task() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let ((reader, read), (writer, write)) = (Task::new(), Task::new());
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Parked);
    assert_eq!(fixture.wait(Mode::Write, &write), Wait::Parked);
    assert_eq!(fixture.set(Modes::READ, When::Expired), Ok((1, None)));
    assert_eq!(fixture.hand_up(), 1);
    assert_eq!((reader.wakes(), writer.wakes(), fixture.parked()), (1, 0, 1));
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Failed(PollErr::Timeout));
    assert!(fixture.registration.desc().is_parked(Mode::Write));
    assert_eq!(fixture.set(Modes::BOTH, When::Expired), Ok((1, None)));
    assert_eq!((fixture.hand_up(), writer.wakes()), (1, 1));
}

#[test]
fn a_firing_wakes_due_tasks_and_returns_the_next_tick() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let ((reader, read), (writer, write)) = (Task::new(), Task::new());
    assert_eq!(fixture.set(Modes::BOTH, When::At(100)), Ok((0, Some(100))));
    assert!(fixture.registration.arm_timer(100).is_some());
    assert_eq!(fixture.set(Modes::WRITE, When::At(200)), Ok((0, None)), "later: no timer");
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Parked);
    assert_eq!(fixture.wait(Mode::Write, &write), Wait::Parked);

    assert_eq!(fixture.expire(99), (0, Some(100)), "too early: the timer fires again later");
    assert_eq!(fixture.expire(100), (1, Some(200)));
    assert_eq!((fixture.hand_up(), reader.wakes(), writer.wakes()), (1, 1, 0));
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Failed(PollErr::Timeout));
    assert_eq!(fixture.expire(250), (1, None));
    assert_eq!((fixture.hand_up(), writer.wakes(), fixture.parked()), (1, 1, 0));
    assert_eq!(fixture.wait(Mode::Write, &write), Wait::Failed(PollErr::Timeout));
    assert_eq!(fixture.expire(300), (0, None));
}

#[test]
fn a_timeout_is_over_once_another_deadline_is_set() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (_, waker) = Task::new();
    assert_eq!(fixture.set(Modes::READ, When::Expired), Ok((0, None)));
    assert_eq!(fixture.set(Modes::READ, When::At(500)), Ok((0, Some(500))));
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Parked);
    assert_eq!(fixture.set(Modes::READ, When::Never), Ok((0, None)));
    assert!(fixture.registration.desc().is_parked(Mode::Read), "moving a deadline later wakes no task");
}

#[test]
fn the_timer_is_armed_once_for_the_earliest() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    assert_eq!(fixture.registration.arm_timer(100), Some(When::Never), "the wheel has no entry");
    assert!(
        fixture.registration.arm_timer(100).is_none() && fixture.registration.arm_timer(101).is_none(),
        "it fires early enough"
    );
    assert_eq!(fixture.registration.arm_timer(99), Some(When::At(100)));
    assert_eq!(fixture.evict(), 0);
    assert!(fixture.registration.arm_timer(1).is_none(), "no timer is armed for a closing descriptor");
}

#[test]
fn a_close_wakes_both_sides_and_refuses_all() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let ((reader, read), (writer, write)) = (Task::new(), Task::new());
    assert_eq!(fixture.wait(Mode::Read, &read), Wait::Parked);
    assert_eq!(fixture.wait(Mode::Write, &write), Wait::Parked);
    assert_eq!(fixture.evict(), 2);
    assert_eq!(fixture.hand_up(), 2);
    assert_eq!(fixture.evict(), 0, "it may be repeated");
    assert_eq!((reader.wakes(), writer.wakes(), fixture.parked()), (1, 1, 0));
    for mode in [Mode::Read, Mode::Write] {
        assert_eq!(fixture.wait(mode, &read), Wait::Failed(PollErr::Closing));
        assert_eq!(fixture.registration.reset(mode), Err(PollErr::Closing));
    }
    for when in [When::Never, When::At(5), When::Expired] {
        assert_eq!(fixture.set(Modes::BOTH, when), Err(PollErr::Closing));
        assert_eq!(fixture.registration.desc().deadline(Mode::Read), When::Never);
    }
    assert_eq!((reader.wakers(), writer.wakers()), (1, 1));
}

#[test]
fn a_task_that_gives_up_is_never_woken() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let (task, waker) = Task::new();
    assert_eq!(fixture.wait(Mode::Read, &waker), Wait::Parked);
    let own = fixture.registration.retract(Mode::Read).expect("no thread has taken it");
    assert!(own.will_wake(&waker));
    drop(own);
    assert_eq!((task.wakers(), fixture.parked()), (1, 0));
    assert_eq!(fixture.ready(Modes::READ), Delivered::Woken(0));
    assert_eq!(fixture.evict(), 0);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn another_task_takes_over_an_abandoned_parking() {
    let slots = Slots::new();
    let mut fixture = Fixture::new(&slots);
    let ((first, one), (second, two)) = (Task::new(), Task::new());
    assert_eq!(fixture.wait(Mode::Read, &one), Wait::Parked);
    let (wait, displaced) = fixture.registration.wait(Mode::Read, &two);
    assert_eq!(wait, Wait::Parked);
    displaced.wake();
    assert_eq!((first.wakes(), fixture.parked()), (1, 1));
    assert_eq!(fixture.ready(Modes::READ), Delivered::Woken(1));
    assert_eq!((fixture.hand_up(), first.wakes(), second.wakes()), (1, 1, 1));
}
