//! Models of `desc`: a waiter against events and closes. The models of timeouts are in `deadline`.

use std::sync::Arc;

use loom::future::block_on;
use netpoll_core::{Delivered, Event, EventFlags, GList, Mode, Modes, PollErr, Wait};

use super::support::{Counted, FIRST, Socket, race, race3, race4};
use crate::harness::{Expect, Model, green, red};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m01_event_against_read", 2, None, || event_against_read(Start::Nil)),
    green("m01_event_against_read_from_stale_ready", 2, None, || event_against_read(Start::Stale)),
    green("m01_two_events_against_two_reads", 2, Some(3), two_events),
    green("m01c_short_read_then_wait", 2, Some(3), || short_read(Skip::SyscallAndReset)),
    red("m01c_short_read_that_resets_loses_an_edge", 2, Some(3), Expect::Deadlock, || {
        short_read(Skip::SyscallAlone);
    }),
    green("m01c_end_of_stream_behind_a_short_read", 2, Some(3), end_of_stream),
    green("m02_close_against_read", 2, None, || close_against_read(Start::Nil)),
    green("m02_close_against_read_from_ready", 2, None, || close_against_read(Start::Data)),
    green("m02_close_against_read_from_stale_ready", 2, None, || close_against_read(Start::Stale)),
    green("m02_close_against_read_and_write", 3, Some(3), close_against_both),
    green("m03_payload_through_wait", 2, None, payload_through_wait),
    green("m03_payload_through_refused_reset", 2, None, payload_through_refused_reset),
    green("m03_payload_through_refused_wait", 2, None, payload_through_refused_wait),
    green("m03_flags_come_before_their_readiness", 2, None, flags_before_readiness),
    green("m05_close_and_event_against_read", 3, Some(2), close_and_event),
    green("m05_close_and_event_against_read_and_write", 4, Some(1), close_and_event_against_both),
    green("m08_dropped_wait_is_not_counted", 1, None, dropped_wait),
    green("m08_dropped_read_against_event", 2, Some(4), dropped_read_against_event),
    green("m08_dropped_read_against_close", 2, None, dropped_read_against_close),
];

/// The state of the read semaphore and the kernel when the race begins.
#[derive(Clone, Copy, PartialEq)]
pub enum Start {
    /// The kernel has no message, and the semaphore no readiness.
    Nil,
    /// A message and its readiness.
    Data,
    /// A readiness whose message has been read already.
    Stale,
}

impl Start {
    pub fn socket(self) -> Arc<Socket> {
        let socket = Socket::new();
        if self == Start::Data {
            socket.arrive();
        }
        if self == Start::Stale {
            socket.deliver(Modes::READ);
        }
        socket
    }

    /// Returns the number of messages at the start.
    pub fn messages(self) -> usize {
        usize::from(self == Start::Data)
    }
}

/// Reads until it is refused. Returns how many messages came, and the error.
pub async fn read_all(socket: &Socket) -> (usize, PollErr) {
    let mut messages = 0;
    loop {
        match socket.read().await {
            Ok(()) => messages += 1,
            Err(err) => return (messages, err),
        }
    }
}

fn event_against_read(start: Start) {
    let socket = start.socket();
    let (read, ()) = race(&socket, |socket| block_on(socket.read()), Socket::arrive);
    assert!(read == Ok(()), "model: the read failed");
    socket.assert_no_waiters();
}

fn two_events() {
    let socket = Socket::new();
    let reads = |socket: &Socket| block_on(async { (socket.read().await, socket.read().await) });
    let (read, ()) = race(&socket, reads, |socket| {
        socket.arrive();
        socket.arrive();
    });
    assert!(read == (Ok(()), Ok(())), "model: a read failed");
    socket.assert_no_waiters();
}

/// The steps that a read leaves out after a read that emptied the queue.
#[derive(Clone, Copy, PartialEq)]
enum Skip {
    SyscallAndReset,
    /// Faulty: the reset consumes the readiness of a message for which no call looks.
    SyscallAlone,
}

