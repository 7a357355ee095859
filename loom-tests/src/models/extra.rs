//! Models of several words at once, or of a duty that only `cargo xtask mutants` shows to be unasked for.

use std::sync::Arc;
use std::task::Waker;

use loom::future::block_on;
use netpoll_core::poll::fd_mutex::FdMutex;
use netpoll_core::poll::sema::{Arm, Commit, Sema, Unblock};
use netpoll_core::poll::waiters::Waiters;
use netpoll_core::sched::run_queue::Runq;
use netpoll_core::{Delivered, Event, EventFlags, GList, Mode, Modes, PollErr, Wait, When};

use super::support::{Counted, FIRST, Plain, Rig, Slots, event, hand_up, race, race3};
use crate::harness::{Expect, Model};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m01c_end_of_stream_behind_a_short_read", 2, Some(3), end_of_stream),
    green("m03_flags_come_before_their_readiness", 2, None, flags_before_readiness),
    green("m04b_readiness_taken_from_a_busy_winner", 2, None, taken_from_winner),
    green("m04b_two_polls_against_event_and_close", 3, Some(3), two_polls),
    green("m08_dropped_wait_is_not_counted", 1, None, dropped_wait),
    green("m10_nothing_outlives_a_generation", 1, None, nothing_outlives),
    green("m10b_busy_ends_after_reuse", 2, None, busy_ends),
    green("m13_no_more_is_stolen_than_fits", 1, None, no_more_than_fits),
    green("m18_closed_carries_what_came_before_it", 2, None, payload_through_closed),
];

const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// A stream with a message, whose edge has been delivered, and then its end.
struct Stream {
    rig: Arc<Rig>,
    ended: loom::sync::Mutex<bool>,
}

impl Stream {
    fn new() -> Arc<Stream> {
        let rig = Rig::new();
        rig.arrive();
        Arc::new(Stream { rig, ended: loom::sync::Mutex::new(false) })
    }

    /// The peer shuts down: the kernel queues the end, the poller delivers its edge. No other will come.
    fn end(&self) {
        *self.ended.lock().expect("no model panics in the kernel") = true;
        hang_up(&self.rig);
    }

    /// Reads to the end, as std-rt does: a read that came back short lets the next one wait at once, unless the peer is
    /// known to be gone.
    async fn read_to_end(&self) -> Result<(), PollErr> {
        let mut drained = false;
        loop {
            if std::mem::take(&mut drained) && !self.rig.desc.desc().info().may_have_more() {
                self.rig.parked(Mode::Read).await?;
                continue;
            }
            self.rig.desc.reset(Mode::Read)?;
            if self.rig.try_read() {
                drained = true;
            } else if *self.ended.lock().expect("no model panics in the kernel") {
                return Ok(());
            } else {
                self.rig.parked(Mode::Read).await?;
            }
        }
    }
}

/// The poller delivers that the peer has shut down its writing half.
fn hang_up(rig: &Rig) {
    let flags = EventFlags { read_hup: true, ..EventFlags::default() };
    let mut list = GList::<2>::new();
    let delivered = rig.desc.desc().ready(Event { key: FIRST, modes: Modes::READ, flags }, &mut list);
    assert!(delivered == Delivered::Woken(list.len()), "model: the event is of this generation");
    hand_up(list, rig.desc.waiters());
}

/// Who consumes the readiness of an event knows what the event said of the peer.
fn flags_before_readiness() {
    let wait = |rig: &Rig| {
        let waited = block_on(rig.parked(Mode::Read));
        (waited, rig.desc.desc().info().may_have_more())
    };
    let rig = Rig::new();
    let (seen, ()) = race(&rig, wait, hang_up);
    assert!(seen == (Ok(()), true), "model: a readiness without what its event said");
    rig.nobody_waits();
}

/// The end of the stream is queued behind the bytes of a short read: the reader comes to it all the same.
fn end_of_stream() {
    let stream = Stream::new();
    let (read, ()) = race(&stream, |stream| block_on(stream.read_to_end()), Stream::end);
    assert!(read == Ok(()), "model: the read failed");
    stream.rig.nobody_waits();
}

/// A semaphore with its count.
struct Parking {
    sema: Sema<2>,
    waiters: Waiters,
}

impl Parking {
    /// A task is parked.
    fn new() -> Arc<Parking> {
        let parking = Arc::new(Parking { sema: Sema::new(), waiters: Waiters::new() });
        assert!(parking.park() == Some(Commit::Parked), "model: nothing forbids to park");
        parking
    }

    /// One poll; nothing if a winner is at the slot, or there was a readiness.
    fn park(&self) -> Option<Commit> {
        match self.sema.arm(&self.waiters) {
            Arm::Armed(armed) => Some(armed.commit(Waker::noop()).0),
            Arm::Ready | Arm::Busy => None,
            Arm::Double => panic!("model: two tasks between arm and its end"),
        }
    }

