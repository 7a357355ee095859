//! Models of a parking that its task recognizes (INV-15). A task that is polled while it is parked returns at once. A
//! word or a number that is out of date must not make it sleep beside a parking that is another task's.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::thread;
use netpoll_core::poll::sema::ParkedTask;
use netpoll_core::{Mode, Modes, Wait};

use super::support::{Counted, Socket, race, race3};
use crate::harness::{Expect, Model, green, red};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m04e_polls_of_a_parked_task_against_event", 2, None, || polls(Socket::arrive)),
    green("m04e_polls_of_a_parked_task_against_close", 2, None, || polls(close)),
    green("m04e_parking_of_another_named_task", 3, Some(2), || other(Other::Named)),
    green("m04e_parking_of_another_task", 3, Some(2), || other(Other::Unnamed)),
    green("m04e_polls_with_one_waker_by_two_threads", 3, Some(2), || two_threads(Socket::arrive)),
    green("m04e_polls_with_one_waker_by_two_threads_against_close", 3, Some(2), || two_threads(close)),
    red("m04e_flawed_number_after_the_parking", 3, Some(2), Expect::Deadlock, || other(Other::NamedLate)),
];

/// The numbers of the tasks.
const OWN: usize = 1;
const OTHERS: usize = 2;

/// A direction that tasks poll, each of which leaves its number.
struct Line {
    socket: Arc<Socket>,
    parked: ParkedTask,
    /// The lock of the direction. A task that finds its own parking does not take it.
    lock: loom::sync::Mutex<()>,
}

impl Line {
    fn new() -> Arc<Self> {
        Arc::new(Self { socket: Socket::new(), parked: ParkedTask::new(), lock: loom::sync::Mutex::new(()) })
    }

    fn is_parked_as(&self, task: usize) -> bool {
        self.socket.desc.desc().is_parked_as(Mode::Read, &self.parked, task)
    }

    /// Polls for a message as the `poll_*` functions do, in the turn of the task with that number, or in none. A task that is
    /// displaced is woken. Ready with false if the descriptor is closed.
    fn poll(&self, turn: Option<usize>, cx: &Context<'_>) -> Poll<bool> {
        if turn.is_some_and(|task| self.is_parked_as(task)) {
            return Poll::Pending;
        }
        let (kind, task) = turn.map_or((Other::Unnamed, 0), |task| (Other::Named, task));
        let _locked = self.lock.lock().expect("no thread panics with the lock");
        loop {
            if self.socket.desc.reset(Mode::Read).is_err() {
                return Poll::Ready(false);
            }
            if self.socket.try_read() {
                return Poll::Ready(true);
            }
            match self.park(kind, task, cx.waker()) {
                Wait::Parked => return Poll::Pending,
                Wait::Failed(_) => return Poll::Ready(false),
                Wait::Ready => {}
                Wait::Again => thread::yield_now(),
            }
        }
    }

    fn park(&self, kind: Other, task: usize, waker: &Waker) -> Wait {
        let desc = &self.socket.desc;
        let (wait, displaced) = match kind {
            Other::Named => desc.park_named(Mode::Read, waker, &self.parked, task),
            Other::Unnamed => desc.park(Mode::Read, waker),
            Other::NamedLate => {
                // A number of no task, and the right one when the word says already that there is one.
                let late = ParkedTask::new();
                desc.park_named(Mode::Read, waker, &late, task)
            }
        };
        displaced.wake();
        wait
    }
}

/// How the other task parks.
#[derive(Clone, Copy)]
enum Other {
    /// It leaves its number.
    Named,
    /// It is an operation, which leaves none.
    Unnamed,
    /// The word says that it has left its number, and it has not.
    NamedLate,
}

fn close(socket: &Socket) {
    socket.evict();
}

/// A task is polled twice each time, while `end` ends its wait. It has to come to its end.
fn polls(end: fn(&Socket)) {
    let line = Line::new();
    let task = |line: &Line| {
        block_on(poll_fn(|cx| match line.poll(Some(OWN), cx) {
            Poll::Pending => line.poll(Some(OWN), cx),
            ready => ready,
        }))
    };
    let (_, ()) = race(&line, task, move |line| end(&line.socket));
    line.socket.assert_no_waiters();
}

/// A task was parked, and has been woken in vain, since another one has taken the message. That one parks while the first one is
/// polled again. The next message has to wake the first one, which displaces the other one if it comes later.
fn other(kind: Other) {
    let line = Line::new();
    let (first, waker) = Counted::waker();
    assert!(line.poll(Some(OWN), &Context::from_waker(&waker)).is_pending(), "model: the task may park");
    line.socket.arrive();
    assert!(first.wakes() == 1, "model: the event wakes the task");
    assert!(line.socket.desc.reset(Mode::Read) == Ok(true), "model: the readiness stays");
    assert!(line.socket.try_read(), "model: the other task takes the message");
    let (_other, other_waker) = Counted::waker();
    let task = |line: &Line| block_on(poll_fn(|cx| line.poll(Some(OWN), cx)));
    let parks = move |line: &Line| {
        let _locked = line.lock.lock().expect("no thread panics with the lock");
        while line.park(kind, OTHERS, &other_waker) == Wait::Again {
            thread::yield_now();
        }
    };
    let (read, (), ()) = race3(&line, task, parks, |line| line.socket.arrive());
    assert!(read, "model: the descriptor is open");
    line.socket.retract(Mode::Read);
    line.socket.assert_no_waiters();
}

/// Another task is parked. A task polls in its turn, and another thread polls with a clone of its waker, while something comes
/// that makes this second poll fail to park. If the first poll is pending, the next message wakes the task, unless it has been
/// woken already. (If the second poll used the number too, the first could find it and be never woken.)
fn two_threads(comes: fn(&Socket)) {
    let line = Line::new();
    let (_other, other_waker) = Counted::waker();
    assert!(
        line.poll(Some(OTHERS), &Context::from_waker(&other_waker)).is_pending(),
        "model: the task may park"
    );
    let (task, waker) = Counted::waker();
    let its_clone = waker.clone();
    let in_turn = |line: &Line| line.poll(Some(OWN), &Context::from_waker(&waker));
    let beside = move |line: &Line| {
        line.socket.deliver(Modes::READ);
        _ = line.poll(None, &Context::from_waker(&its_clone));
    };
    let (polled, (), ()) = race3(&line, in_turn, beside, move |line| comes(&line.socket));
    line.socket.arrive();
    assert!(polled.is_ready() || task.wakes() > 0, "model: a pending poll is woken");
    line.socket.retract(Mode::Read);
    line.socket.assert_no_waiters();
}
