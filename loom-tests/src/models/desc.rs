//! Models of `poll_desc`: a waiter against events and closes. What has to do with time is in `deadline`.

use std::sync::Arc;

use loom::future::block_on;
use netpoll_core::{Mode, Modes, PollErr, Wait};

use super::support::{Counted, Rig, race, race3, race4};
use crate::harness::{Expect, Model};

/// The models of this word.
pub const MODELS: &[Model] = &[
    green("m01_event_against_read", 2, None, || event_against_read(Start::Nil)),
    green("m01_event_against_read_from_stale_ready", 2, None, || event_against_read(Start::Stale)),
    green("m01_two_events_against_two_reads", 2, Some(3), two_events),
    green("m01c_short_read_then_wait", 2, Some(3), || short_read(Skip::SyscallAndReset)),
    Model {
        name: "m01c_short_read_that_resets_loses_an_edge",
        threads: 2,
        bound: Some(3),
        expect: Expect::Deadlock,
        body: || short_read(Skip::SyscallAlone),
    },
    green("m02_close_against_read", 2, None, || close_against_read(Start::Nil)),
    green("m02_close_against_read_from_ready", 2, None, || close_against_read(Start::Data)),
    green("m02_close_against_read_from_stale_ready", 2, None, || close_against_read(Start::Stale)),
    green("m02_close_against_read_and_write", 3, Some(3), close_against_both),
    green("m03_payload_through_wait", 2, None, payload_through_wait),
    green("m03_payload_through_refused_reset", 2, None, payload_through_refused_reset),
    green("m03_payload_through_refused_wait", 2, None, payload_through_refused_wait),
    green("m05_close_and_event_against_read", 3, Some(2), close_and_event),
    green("m05_close_and_event_against_read_and_write", 4, Some(1), close_and_event_against_both),
    green("m08_dropped_read_against_event", 2, Some(4), dropped_read_against_event),
    green("m08_dropped_read_against_close", 2, None, dropped_read_against_close),
    green("m17_count_of_reader_and_writer", 3, Some(2), count_of_both),
];

const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// What the read semaphore and the kernel hold when the race begins.
#[derive(Clone, Copy, PartialEq)]
pub enum Start {
    /// Nothing.
    Nil,
    /// A message, and its readiness.
    Data,
    /// A readiness whose message has been read already.
    Stale,
}

impl Start {
    pub fn rig(self) -> Arc<Rig> {
        let rig = Rig::new();
        if self == Start::Data {
            rig.arrive();
        }
        if self == Start::Stale {
            rig.deliver(Modes::READ);
        }
        rig
    }

    /// Messages to be read before any other comes.
    pub fn messages(self) -> usize {
        usize::from(self == Start::Data)
    }
}

/// Reads until it is refused: how many messages came, and why no more do.
pub async fn read_all(rig: &Rig) -> (usize, PollErr) {
    let mut messages = 0;
    loop {
        match rig.read().await {
            Ok(()) => messages += 1,
            Err(err) => return (messages, err),
        }
    }
}

fn event_against_read(start: Start) {
    let rig = start.rig();
    let (read, ()) = race(&rig, |rig| block_on(rig.read()), Rig::arrive);
    assert!(read == Ok(()), "model: the read failed");
    rig.nobody_waits();
}

fn two_events() {
    let rig = Rig::new();
    let reads = |rig: &Rig| block_on(async { (rig.read().await, rig.read().await) });
    let (read, ()) = race(&rig, reads, |rig| {
        rig.arrive();
        rig.arrive();
    });
    assert!(read == (Ok(()), Ok(())), "model: a read failed");
    rig.nobody_waits();
}

/// What a read leaves out after one that emptied the queue.
#[derive(Clone, Copy, PartialEq)]
enum Skip {
    SyscallAndReset,
    /// Wrong: the reset drops the edge of a message that nobody looks for.
    SyscallAlone,
}

/// Two reads; the second waits at once if the first found the last message.
fn short_read(skip: Skip) {
    async fn reads(rig: &Rig, skip: Skip) -> Result<(), PollErr> {
        let mut drained = false;
        for _ in 0..2 {
            loop {
                if !drained || skip == Skip::SyscallAlone {
                    rig.desc.reset(Mode::Read)?;
                }
                let found = if drained { 0 } else { rig.read_and_look() };
                drained = found == 1;
                if found > 0 {
                    break;
                }
                rig.parked(Mode::Read).await?;
            }
        }
        Ok(())
    }
    let rig = Rig::new();
    let (read, ()) = race(
        &rig,
        |rig| block_on(reads(rig, skip)),
        |rig| {
            rig.arrive();
            rig.arrive();
        },
    );
    assert!(read == Ok(()), "model: a read failed");
    rig.nobody_waits();
}

fn close_against_read(start: Start) {
    let rig = start.rig();
    let ((messages, err), ()) = race(&rig, |rig| block_on(read_all(rig)), Rig::evict);
    assert!(err == PollErr::Closing, "model: {err:?} of a closed descriptor");
    assert!(rig.desc.reset(Mode::Read) == Err(PollErr::Closing), "model: a call goes on after the close");
    assert!(messages <= start.messages(), "model: {messages} messages came");
    rig.nobody_waits();
}

