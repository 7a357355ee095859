//! Models of `deadline`, with the descriptor around it: deadlines that pass, are moved, and fire.

use std::sync::Arc;

use loom::future::block_on;
use netpoll_core::{Mode, Modes, PollErr, When};

use super::desc::{Start, read_all};
use super::support::{Desc, Socket, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m02_past_deadline_against_read", 2, None, || against_read(Start::Nil, pass)),
    green("m02_past_deadline_against_read_from_ready", 2, None, || against_read(Start::Data, pass)),
    green("m02_past_deadline_against_read_from_stale_ready", 2, None, || against_read(Start::Stale, pass)),
    green("m02_firing_against_read", 2, None, || against_read(Start::Nil, fire)),
    green("m02_firing_against_read_from_ready", 2, None, || against_read(Start::Data, fire)),
    green("m02_firing_against_read_from_stale_ready", 2, None, || against_read(Start::Stale, fire)),
    green("m02_firing_against_read_and_write", 3, Some(3), firing_against_both),
    green("m05_firing_and_close_against_read", 3, Some(3), firing_and_close),
    green("m05_firing_and_event_against_read", 3, Some(2), firing_and_event),
    green("m09_firing_then_reset_then_event", 2, Some(4), firing_reset_event),
    green("m09_reader_resets_against_firing_then_event", 2, Some(4), reader_resets),
    green("m09_firing_against_reset_then_event", 3, Some(2), firing_against_reset_and_event),
    green("m11_close_against_firing", 2, None, close_against_firing),
    green("m11_clear_against_firing", 2, None, clear_against_firing),
    green("m19_earlier_write_against_firing", 2, None, || moved_against_firing(Modes::WRITE, 7)),
    green("m19_earlier_read_against_firing", 2, None, || moved_against_firing(Modes::READ, 3)),
    green("m19_later_read_against_firing", 2, None, || moved_against_firing(Modes::READ, 8)),
    green("m19_cleared_then_set_against_firing", 2, None, cleared_then_set),
    green("m19_two_setters_against_firing", 3, Some(3), two_setters),
    green("m19_postponed_against_firing", 2, None, || postponed_against_firing(8)),
    green("m19_postponed_or_set_earlier_against_firing", 2, None, || postponed_against_firing(3)),
    green("m19_postponed_after_an_earlier_one_against_firing", 3, Some(3), postponed_after_earlier),
    green("m19_close_against_setter", 2, None, close_against_setter),
];

/// The tick of the reader's deadline, at which the timer fires.
const DUE: usize = 5;

/// Sets a deadline that has passed already.
fn pass(socket: &Socket) {
    let Ok((list, None)) = socket.desc.set_deadline(Modes::READ, When::Expired) else {
        panic!("model: a timer is asked for a deadline in the past")
    };
    list.wake();
}

/// Fires the timer.
fn fire(socket: &Socket) {
    let (list, _) = socket.desc.desc().expire(DUE);
    list.wake();
}

fn set(socket: &Socket, modes: Modes, when: When) {
    let set = socket.desc.set_deadline(modes, when);
    assert!(set.is_ok_and(|(list, _)| list.is_empty()), "model: a deadline to come wakes no task");
}

fn against_read(start: Start, end: fn(&Socket)) {
    let socket = start.socket();
    set(&socket, Modes::READ, When::At(DUE));
    let ((messages, err), ()) = race(&socket, |socket| block_on(read_all(socket)), end);
    assert!(err == PollErr::Timeout, "model: {err:?} after the deadline");
    assert!(
        socket.desc.reset(Mode::Read) == Err(PollErr::Timeout),
        "model: a call goes on after the deadline"
    );
    assert!(messages <= start.messages(), "model: {messages} messages came");
    socket.assert_no_waiters();
}

/// One firing, one fence, two waiters.
fn firing_against_both() {
    let socket = Socket::new();
    set(&socket, Modes::BOTH, When::At(DUE));
    let (read, write, ()) = race3(
        &socket,
        |socket| block_on(socket.parked(Mode::Read)),
        |socket| block_on(socket.parked(Mode::Write)),
        fire,
    );
    assert!(read == Err(PollErr::Timeout) && write == read, "model: both waits time out");
    socket.assert_no_waiters();
}