/// Two reads. The second waits at once if the first found the last message.
fn short_read(skip: Skip) {
    async fn reads(socket: &Socket, skip: Skip) -> Result<(), PollErr> {
        let mut drained = false;
        for _ in 0..2 {
            loop {
                if !drained || skip == Skip::SyscallAlone {
                    socket.desc.reset(Mode::Read)?;
                }
                let found = if drained { 0 } else { socket.read_and_look() };
                drained = found == 1;
                if found > 0 {
                    break;
                }
                socket.parked(Mode::Read).await?;
            }
        }
        Ok(())
    }
    let socket = Socket::new();
    let (read, ()) = race(
        &socket,
        |socket| block_on(reads(socket, skip)),
        |socket| {
            socket.arrive();
            socket.arrive();
        },
    );
    assert!(read == Ok(()), "model: a read failed");
    socket.assert_no_waiters();
}

fn close_against_read(start: Start) {
    let socket = start.socket();
    let ((messages, err), ()) = race(&socket, |socket| block_on(read_all(socket)), Socket::evict);
    assert!(err == PollErr::Closing, "model: {err:?} of a closed descriptor");
    assert!(socket.desc.reset(Mode::Read) == Err(PollErr::Closing), "model: a call goes on after the close");
    assert!(messages <= start.messages(), "model: {messages} messages came");
    socket.assert_no_waiters();
}

/// One close, one fence, two waiters.
fn close_against_both() {
    let socket = Socket::new();
    let (read, write, ()) = race3(
        &socket,
        |socket| block_on(socket.parked(Mode::Read)),
        |socket| block_on(socket.parked(Mode::Write)),
        Socket::evict,
    );
    assert!(read == Err(PollErr::Closing) && write == read, "model: both waits are refused");
    socket.assert_no_waiters();
}

fn payload_through_wait() {
    let socket = Socket::new();
    let wait = |socket: &Socket| {
        let waited = block_on(socket.parked(Mode::Read));
        (waited, socket.payload.get())
    };
    let (seen, ()) = race(&socket, wait, |socket| {
        socket.payload.set(1);
        socket.deliver(Modes::READ);
    });
    assert!(seen == (Ok(()), 1), "model: a readiness without the data that it stands for");
    socket.assert_no_waiters();
}

fn payload_through_refused_reset() {
    let socket = Socket::new();
    let reset = |socket: &Socket| {
        let refused = socket.desc.reset(Mode::Read).is_err();
        assert!(!refused || socket.payload.get() == 1, "model: a close without the write before it");
    };
    race(&socket, reset, |socket| {
        socket.payload.set(1);
        socket.evict();
    });
    socket.assert_no_waiters();
}

fn payload_through_refused_wait() {
    let socket = Socket::new();
    let wait = |socket: &Socket| {
        let waited = block_on(socket.parked(Mode::Read));
        (waited, socket.payload.get())
    };
    let (seen, ()) = race(&socket, wait, |socket| {
        socket.payload.set(1);
        socket.evict();
    });
    assert!(seen == (Err(PollErr::Closing), 1), "model: a close without the write before it");
    socket.assert_no_waiters();
}

fn close_and_event() {
    let socket = Socket::new();
    let ((messages, err), (), ()) =
        race3(&socket, |socket| block_on(read_all(socket)), Socket::evict, Socket::arrive);
    assert!(err == PollErr::Closing && messages <= 1, "model: {messages} messages, then {err:?}");
    socket.assert_no_waiters();
}

/// Both directions are parked and polled once more, against one close and one event for both.
fn close_and_event_against_both() {
    let socket = Socket::new();
    let ((reader, read_waker), (writer, write_waker)) = (Counted::waker(), Counted::waker());
    for (mode, waker) in [(Mode::Read, &read_waker), (Mode::Write, &write_waker)] {
        assert!(socket.poll(mode, waker) == Wait::Parked, "model: the task may park");
    }
    let (read, write, (), ()) = race4(
        &socket,
        |socket| socket.poll(Mode::Read, &read_waker),
        move |socket| socket.poll(Mode::Write, &write_waker),
        Socket::evict,
        |socket| socket.deliver(Modes::BOTH),
    );
    drop(read_waker);
    for (task, wait) in [(reader, read), (writer, write)] {
        let refused = wait == Wait::Failed(PollErr::Closing);
        assert!(
            refused || wait == Wait::Ready || task.wakes() == 1,
            "model: {wait:?} but no thread woke the task"
        );
        assert!(task.wakes() <= 1 && Arc::strong_count(&task) == 1, "model: a waker is left over");
    }
    socket.assert_no_waiters();
}