    fn unblock(&self, ready: bool) {
        if let Unblock::Woke(_) = self.sema.unblock(0, ready) {
            self.waiters.sub(1);
        }
    }

    /// Nobody is at the slot any more: a task can park, and give up.
    fn free_again(&self) {
        self.sema.take();
        assert!(self.park() == Some(Commit::Parked), "model: a winner is still said to be at the slot");
        drop(self.sema.retract(&self.waiters));
        assert!(self.waiters.get() == 0, "model: waiters are counted, and nobody waits");
    }
}

/// A readiness is consumed while its winner is still at the slot: BUSY stands until the winner is done, and no longer.
fn taken_from_winner() {
    let parking = Parking::new();
    race(&parking, |parking| parking.sema.take(), |parking| parking.unblock(true));
    parking.free_again();
}

/// Nobody writes the slot while a winner is at it, whatever has been done to the word since.
fn two_polls() {
    let parking = Parking::new();
    let polls = |parking: &Parking| [parking.park(), parking.park()];
    race3(&parking, polls, |parking| parking.unblock(true), |parking| parking.unblock(false));
    parking.free_again();
}

/// A task waits and gives up, and nobody comes after it.
fn dropped_wait() {
    let rig = Rig::new();
    let (task, waker) = Counted::waker();
    assert!(rig.poll(Mode::Read, &waker) == Wait::Parked, "model: nothing forbids to park");
    rig.retract(Mode::Read);
    rig.nobody_waits();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// A thief whose own ring is full takes nothing.
fn no_more_than_fits() {
    let (queue, mine) = (Runq::<2>::new(), Runq::<2>::new());
    assert!([mine.put(1), mine.put(2), queue.put(3)] == [Ok(()); 3], "model: two tasks fit");
    let stolen = queue.steal_into(&mine);
    let left: Vec<usize> = std::iter::from_fn(|| mine.get()).collect();
    assert!(stolen.is_none() && left == [1, 2], "model: {stolen:?} was stolen, {left:?} were there");
}

/// A slot with one owner after another: deadlines, a timer and the peer's state end with their generation.
fn nothing_outlives() {
    let slots = Slots::<1>::new();
    slots.donate(0);
    for _ in 0..2 {
        let own = slots.alloc().expect("model: the slot is free");
        let desc = own.desc();
        for mode in [Mode::Read, Mode::Write] {
            assert!(desc.deadline(mode) == When::Never, "model: {mode:?} has the deadline of an old owner");
            let waited = own.wait(mode, Waker::noop()).0;
            assert!(waited == Wait::Parked, "model: {waited:?}: the last owner has left something");
        }
        let mut list = GList::<2>::new();
        assert!(
            desc.ready(event(own.key(), Modes::BOTH), &mut list) == Delivered::Woken(2),
            "model: both wait"
        );
        hand_up(list, slots.cache.waiters());
        let set = own.set_deadline(Modes::BOTH, When::At(5));
        assert!(set.is_ok_and(|(_, arm)| arm == Some(5)), "model: an old owner's timer counts as armed");
        assert!(own.arm_timer(5), "model: an old owner's timer counts as armed");
        slots.free(own);
    }
}

/// A winner is anywhere in its take while the slot is freed: the next owner can park in the end.
fn busy_ends() {
    let slots = Slots::<1>::new();
    slots.donate(0);
    let own = slots.alloc().expect("model: a block was donated");
    assert!(own.key() == FIRST, "model: a fresh block begins at generation 0");
    let waited = own.wait(Mode::Read, Waker::noop()).0;
    assert!(waited == Wait::Parked, "model: nothing forbids to park");
    let free = |slots: &Slots<1>| slots.free(own);
    race(&slots, free, |slots| {
        let mut list = GList::<2>::new();
        if let Some(desc) = slots.cache.get(FIRST) {
            let _stale_or_not = desc.ready(event(FIRST, Modes::READ), &mut list);
        }
        hand_up(list, slots.cache.waiters());
    });
    let own = slots.alloc().expect("model: the slot was freed");
    let waited = own.wait(Mode::Read, Waker::noop()).0;
    assert!(waited == Wait::Parked, "model: {waited:?}: a winner is still said to be at the slot");
    assert!(slots.free(own) == 1, "model: the new owner is evicted");
}

/// Who sees that the descriptor is closed sees what its closer did before.
fn payload_through_closed() {
    struct Rig(FdMutex, Plain<usize>);
    let look = |rig: &Rig| {
        let seen = rig.0.is_closed();
        assert!(!seen || rig.1.get() == 1, "model: closed without what came before it");
    };
    race(&Arc::new(Rig(FdMutex::new(), Plain::new(0))), look, |rig| {
        rig.1.set(1);
        let _ = rig.0.incref_and_close();
    });
}