fn firing_and_close() {
    let socket = Socket::new();
    set(&socket, Modes::READ, When::At(DUE));
    let (read, (), ()) = race3(&socket, |socket| block_on(socket.read()), fire, Socket::evict);
    assert!(matches!(read, Err(PollErr::Timeout | PollErr::Closing)), "model: {read:?}");
    let later = socket.desc.desc().check_err(Mode::Read);
    assert!(later == Err(PollErr::Closing), "model: closing comes before timeout, not {later:?}");
    socket.assert_no_waiters();
}

fn firing_and_event() {
    let socket = Socket::new();
    set(&socket, Modes::READ, When::At(DUE));
    let ((messages, err), (), ()) = race3(&socket, |socket| block_on(read_all(socket)), fire, Socket::arrive);
    assert!(err == PollErr::Timeout && messages <= 1, "model: {messages} messages, then {err:?}");
    socket.assert_no_waiters();
}

/// The deadline passes, is cleared by another task, and then a message comes. The reader may have seen the
/// timeout or not, but it does not miss the message, and does not time out after the clearing.
fn firing_reset_event() {
    let socket = Socket::new();
    set(&socket, Modes::READ, When::At(DUE));
    let (read, ()) = race(
        &socket,
        |socket| block_on(socket.read()),
        |socket| {
            fire(socket);
            set(socket, Modes::READ, When::Never);
            socket.arrive();
        },
    );
    let read = read.or_else(|err| {
        assert!(err == PollErr::Timeout, "model: {err:?}");
        block_on(socket.read())
    });
    assert!(read == Ok(()), "model: a timeout after the reset");
    socket.assert_no_waiters();
}

/// The reader itself clears its deadline during the firing: its read never times out.
fn reader_resets() {
    let socket = Socket::new();
    set(&socket, Modes::READ, When::At(DUE));
    let read = |socket: &Socket| {
        set(socket, Modes::READ, When::Never);
        block_on(socket.read())
    };
    let (read, ()) = race(&socket, read, |socket| {
        fire(socket);
        socket.arrive();
    });
    assert!(read == Ok(()), "model: a timeout after the reset");
    socket.assert_no_waiters();
}

/// The race of `firing_reset_event` with nothing that orders the firing and the clearing.
fn firing_against_reset_and_event() {
    let socket = Socket::new();
    set(&socket, Modes::READ, When::At(DUE));
    let clear = |socket: &Socket| {
        set(socket, Modes::READ, When::Never);
        socket.arrive();
    };
    let (read, (), ()) = race3(&socket, |socket| block_on(socket.read()), fire, clear);
    let read = read.or_else(|err| {
        assert!(err == PollErr::Timeout, "model: {err:?}");
        block_on(socket.read())
    });
    assert!(read == Ok(()), "model: a timeout after the reset");
    socket.assert_no_waiters();
}

/// A descriptor and its entry in the timer wheel, under the wheel's lock.
struct Timed {
    desc: Desc,
    wheel: loom::sync::Mutex<Option<usize>>,
}

impl Timed {
    /// Creates a descriptor whose read deadline is due, whose write deadline is later, and whose timer is
    /// armed for the first.
    fn new() -> Arc<Timed> {
        let timed = Arc::new(Timed { desc: Desc::new(), wheel: loom::sync::Mutex::new(None) });
        timed.set(Modes::READ, When::At(DUE));
        timed.set(Modes::WRITE, When::At(9));
        timed
    }

    fn set(&self, modes: Modes, when: When) {
        let Ok((_, Some(at))) = self.desc.set_deadline(modes, when) else { return };
        let mut entry = self.wheel.lock().expect("no model panics in the wheel");
        if self.desc.arm_timer(at).is_some() {
            *entry = Some(at);
        }
    }

    /// Moves a deadline as the runtime does if the new deadline has not passed.
    fn postpone(&self, modes: Modes, at: usize) {
        if !self.desc.postpone(modes, at) {
            self.set(modes, When::At(at));
        }
    }