/// A task waits and gives up, and another waits in its place without a system call: it gets the readiness,
/// since no other event will come.
fn dropped_read_against_event() {
    let socket = Socket::new();
    let (task, waker) = Counted::waker();
    let reads = |socket: &Socket| {
        let first = socket.poll(Mode::Read, &waker);
        socket.retract(Mode::Read);
        if first == Wait::Ready { Ok(()) } else { block_on(socket.parked(Mode::Read)) }
    };
    let (waited, ()) = race(&socket, reads, Socket::arrive);
    assert!(
        waited == Ok(()) && socket.try_read(),
        "model: the readiness was lost with the task that gave up"
    );
    socket.assert_no_waiters();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

fn dropped_read_against_close() {
    let socket = Socket::new();
    let (task, waker) = Counted::waker();
    let reads = |socket: &Socket| {
        let first = socket.poll(Mode::Read, &waker);
        assert!(first != Wait::Ready, "model: no event came");
        socket.retract(Mode::Read);
        block_on(socket.parked(Mode::Read))
    };
    let (waited, ()) = race(&socket, reads, Socket::evict);
    assert!(waited == Err(PollErr::Closing), "model: {waited:?}");
    socket.assert_no_waiters();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}

/// A stream with a message, whose event has been delivered, and then its end.
struct Stream {
    socket: Arc<Socket>,
    ended: loom::sync::Mutex<bool>,
}

impl Stream {
    fn new() -> Arc<Stream> {
        let socket = Socket::new();
        socket.arrive();
        Arc::new(Stream { socket, ended: loom::sync::Mutex::new(false) })
    }

    /// Queues the end in the kernel, since the peer shuts down, and delivers its event, the last one.
    fn end(&self) {
        *self.ended.lock().expect("no model panics in the kernel") = true;
        hang_up(&self.socket);
    }

    /// Reads to the end, as `netpoll-rt` does: after a short read the next one waits at once, unless the peer
    /// is known to have shut down.
    async fn read_to_end(&self) -> Result<(), PollErr> {
        let mut drained = false;
        loop {
            if std::mem::take(&mut drained) && !self.socket.desc.desc().info().may_have_more() {
                self.socket.parked(Mode::Read).await?;
                continue;
            }
            self.socket.desc.reset(Mode::Read)?;
            if self.socket.try_read() {
                drained = true;
            } else if *self.ended.lock().expect("no model panics in the kernel") {
                return Ok(());
            } else {
                self.socket.parked(Mode::Read).await?;
            }
        }
    }
}

/// Delivers the event of a peer that has shut down its writing half.
fn hang_up(socket: &Socket) {
    let flags = EventFlags { read_hup: true, ..EventFlags::default() };
    let mut list = GList::<2>::new();
    let delivered = socket.desc.desc().ready(Event { key: FIRST, modes: Modes::READ, flags }, &mut list);
    assert!(delivered == Delivered::Woken(list.len()), "model: the event is of this generation");
    list.wake();
}

/// A task that consumes the readiness of an event sees the flags of that event.
fn flags_before_readiness() {
    let wait = |socket: &Socket| {
        let waited = block_on(socket.parked(Mode::Read));
        (waited, socket.desc.desc().info().may_have_more())
    };
    let socket = Socket::new();
    let (seen, ()) = race(&socket, wait, hang_up);
    assert!(seen == (Ok(()), true), "model: a readiness without the flags of its event");
    socket.assert_no_waiters();
}

/// The end of the stream is queued behind the bytes of a short read: the reader still finds it.
fn end_of_stream() {
    let stream = Stream::new();
    let (read, ()) = race(&stream, |stream| block_on(stream.read_to_end()), Stream::end);
    assert!(read == Ok(()), "model: the read failed");
    stream.socket.assert_no_waiters();
}

/// A task waits and gives up, and no other task follows.
fn dropped_wait() {
    let socket = Socket::new();
    let (task, waker) = Counted::waker();
    assert!(socket.poll(Mode::Read, &waker) == Wait::Parked, "model: the task may park");
    socket.retract(Mode::Read);
    socket.assert_no_waiters();
    drop(waker);
    assert!(Arc::strong_count(&task) == 1, "model: a waker is left over");
}