/// One close, one fence, two waiters.
fn close_against_both() {
    let rig = Rig::new();
    let (read, write, ()) = race3(
        &rig,
        |rig| block_on(rig.parked(Mode::Read)),
        |rig| block_on(rig.parked(Mode::Write)),
        Rig::evict,
    );
    assert!(read == Err(PollErr::Closing) && write == read, "model: both waits are refused");
    rig.nobody_waits();
}

fn payload_through_wait() {
    let rig = Rig::new();
    let wait = |rig: &Rig| {
        let waited = block_on(rig.parked(Mode::Read));
        (waited, rig.payload.get())
    };
    let (seen, ()) = race(&rig, wait, |rig| {
        rig.payload.set(1);
        rig.deliver(Modes::READ);
    });
    assert!(seen == (Ok(()), 1), "model: a readiness without what it stands for");
    rig.nobody_waits();
}

fn payload_through_refused_reset() {
    let rig = Rig::new();
    let reset = |rig: &Rig| {
        let refused = rig.desc.reset(Mode::Read).is_err();
        assert!(!refused || rig.payload.get() == 1, "model: a close without what came before it");
    };
    race(&rig, reset, |rig| {
        rig.payload.set(1);
        rig.evict();
    });
    rig.nobody_waits();
}

fn payload_through_refused_wait() {
    let rig = Rig::new();
    let wait = |rig: &Rig| {
        let waited = block_on(rig.parked(Mode::Read));
        (waited, rig.payload.get())
    };
    let (seen, ()) = race(&rig, wait, |rig| {
        rig.payload.set(1);
        rig.evict();
    });
    assert!(seen == (Err(PollErr::Closing), 1), "model: a close without what came before it");
    rig.nobody_waits();
}

fn close_and_event() {
    let rig = Rig::new();
    let ((messages, err), (), ()) = race3(&rig, |rig| block_on(read_all(rig)), Rig::evict, Rig::arrive);
    assert!(err == PollErr::Closing && messages <= 1, "model: {messages} messages, then {err:?}");
    rig.nobody_waits();
}

/// Both directions are parked and polled once more, against one close and one event for both.
fn close_and_event_against_both() {
    let rig = Rig::new();
    let ((reader, read_waker), (writer, write_waker)) = (Counted::waker(), Counted::waker());
    for (mode, waker) in [(Mode::Read, &read_waker), (Mode::Write, &write_waker)] {
        assert!(rig.poll(mode, waker) == Wait::Parked, "model: nothing forbids to park");
    }
    let (read, write, (), ()) = race4(
        &rig,
        |rig| rig.poll(Mode::Read, &read_waker),
        move |rig| rig.poll(Mode::Write, &write_waker),
        Rig::evict,
        |rig| rig.deliver(Modes::BOTH),
    );
    drop(read_waker);
    for (task, wait) in [(reader, read), (writer, write)] {
        let refused = wait == Wait::Failed(PollErr::Closing);
        assert!(
            refused || wait == Wait::Ready || task.wakes() == 1,
            "model: {wait:?} and nobody woke the task"
        );
        assert!(task.wakes() <= 1 && Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
    rig.nobody_waits();
}

/// A task waits, gives up, and another waits in its place without looking at the kernel: it gets the readiness, and
/// no new edge will come.
fn dropped_read_against_event() {
    let rig = Rig::new();
    let (task, waker) = Counted::waker();
    let reads = |rig: &Rig| {
        let first = rig.poll(Mode::Read, &waker);
        rig.retract(Mode::Read);
        if first == Wait::Ready { Ok(()) } else { block_on(rig.parked(Mode::Read)) }
    };
    let (waited, ()) = race(&rig, reads, Rig::arrive);
    assert!(waited == Ok(()) && rig.try_read(), "model: the readiness was lost with the task that gave up");
    rig.nobody_waits();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

fn dropped_read_against_close() {
    let rig = Rig::new();
    let (task, waker) = Counted::waker();
    let reads = |rig: &Rig| {
        let first = rig.poll(Mode::Read, &waker);
        assert!(first != Wait::Ready, "model: no event came");
        rig.retract(Mode::Read);
        block_on(rig.parked(Mode::Read))
    };
    let (waited, ()) = race(&rig, reads, Rig::evict);
    assert!(waited == Err(PollErr::Closing), "model: {waited:?}");
    rig.nobody_waits();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// Events for both, one by one; `deliver` holds the count against those whom it has just taken out.
fn count_of_both() {
    let rig = Rig::new();
    let (read, write, ()) = race3(
        &rig,
        |rig| block_on(rig.parked(Mode::Read)),
        |rig| block_on(rig.parked(Mode::Write)),
        |rig| {
            rig.deliver(Modes::READ);
            rig.deliver(Modes::WRITE);
        },
    );
    assert!(read == Ok(()) && write == Ok(()), "model: a wait failed");
    rig.nobody_waits();
}