    fn fire(&self) {
        let mut entry = self.wheel.lock().expect("no model panics in the wheel");
        if entry.take_if(|at| *at <= DUE).is_some() {
            *entry = self.desc.desc().expire(DUE).1;
        }
    }

    fn close(&self) {
        drop(self.desc.evict());
        *self.wheel.lock().expect("no model panics in the wheel") = None;
    }

    /// Asserts that the timer fires no later than each deadline that is still to come.
    fn covered(&self) {
        let entry = *self.wheel.lock().expect("no model panics in the wheel");
        for mode in [Mode::Read, Mode::Write] {
            if let When::At(deadline) = self.desc.desc().deadline(mode) {
                let covers = entry.is_some_and(|at| at <= deadline);
                assert!(covers, "model: {mode:?} is due at {deadline}, the timer fires at {entry:?}");
            }
        }
    }
}

fn moved_against_firing(modes: Modes, at: usize) {
    let timed = Timed::new();
    race(&timed, move |timed| timed.set(modes, When::At(at)), Timed::fire);
    timed.covered();
}

fn cleared_then_set() {
    let timed = Timed::new();
    let edit = |timed: &Timed| {
        timed.set(Modes::READ, When::Never);
        timed.set(Modes::READ, When::At(6));
    };
    race(&timed, edit, Timed::fire);
    timed.covered();
    assert!(
        timed.desc.desc().deadline(Mode::Read) == When::At(6),
        "model: the firing undid a newer deadline"
    );
}

/// A deadline that moves later needs no order between setter and firing. One that moves earlier is ordered by
/// the fences.
fn postponed_against_firing(at: usize) {
    let timed = Timed::new();
    race(&timed, move |timed| timed.postpone(Modes::READ, at), Timed::fire);
    timed.covered();
    let deadline = timed.desc.desc().deadline(Mode::Read);
    assert!(matches!(deadline, When::At(tick) if tick == at) || at <= DUE, "model: {deadline:?} after {at}");
}

/// One setter moves the write deadline from 9 to 6, another to 7. The second may see the first or not.
fn postponed_after_earlier() {
    let timed = Timed::new();
    race3(
        &timed,
        |timed| timed.set(Modes::WRITE, When::At(6)),
        |timed| timed.postpone(Modes::WRITE, 7),
        Timed::fire,
    );
    timed.covered();
}

fn two_setters() {
    let timed = Timed::new();
    race3(
        &timed,
        |timed| timed.set(Modes::READ, When::At(7)),
        |timed| timed.set(Modes::WRITE, When::At(6)),
        Timed::fire,
    );
    timed.covered();
}

/// The timer fires while the descriptor is closed: no entry is left, and the close does not look like a
/// timeout.
fn close_against_firing() {
    let timed = Timed::new();
    race(&timed, Timed::close, Timed::fire);
    let entry = *timed.wheel.lock().expect("no model panics in the wheel");
    assert!(entry.is_none(), "model: a closed descriptor is put back into the wheel");
    assert!(
        timed.desc.desc().check_err(Mode::Read) == Err(PollErr::Closing),
        "model: closing comes before timeout"
    );
}

/// A deadline that is cleared while it fires has not passed, in either order.
fn clear_against_firing() {
    let timed = Timed::new();
    race(&timed, |timed| timed.set(Modes::READ, When::Never), Timed::fire);
    assert!(timed.desc.desc().deadline(Mode::Read) == When::Never, "model: it fires after it was cleared");
    assert!(timed.desc.desc().check_err(Mode::Read) == Ok(()), "model: a timeout without a deadline");
    timed.covered();
}

/// A deadline is set while the descriptor is closed: no timer is left for a slot that is about to be freed.
fn close_against_setter() {
    let timed = Arc::new(Timed { desc: Desc::new(), wheel: loom::sync::Mutex::new(None) });
    race(&timed, |timed| timed.set(Modes::READ, When::At(DUE)), Timed::close);
    let entry = *timed.wheel.lock().expect("no model panics in the wheel");
    assert!(entry.is_none(), "model: a timer is armed for a closed descriptor");
}
