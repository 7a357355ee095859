//! The operations on one file.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use netpoll_rt::internal::protocol::file_queue::{Queue, Receiver, Service};
use netpoll_rt::internal::sync::thread::{self, Thread};
use netpoll_rt::internal::sync::{Mutex, lock};

use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    green("file_queue::two_tasks_put_operations", 4, Some(2), two_tasks_put),
    green("file_queue::operation_is_dropped_in_the_queue", 3, Some(2), dropped_in_the_queue),
    green("file_queue::kept_operation_is_made_without_its_future", 3, Some(2), kept_without_its_future),
    green("file_queue::release_waits_for_operations", 4, Some(2), release),
    green("file_queue::waker_panics_and_the_next_is_served", 3, Some(2), waker_panics),
    green("file_queue::operation_panics_and_says_so", 3, Some(2), operation_panics),
    green("file_queue::pool_drops_the_service", 3, Some(2), pool_drops),
    Model {
        name: "file_queue::control_waker_panics_and_ends_the_service",
        threads: 3,
        bound: Some(2),
        expect: Expect::Deadlock,
        body: careless_waker_panics,
    },
];

const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// A file: the numbers of the operations that were made on it, in a lock that the checker does not see.
#[derive(Default)]
struct File(std::sync::Mutex<Vec<u32>>);

impl File {
    fn note(&self, number: u32) {
        self.0.lock().expect("nothing panics while the list is held").push(number);
    }

    fn noted(&self) -> Vec<u32> {
        self.0.lock().expect("nothing panics while the list is held").clone()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that panics, without the hook of panics, which would print it for every schedule.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("a waker panics"));
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls once with a waker that panics.
fn poll_broken(answer: &mut Receiver<u32>) {
    let waker = Waker::from(Arc::new(Broken));
    let _either = pin!(answer).poll(&mut Context::from_waker(&waker));
}

fn pool(service: Service<File>) {
    drop(thread::spawn(move || drop(service.run(usize::MAX))));
}

fn put(queue: &Arc<Queue<File>>, number: u32) -> Receiver<u32> {
    let call = move |file: &File, _| {
        file.note(number);
        number
    };
    queue.put(call, pool)
}

/// Checks that each operation is made once, those of one task in their order.
fn two_tasks_put() {
    let queue = Queue::new(File::default());
    let other = {
        let queue = queue.clone();
        thread::spawn(move || wait(put(&queue, 10)))
    };
    let (first, second) = (put(&queue, 1), put(&queue, 2));
    assert_eq!((wait(second), wait(first)), (Some(2), Some(1)), "model: an answer is another's");
    assert_eq!(other.join().expect("no panic"), Some(10), "model: an answer is another's");
    let mut noted = queue.file().noted();
    assert!(noted.len() == 3 && noted.contains(&10), "model: {noted:?} were made");
    noted.retain(|&number| number != 10);
    assert_eq!(noted, [1, 2], "model: out of order");
}

/// Checks that an operation whose future is dropped is skipped or made, and those behind it are made.
fn dropped_in_the_queue() {
    let queue = Queue::new(File::default());
    let first = put(&queue, 1);
    drop(put(&queue, 2));
    let third = put(&queue, 3);
    assert_eq!((wait(third), wait(first)), (Some(3), Some(1)), "model: an answer is another's");
    let noted = queue.file().noted();
    assert!(noted == [1, 3] || noted == [1, 2, 3], "model: {noted:?} were made");
}

/// Checks that an operation that is kept is made in its turn, although its future is dropped.
fn kept_without_its_future() {
    let queue = Queue::new(File::default());
    let first = put(&queue, 1);
    drop(queue.put_kept(|file: &File, _| file.note(2), pool));
    let third = put(&queue, 3);
    assert_eq!((wait(third), wait(first)), (Some(3), Some(1)), "model: an answer is another's");
    assert_eq!(queue.file().noted(), [1, 2, 3], "model: an operation was not made, or out of order");
}

/// Checks that the file is given away after the operations before it, also by a thread that ends after its answer.
fn release() {
    let queue = Queue::new(File::default());
    let beside = {
        let share = queue.file_ref();
        thread::spawn(move || share.file().note(1))
    };
    let put = put(&queue, 2);
    let file = wait(queue.release()).expect("model: the file is lost");
    let mut noted = file.noted();
    noted.sort_unstable();
    assert_eq!(noted, [1, 2], "model: the file was given away too early");
    beside.join().expect("no panic");
    assert_eq!(wait(put), Some(2), "model: an answer is another's");
}

/// Lets the waker of another task panic: the next operation is still made, and the file is given away in the end.
fn waker_panics() {
    let queue = Queue::new(File::default());
    let mut broken = put(&queue, 1);
    poll_broken(&mut broken);
    let next = put(&queue, 2);
    assert_eq!(wait(next), Some(2), "model: an answer is another's");
    assert!(wait(queue.release()).is_some(), "model: the file is lost");
}

/// Lets an operation panic: it has no answer, and the next one is made.
fn operation_panics() {
    let queue = Queue::new(File::default());
    let panics: Receiver<u32> = queue.put(|_: &File, _| resume_unwind(Box::new("an operation panics")), pool);
    let next = put(&queue, 2);
    assert_eq!((wait(panics), wait(next)), (None, Some(2)), "model: an answer is another's");
    assert!(wait(queue.release()).is_some(), "model: the file is lost");
}

/// Ends the pool, which drops the service: every answer comes, and a later operation finds another thread.
fn pool_drops() {
    let queue = Queue::new(File::default());
    let ends = |service: Service<File>| drop(thread::spawn(move || drop(service)));
    let lost: Receiver<u32> = queue.put(|_: &File, _| 1, ends);
    let second = put(&queue, 2);
    assert_eq!(wait(lost), None, "model: nobody made it");
    // Dropped with the first one, or the first of a new service.
    assert!(matches!(wait(second), None | Some(2)), "model: an answer is another's");
    assert_eq!(wait(put(&queue, 3)), Some(3), "model: the queue is served again");
}

/// The text before 0.2: the panic of a waker ends the thread that serves, and the queue counts as served for ever.
#[derive(Default)]
struct Careless(Mutex<(VecDeque<Box<dyn FnOnce() + Send>>, bool)>);

impl Careless {
    fn put(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let serve = {
            let mut jobs = lock(&self.0);
            jobs.0.push_back(Box::new(job));
            !std::mem::replace(&mut jobs.1, true)
        };
        if serve {
            let queue = self.clone();
            drop(thread::spawn(move || catch_unwind(AssertUnwindSafe(|| queue.serve()))));
        }
    }

    fn serve(&self) {
        loop {
            let job = {
                let mut jobs = lock(&self.0);
                let job = jobs.0.pop_front();
                jobs.1 = job.is_some();
                job
            };
            let Some(job) = job else { return };
            job();
        }
    }
}

fn careless_waker_panics() {
    let queue = Arc::new(Careless::default());
    let made = Arc::new(Mutex::new(false));
    queue.put(|| Waker::from(Arc::new(Broken)).wake());
    let (this, of_job) = (thread::current(), made.clone());
    queue.put(move || {
        *lock(&of_job) = true;
        this.unpark();
    });
    while !*lock(&made) {
        thread::park();
    }
}
