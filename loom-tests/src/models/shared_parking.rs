//! Models of a parking that several tasks share, as those of `poll_*` functions do: one waker in the semaphore
//! stands for a list. A task that finds the parking joins the list and makes no call. It registers before it
//! looks, so an event that ends the parking either wakes it or is seen by it.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use loom::future::block_on;
use loom::sync::Mutex;
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
