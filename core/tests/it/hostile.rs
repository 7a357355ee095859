//! Callers that break the rules: two tasks in one direction, wakers that reenter or panic, keys of other
//! owners. Safe code is refused, and no waker is dropped twice or lost.
//!
//! Under Miri (`cargo xtask miri`) each test also checks every memory access.

#![expect(unsafe_code, reason = "implements wakers whose clone and drop run code of the test")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;

use netpoll_core::poll::sema::{Arm, Armed, Commit, Sema, Unblock};
use netpoll_core::sync::RelaxedUsize;
use netpoll_core::{Event, EventFlags, GList, Mode, Modes, PollErr, PollKey, Wait, When};

use crate::common::{Slots, Task};

type S = Sema;

/// The number of rounds of a race: enough to hit it in a second, fewer under Miri.
const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };

fn arm(sema: &S) -> Armed<'_> {
    match sema.arm() {
        Arm::Armed(armed) => armed,
        other => panic!("no right to park, but {other:?}"),
    }
}

fn park(sema: &S, waker: &Waker) {
    let (end, displaced) = arm(sema).commit(waker);
    assert_eq!(end, Commit::Parked);
    displaced.wake();
}

#[test]
fn an_event_between_arm_and_commit_keeps_the_slot_from_a_second_task() {
    let sema = S::new();
    let ((first, one), (second, two)) = (Task::new(), Task::new());
    park(&sema, &one);
    let armed = arm(&sema);
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody));
    assert!(sema.take(), "another task may consume the readiness");
    assert!(matches!(sema.arm(), Arm::Busy), "but it may not arm before the first wait has ended");
    assert!(matches!(sema.unblock(0, false), Unblock::Nobody));
    assert!(matches!(sema.arm(), Arm::Busy));
    let (end, displaced) = armed.commit(&two);
    assert_eq!(end, Commit::Unblocked);
    displaced.wake();
    assert_eq!((first.wakes(), first.wakers(), second.wakers(), usize::from(sema.is_parked())), (1, 1, 1, 0));
    park(&sema, &two);
}

/// Two threads break the rule of one task per direction, with events and closes in between.
#[test]
fn two_tasks_that_park_at_once_neither_share_nor_lose_a_waker() {
    let sema = S::new();
    let tasks: Vec<_> = (0..2).map(|_| Task::new()).collect();
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for (_, waker) in &tasks {
            scope.spawn(|| {
                barrier.wait();
                for round in 0..ROUNDS {
                    match sema.arm() {
                        Arm::Armed(armed) if round % 3 == 0 => armed.abort().wake(),
                        Arm::Armed(armed) => armed.commit(waker).1.wake(),
                        Arm::Ready | Arm::Busy | Arm::Double => {}
                    }
                    if round % 5 == 0 {
                        drop(sema.retract());
                    }
                }
            });
        }
        barrier.wait();
        for round in 0..ROUNDS {
            if let Unblock::Woke(waker) = sema.unblock(0, round % 2 == 0) {
                waker.wake();
            }
        }
    });
    drop(sema.retract());
    for (task, _) in &tasks {
        assert_eq!(task.wakers(), 1, "each clone that was put into the slot was taken out once");
    }
    assert_eq!(usize::from(sema.is_parked()), 0);
}

/// Only the word itself orders the two tasks, which Miri checks.
#[test]
fn tasks_that_park_strictly_in_turn_are_ordered_by_the_word() {
    let (sema, turn) = (S::new(), RelaxedUsize::new());
    thread::scope(|scope| {
        for me in 0..2 {
            let (sema, turn) = (&sema, &turn);
            scope.spawn(move || {
                let (_, waker) = Task::new();
                for round in 0..ROUNDS.min(200) {
                    while turn.get() % 2 != me {
                        thread::yield_now();
                    }
                    match sema.arm() {
                        Arm::Armed(armed) if round % 2 == 0 => armed.commit(&waker).1.wake(),
                        Arm::Armed(armed) => armed.abort().wake(),
                        Arm::Ready | Arm::Busy | Arm::Double => {}
                    }
                    turn.set(1 - me);
                }
            });
        }
    });
    drop(sema.retract());
}

/// Code of a test that runs in a waker.
type Hook = Option<fn(&Hooked)>;

thread_local! {
    /// The code that the clone and the drop of a hooked waker run.
    static HOOKS: Cell<[Hook; 2]> = const { Cell::new([None; 2]) };
}

/// A semaphore that the code of its own waker can reach.
struct Hooked {
    sema: S,
    /// The number of wakers of this table that have not been dropped.
    wakers: Mutex<usize>,
}

