//! Models of a parking that several tasks share, as those of `poll_*` functions do: one waker in the semaphore
//! stands for a list. A task that finds the parking joins the list and makes no call. It registers before it
//! looks, so an event that ends the parking either wakes it or is seen by it.
//!
//! While one task polls, it parks its own waker. The second one displaces it, moves both into the list and parks the
//! shared waker. It looks afterwards, since an event may end that parking before both are in the list.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use loom::future::block_on;
use loom::sync::{Mutex, Notify};
use loom::thread;
use netpoll_core::{Mode, Wait};

use super::support::{Socket, race};
use crate::harness::{Expect, Model, green, red};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m04d_join_against_event", 2, None, || join(Order::RegisterFirst, Socket::arrive)),
    green("m04d_join_against_close", 2, None, || join(Order::RegisterFirst, close)),
    red("m04d_flawed_look_before_registration", 2, Some(3), Expect::Deadlock, || {
        join(Order::LookFirst, Socket::arrive)
    }),
    green("m04d_share_against_event", 2, None, || share(Look::Always, Socket::arrive)),
    green("m04d_share_against_close", 2, None, || share(Look::Always, close)),
    red("m04d_flawed_share_without_a_look_after_it_parked", 2, Some(3), Expect::Deadlock, || {
        share(Look::UnlessParked, Socket::arrive)
    }),
    red("m04d_flawed_share_without_a_look_after_a_readiness", 2, Some(3), Expect::Deadlock, || {
        share(Look::IfParked, Socket::arrive)
    }),
];

#[derive(Clone, Copy, PartialEq)]
enum Order {
    RegisterFirst,
    LookFirst,
}

/// The tasks that share a waker. Loom sees its lock, which is the list's mutex in netpoll-rt.
#[derive(Default)]
struct List(Mutex<Vec<Waker>>);

impl List {
    fn register(&self, waker: &Waker) {
        self.0.lock().expect("no thread panics with the list").push(waker.clone());
    }
}

impl Wake for List {
    fn wake(self: Arc<Self>) {
        let all = mem::take(&mut *self.0.lock().expect("no thread panics with the list"));
        all.into_iter().for_each(Waker::wake);
    }
}

fn close(socket: &Socket) {
    socket.evict();
}

/// A task joins a parking that another one has left, while `end` ends it. It has to come to its end.
fn join(order: Order, end: fn(&Socket)) {
    let (socket, list) = (Socket::new(), Arc::new(List::default()));
    let shared = Waker::from(list.clone());
    assert!(socket.poll(Mode::Read, &shared) == Wait::Parked, "model: the first task may park");
    let is_parked = |socket: &Socket| socket.desc.desc().is_parked(Mode::Read);
    let joins = |socket: &Socket| {
        block_on(poll_fn(|cx| {
            let parked = match order {
                Order::LookFirst => {
                    let parked = is_parked(socket);
                    list.register(cx.waker());
                    parked
                }
                Order::RegisterFirst => {
                    list.register(cx.waker());
                    is_parked(socket)
                }
            };
            if parked { Poll::Pending } else { Poll::Ready(()) }
        }));
    };
    race(&socket, joins, end);
    assert!(!is_parked(&socket), "model: the parking has ended");
    drop(shared);
    socket.assert_no_waiters();
    drop(list);
}

/// When the second task looks whether the list has to be woken.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Always,
    UnlessParked,
    IfParked,
}

/// A task that sleeps until it is woken.
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

impl Sleeper {
    fn waker() -> (Arc<Sleeper>, Waker) {
        let task = Arc::new(Sleeper(Notify::new()));
        (task.clone(), Waker::from(task))
    }
}

/// A task shares the parking of another one, while `end` ends it. Both have to be woken.
fn share(look: Look, end: fn(&Socket)) {
    let (socket, list) = (Socket::new(), Arc::new(List::default()));
    let shared = Waker::from(list.clone());
    let ((first, first_waker), (second, second_waker)) = (Sleeper::waker(), Sleeper::waker());
    assert!(socket.poll(Mode::Read, &first_waker) == Wait::Parked, "model: the first task may park");
    let shares = |socket: &Socket| {
        let (wait, displaced) = socket.desc.wait(Mode::Read, &second_waker);
        match displaced.into_waker() {
            None => {}
            Some(other) if wait == Wait::Parked => return share_with(socket, &list, &shared, look, &other),
            Some(other) => other.wake(),
        }
        wait
    };
    let shares = |socket: &Socket| {
        loop {
            match shares(socket) {
                Wait::Again => thread::yield_now(),
                wait => return wait,
            }
        }
    };
    let (wait, ()) = race(&socket, shares, end);
    first.0.wait();
    if wait == Wait::Parked {
        second.0.wait();
    }
    assert!(!socket.desc.desc().is_parked(Mode::Read), "model: the parking has ended");
    socket.assert_no_waiters();
}

/// Moves `other` and the task that has displaced it into the list, and parks the shared waker.
fn share_with(socket: &Socket, list: &List, shared: &Waker, look: Look, other: &Waker) -> Wait {
    list.register(other);
    let (wait, own) = socket.desc.park(Mode::Read, shared);
    if let Some(own) = own.into_waker() {
        list.register(&own);
    }
    let parked = wait == Wait::Parked;
    let ended = !parked || !socket.desc.desc().is_parked(Mode::Read);
    let looks = match look {
        Look::Always => true,
        Look::UnlessParked => !parked,
        Look::IfParked => parked,
    };
    if ended && looks {
        shared.wake_by_ref();
    }
    wait
}
