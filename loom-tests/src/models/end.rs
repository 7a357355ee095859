//! Models of the end of the poller: no wait outlasts it, whether the wait began before, during or after it.

use std::sync::Arc;
use std::task::Waker;

use loom::thread;
use netpoll_core::poll::cache::Block;
use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, Registration, Wait,
};

use super::support::{Counted, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m21_end_against_park", 2, None, end_against_park),
    green("m21_end_against_park_of_both", 2, Some(4), end_against_park_of_both),
    green("m21_end_against_alloc", 2, None, end_against_alloc),
    green("m21_end_against_free_and_reuse", 2, Some(4), end_against_reuse),
    green("m21_end_against_growth", 2, Some(4), || end_against_growth(World::new())),
    green("m21_end_against_the_first_block", 2, Some(4), || end_against_growth(World::empty())),
    green("m21_end_and_event_against_park", 3, Some(2), end_and_event_against_park),
    green("m21_a_call_that_need_not_wait_goes_on", 1, None, a_call_that_need_not_wait_goes_on),
];

/// A cache of two blocks of one descriptor each.
struct World {
    cache: PollCache<2, 1>,
}

impl World {
    /// Creates a cache with one block.
    fn new() -> Arc<World> {
        let world = World::empty();
        world.donate();
        world
    }

    fn empty() -> Arc<World> {
        Arc::new(World { cache: PollCache::with_fdseq_bits(2) })
    }

    fn donate(&self) {
        let donated = self.cache.donate_static(Box::leak(Box::new(Block::new())));
        assert!(donated.is_ok(), "model: the directory has two places");
    }

    fn alloc(&self) -> Registration<'_> {
        self.cache.alloc().expect("model: a slot is free")
    }

    fn end(&self) {
        self.cache.end(|list| {
            list.wake();
        });
    }

    /// Asserts that the wait was refused, or was woken and is refused then, and that no waker is left.
    fn has_ended(&self, registration: &Registration<'_>, mode: Mode, task: Task, wait: Wait) {
        if wait == Wait::Parked {
            assert!(task.counted.wakes() == 1, "model: parked, and woken {} times", task.counted.wakes());
            let again = poll(registration, mode, &task.waker);
            assert!(again == Wait::Failed(PollErr::Ended), "model: {again:?} after the end");
        } else {
            assert!(wait == Wait::Failed(PollErr::Ended), "model: {wait:?} of a wait during the end");
        }
        drop(task.waker);
        assert!(Arc::strong_count(&task.counted) == 1, "model: a waker is left over");
    }

    fn assert_no_waiters(&self) {
        let left = self.cache.parked();
        assert!(left == 0, "model: {left} tasks are still parked");
    }
}

struct Task {
    counted: Arc<Counted>,
    waker: Waker,
}

impl Task {
    fn new() -> Self {
        let (counted, waker) = Counted::waker();
        Self { counted, waker }
    }
}

/// Polls a task once, or again while another thread still uses the semaphore.
fn poll(registration: &Registration<'_>, mode: Mode, waker: &Waker) -> Wait {
    loop {
        match registration.wait(mode, waker).0 {
            Wait::Again => thread::yield_now(),
            wait => return wait,
        }
    }
}

fn end_against_park() {
    let world = World::new();
    let registration = world.alloc();
    let task = Task::new();
    let (wait, ()) = race(&world, |_| poll(&registration, Mode::Read, &task.waker), World::end);
    world.has_ended(&registration, Mode::Read, task, wait);
    world.assert_no_waiters();
}

fn end_against_park_of_both() {
    let world = World::new();
    let registration = world.alloc();
    let (reader, writer) = (Task::new(), Task::new());
    let park = |_: &World| {
        let read = poll(&registration, Mode::Read, &reader.waker);
        (read, poll(&registration, Mode::Write, &writer.waker))
    };
    let ((read, write), ()) = race(&world, park, World::end);
    world.has_ended(&registration, Mode::Read, reader, read);
    world.has_ended(&registration, Mode::Write, writer, write);
    world.assert_no_waiters();
}

/// The end finds the slot in the free list, or after it was taken out of it.
fn end_against_alloc() {
    let world = World::new();
    let task = Task::new();
    let other = world.clone();
    let alloc = |_: &World| {
        let registration = other.alloc();
        let wait = poll(&registration, Mode::Read, &task.waker);
        (registration, wait)
    };
    let ((registration, wait), ()) = race(&world, alloc, World::end);
    world.has_ended(&registration, Mode::Read, task, wait);
    drop(registration);
    world.assert_no_waiters();
}

/// The end marks one generation of the slot, and its next owner waits in another.
fn end_against_reuse() {
    let world = World::new();
    let task = Task::new();
    let other = world.clone();
    let first = other.alloc();
    let reuse = |_: &World| {
        drop(first);
        let registration = other.alloc();
        let wait = poll(&registration, Mode::Read, &task.waker);
        (registration, wait)
    };
    let ((registration, wait), ()) = race(&world, reuse, World::end);
    world.has_ended(&registration, Mode::Read, task, wait);
    drop(registration);
    world.assert_no_waiters();
}

/// A block is donated while the end goes through the directory.
fn end_against_growth(world: Arc<World>) {
    let task = Task::new();
    let other = world.clone();
    let _first = other.cache.alloc();
    let grow = |_: &World| {
        other.donate();
        let registration = other.alloc();
        let wait = poll(&registration, Mode::Read, &task.waker);
        (registration, wait)
    };
    let ((registration, wait), ()) = race(&world, grow, World::end);
    world.has_ended(&registration, Mode::Read, task, wait);
    drop(registration);
    world.assert_no_waiters();
}

/// The task is woken once, by the event or by the end, or finds one of the two.
fn end_and_event_against_park() {
    let world = World::new();
    let registration = world.alloc();
    let key = registration.key();
    let task = Task::new();
    let event = move |world: &World| {
        let mut list = GList::<2>::new();
        let desc = world.cache.get(key).expect("model: the slot is in use");
        let delivered =
            desc.ready(Event { key, modes: Modes::READ, flags: EventFlags::default() }, &mut list);
        assert!(delivered == Delivered::Woken(list.len()), "model: the event is of this generation");
        list.wake();
    };
    let park = |_: &World| poll(&registration, Mode::Read, &task.waker);
    let (wait, (), ()) = race3(&world, park, World::end, event);
    let told = match wait {
        Wait::Parked => task.counted.wakes() == 1,
        wait => wait == Wait::Ready || wait == Wait::Failed(PollErr::Ended),
    };
    assert!(told, "model: {wait:?}, woken {} times", task.counted.wakes());
    world.assert_no_waiters();
}

fn a_call_that_need_not_wait_goes_on() {
    let world = World::new();
    let registration = world.alloc();
    world.end();
    world.end();
    assert!(registration.reset(Mode::Read) == Ok(false), "model: a call may be made after the end");
    assert!(registration.desc().info().may_have_more(), "model: a read may skip its call after the end");
    let wait = registration.wait(Mode::Read, Waker::noop()).0;
    assert!(wait == Wait::Failed(PollErr::Ended), "model: {wait:?} after the end");
    drop(registration.evict());
    let wait = registration.wait(Mode::Read, Waker::noop()).0;
    assert!(wait == Wait::Failed(PollErr::Closing), "model: {wait:?} after a close");
    world.assert_no_waiters();
}