impl Hooked {
    fn new() -> Arc<Self> {
        Arc::new(Self { sema: S::new(), wakers: Mutex::new(0) })
    }

    fn count(&self, change: isize) {
        let mut wakers = self.wakers.lock().expect("no thread panics while it holds the count");
        *wakers = wakers.checked_add_signed(change).expect("a waker is dropped once");
    }

    fn waker(self: &Arc<Self>) -> Waker {
        self.count(1);
        let raw = RawWaker::new(Arc::into_raw(self.clone()).cast(), &TABLE);
        // SAFETY: the functions of the table take the pointer as the reference that `Arc::into_raw` returned.
        unsafe { Waker::from_raw(raw) }
    }

    fn wakers(&self) -> usize {
        *self.wakers.lock().expect("no thread panics while it holds the count")
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn hook(which: usize, hooked: &Hooked) {
    // Once only, since a hook may clone and drop again.
    let mut hooks = HOOKS.get();
    if let Some(hook) = hooks[which].take() {
        HOOKS.set(hooks);
        hook(hooked);
    }
}

/// # Safety
///
/// `data` is that of a waker of this table.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: a waker of this table has a reference of the Arc, and this waker is not dropped.
    let hooked = unsafe { std::mem::ManuallyDrop::new(Arc::from_raw(data.cast::<Hooked>())) };
    hook(0, &hooked);
    hooked.count(1);
    RawWaker::new(Arc::into_raw((*hooked).clone()).cast(), &TABLE)
}

/// # Safety
///
/// `data` is that of a waker of this table.
unsafe fn wake(data: *const ()) {
    // SAFETY: as in `clone`; the waker is consumed.
    let hooked = unsafe { Arc::from_raw(data.cast::<Hooked>()) };
    hooked.count(-1);
}

/// # Safety
///
/// `data` is that of a waker of this table.
unsafe fn wake_by_ref(_data: *const ()) {}

/// # Safety
///
/// `data` is that of a waker of this table.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: as in `clone`; the waker is consumed.
    let hooked = unsafe { Arc::from_raw(data.cast::<Hooked>()) };
    hooked.count(-1);
    hook(1, &hooked);
}

#[test]
fn a_waker_whose_clone_reenters_the_semaphore_is_refused() {
    fn come_back(hooked: &Hooked) {
        assert!(matches!(hooked.sema.arm(), Arm::Double), "the first task has armed");
        assert!(hooked.sema.retract().is_none() && !hooked.sema.take());
        assert!(matches!(hooked.sema.unblock(0, true), Unblock::Nobody));
        assert!(matches!(hooked.sema.arm(), Arm::Ready));
        assert!(matches!(hooked.sema.arm(), Arm::Busy), "the first task still owns the slot");
        assert!(matches!(hooked.sema.unblock(0, true), Unblock::Nobody));
    }
    let hooked = Hooked::new();
    let waker = hooked.waker();
    HOOKS.set([Some(come_back), None]);
    let (end, displaced) = arm(&hooked.sema).commit(&waker);
    assert_eq!(end, Commit::Ready, "the event of the clone is consumed");
    assert!(displaced.is_none());
    assert_eq!((hooked.wakers(), usize::from(hooked.sema.is_parked())), (1, 0));
}

#[test]
fn a_waker_whose_drop_reenters_the_semaphore_finds_the_slot_empty_and_free() {
    fn come_back(hooked: &Hooked) {
        arm(&hooked.sema).abort().wake();
    }
    let hooked = Hooked::new();
    let waker = hooked.waker();
    let armed = arm(&hooked.sema);
    assert!(matches!(hooked.sema.unblock(0, false), Unblock::Nobody));
    HOOKS.set([None, Some(come_back)]);
    assert_eq!(armed.commit(&waker).0, Commit::Unblocked);
    assert_eq!((hooked.wakers(), usize::from(hooked.sema.is_parked())), (1, 0));
}

#[test]
fn a_waker_whose_clone_panics_ends_the_parking_and_wakes_the_task_it_displaced() {
    let hooked = Hooked::new();
    let (task, parked) = Task::new();
    park(&hooked.sema, &parked);
    let (waker, armed) = (hooked.waker(), arm(&hooked.sema));
    HOOKS.set([Some(|_| panic!("a clone that panics")), None]);
    assert!(catch_unwind(AssertUnwindSafe(|| armed.commit(&waker))).is_err());
    assert_eq!((task.wakes(), task.wakers(), usize::from(hooked.sema.is_parked())), (1, 1, 0));
    park(&hooked.sema, &parked);
}

#[test]
fn a_waker_whose_drop_panics_loses_no_wakeup() {
    let hooked = Hooked::new();
    let (task, parked) = Task::new();
    park(&hooked.sema, &parked);
    let (waker, armed) = (hooked.waker(), arm(&hooked.sema));
    assert!(matches!(hooked.sema.unblock(0, true), Unblock::Nobody));
    HOOKS.set([None, Some(|_| panic!("a drop that panics"))]);
    assert!(catch_unwind(AssertUnwindSafe(|| armed.commit(&waker))).is_err());
    assert_eq!((task.wakes(), usize::from(hooked.sema.is_parked())), (1, 0));
    park(&hooked.sema, &parked);
}

#[test]
fn a_leaked_right_to_park_keeps_others_out_and_breaks_nothing() {
    let sema = S::new();
    let (task, waker) = Task::new();
    park(&sema, &waker);
    std::mem::forget(arm(&sema));
    assert!(matches!(sema.arm(), Arm::Double));
    assert!(matches!(sema.unblock(0, true), Unblock::Nobody) && sema.take());
    assert!(matches!(sema.arm(), Arm::Busy));
    drop(sema);
    assert_eq!(task.wakers(), 1, "the waker is dropped with the semaphore");
}

/// A waker whose clones the Arc counts, on every thread.
struct Silent;

impl Wake for Silent {
    fn wake(self: Arc<Self>) {}
}

/// Makes random calls for its own slots and those of other threads.
fn storm(slots: &Slots<4, 24>, held: &Mutex<Vec<PollKey>>, mut seed: usize, task: &Arc<Silent>) {
    let mut own = Vec::new();
    for _ in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (choice, mode) = ((seed >> 33) % 10, if seed & 1 << 40 == 0 { Mode::Read } else { Mode::Write });
        let waker = Waker::from(task.clone());
        let key = PollKey { slot: (seed >> 20) as u32 % 5, fdseq: (seed >> 24) as u32 % 8 };
        if choice < 2 {
            if let Some(registration) = slots.cache.alloc() {
                let mut held = held.lock().expect("no thread panics here");
                assert!(held.iter().all(|key| key.slot != registration.key().slot), "a slot with two owners");
                held.push(registration.key());
                own.push(registration);
            }
        } else if choice < 5 {
            // A key such as a poller, a timer or another closer has: of any generation, or of none.
            let Some(desc) = slots.cache.get(key) else { continue };
            let event = Event { key, modes: Modes::from(mode), flags: EventFlags::default() };
            let mut list = GList::<2>::new();
            let _any = desc.ready(event, &mut list);
            list.wake();
            if choice == 3 {
                desc.evict(key.fdseq).wake();
            }
            desc.expire(seed >> 50).0.wake();
        } else if let Some(registration) = own.last() {
            match choice {
                5 => registration.wait(mode, &waker).1.wake(),
                6 => drop(registration.retract(mode)),
                7 => match registration.set_deadline(Modes::from(mode), When::At(seed >> 50)) {
                    Ok((list, arm)) => {
                        list.wake();
                        arm.and_then(|at| registration.arm_timer(at));
                    }
                    Err(why) => assert_eq!(why, PollErr::Closing),
                },
                _ => {
                    let registration = own.pop().expect("it was there");
                    let key = registration.key();
                    let mut held = held.lock().expect("no thread panics here");
                    held.retain(|held| *held != key);
                    registration.free().wake();
                }
            }
        }
    }
    let mut held = held.lock().expect("no thread panics here");
    held.retain(|held| own.iter().all(|registration| registration.key() != *held));
    drop(own);
}

#[test]
fn threads_that_call_anything_in_any_order_give_no_slot_to_two_owners_and_lose_no_waker() {
    let (slots, held) = (Slots::<4, 24>::new(), Mutex::new(Vec::new()));
    let task = Arc::new(Silent);
    thread::scope(|scope| {
        for seed in 1..4 {
            let (slots, held, task) = (&slots, &held, &task);
            scope.spawn(move || storm(slots, held, seed, task));
        }
    });
    assert_eq!((Arc::strong_count(&task), slots.cache.parked()), (1, 0));
    let all: Vec<_> = std::iter::from_fn(|| slots.cache.alloc()).collect();
    assert_eq!(all.len(), 4, "no slot is lost, and none is in the free list twice");
    let (_, waker) = Task::new();
    for registration in &all {
        assert_eq!(registration.wait(Mode::Read, &waker).0, Wait::Parked);
    }
}
