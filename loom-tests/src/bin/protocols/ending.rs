//! The end of a runtime: every task is dropped once, and no thread waits for ever.

use std::sync::Arc;
use std::time::Instant;

use netpoll_rt::internal::protocol::ending::{Enders, Ending};
use netpoll_rt::internal::sync::thread;
use netpoll_rt::internal::sync::{Mutex, lock};

use crate::foreign::Channel;
use crate::harness::{Expect, Model};

pub const MODELS: &[Model] = &[
    Model {
        name: "ending::turn_blocks_on_what_a_parked_task_holds",
        threads: 2,
        bound: Some(4),
        expect: Expect::Green,
        body: || turn_blocks_on_a_task::<Ending<Task>>(Where::Parked),
    },
    Model {
        name: "ending::turn_blocks_on_what_a_woken_task_holds",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: || turn_blocks_on_a_task::<Ending<Task>>(Where::Woken),
    },
    Model {
        name: "ending::tasks_are_woken_and_spawned_meanwhile",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: tasks_come_meanwhile::<Ending<Task>>,
    },
    Model {
        name: "ending::thread_ends_after_the_limit",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: || thread_ends_late::<Ending<Task>>(1),
    },
    Model {
        name: "ending::two_threads_end_after_the_limit",
        threads: 4,
        bound: Some(1),
        expect: Expect::Green,
        body: || thread_ends_late::<Ending<Task>>(2),
    },
    Model {
        name: "ending::thread_of_the_runtime_ends_it",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: thread_of_the_runtime_ends_it,
    },
    Model {
        name: "ending::two_runtimes_end_each_other",
        threads: 3,
        bound: Some(3),
        expect: Expect::Green,
        body: || end_in_a_circle(2, Some(Arc::default())),
    },
    Model {
        name: "ending::three_runtimes_end_in_a_circle",
        threads: 4,
        bound: Some(2),
        expect: Expect::Green,
        body: || end_in_a_circle(3, Some(Arc::default())),
    },
    Model {
        name: "ending::control_enders_know_nothing_of_each_other",
        threads: 3,
        bound: Some(3),
        expect: Expect::Deadlock,
        body: || end_in_a_circle(2, None),
    },
    Model {
        name: "ending::control_waits_before_it_cancels",
        threads: 2,
        bound: None,
        expect: Expect::Deadlock,
        body: || turn_blocks_on_a_task::<WaitsFirst>(Where::Parked),
    },
    Model {
        name: "ending::control_drops_nothing_while_it_waits",
        threads: 3,
        bound: Some(3),
        expect: Expect::Deadlock,
        body: || turn_blocks_on_a_task::<WaitsFirst>(Where::Woken),
    },
    Model {
        name: "ending::control_looks_and_declares_the_end_in_two_steps",
        threads: 3,
        bound: Some(3),
        expect: Expect::Assertion,
        body: tasks_come_meanwhile::<TwoSteps>,
    },
    Model {
        name: "ending::control_late_thread_leaves_its_task",
        threads: 3,
        bound: Some(3),
        expect: Expect::Assertion,
        body: || thread_ends_late::<LateLeaves>(1),
    },
    Model {
        name: "ending::control_two_threads_take_the_same_task",
        threads: 3,
        bound: Some(1),
        expect: Expect::Assertion,
        body: two_threads_take_the_same_task,
    },
];

/// The place of the task that a turn waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Parked,
    /// Parked, and woken by a foreign thread at some time.
    Woken,
}

/// A task that is not polled any more: its drop is counted and may let a turn go on.
struct Task {
    drops: Arc<Drops>,
    number: usize,
    opens: Option<Arc<Channel>>,
}

/// A lock of std, which the checker does not see.
#[derive(Default)]
struct Drops(std::sync::Mutex<Vec<usize>>);

impl Drops {
    /// Checks that each task was dropped once.
    fn check(&self, tasks: usize) {
        let drops = self.0.lock().expect("nothing panics while the list is held");
        for task in 0..tasks {
            let times = drops.iter().filter(|&&dropped| dropped == task).count();
            assert!(times == 1, "model: task {task} was dropped {times} times");
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.drops.0.lock().expect("nothing panics while the list is held").push(self.number);
        if let Some(channel) = self.opens.take() {
            channel.send();
        }
    }
}

/// The interface of the end of a runtime.
trait End: Default + Send + Sync + 'static {
    fn defer_drop(&self, task: Task) -> Option<Task>;
    fn end(&self, deadline: Option<Instant>, cancel: &dyn Fn()) -> bool;
    fn start(
        self: &Arc<Self>,
        body: impl FnOnce() + Send + 'static,
        cancel: impl Fn() + Send + 'static,
    ) -> thread::JoinHandle<()>;
}

impl End for Ending<Task> {
    fn defer_drop(&self, task: Task) -> Option<Task> {
        self.defer_drop(task)
    }

    fn end(&self, deadline: Option<Instant>, cancel: &dyn Fn()) -> bool {
        self.end(deadline, cancel, drop)
    }

    fn start(
        self: &Arc<Self>,
        body: impl FnOnce() + Send + 'static,
        cancel: impl Fn() + Send + 'static,
    ) -> thread::JoinHandle<()> {
        self.start(worker(), body, cancel).expect("the checker has a thread")
    }
}

/// A runtime: its end, and the tasks that wait, each in a place that is emptied by one thread only.
struct Rig<E> {
    ending: Arc<E>,
    parked: Mutex<Vec<Task>>,
    drops: Arc<Drops>,
}

impl<E: End> Rig<E> {
    fn new() -> Arc<Self> {
        Self::with(E::default())
    }

    fn with(ending: E) -> Arc<Self> {
        Arc::new(Self { ending: Arc::new(ending), parked: Mutex::default(), drops: Arc::default() })
    }

    fn park(&self, number: usize, opens: Option<Arc<Channel>>) {
        lock(&self.parked).push(self.task(number, opens));
    }

    fn task(&self, number: usize, opens: Option<Arc<Channel>>) -> Task {
        Task { drops: self.drops.clone(), number, opens }
    }

    /// Wakes the task: if it is parked, it is doomed.
    fn wake_parked(&self) {
        self.wake();
    }

    /// Wakes the task and returns whether it was parked.
    fn wake(&self) -> bool {
        let task = lock(&self.parked).pop();
        let found = task.is_some();
        drop(task.and_then(|task| self.ending.defer_drop(task)));
        found
    }

    /// Cancels a task, as the scheduler does for the thread that ends the runtime and for one that ends late.
    fn cancel(&self) {
        while self.wake() {}
    }

    fn start(self: &Arc<Self>, body: impl FnOnce(&Self) + Send + 'static) -> thread::JoinHandle<()> {
        let (of_body, of_cancel) = (self.clone(), self.clone());
        self.ending.start(move || body(&of_body), move || of_cancel.cancel())
    }

    fn end(&self, deadline: Option<Instant>) -> bool {
        self.ending.end(deadline, &|| self.cancel())
    }
}

/// Returns the builder of a worker's thread.
fn worker() -> thread::Builder {
    thread::Builder::new().name("worker".to_owned())
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("a panic of the other thread has ended the model");
    }
}

/// Checks that the last turn of a worker goes on when another task has been dropped.
fn turn_blocks_on_a_task<E: End>(task: Where) {
    let (rig, channel) = (Rig::<E>::new(), Channel::new());
    rig.park(0, Some(channel.clone()));
    let worker = rig.start(move |_| channel.recv());
    let waker = (task == Where::Woken).then(|| {
        let rig = rig.clone();
        thread::spawn(move || rig.wake_parked())
    });
    assert!(rig.end(None), "model: all threads have ended");
    join([Some(worker), waker].into_iter().flatten());
    rig.drops.check(1);
}

/// Lets a foreign thread wake a task and spawn another one at any time, while a worker ends its turn.
fn tasks_come_meanwhile<E: End>() {
    let rig = Rig::<E>::new();
    rig.park(0, None);
    let worker = rig.start(|rig| rig.park(1, None));
    let foreign = {
        let rig = rig.clone();
        thread::spawn(move || {
            rig.wake_parked();
            drop(rig.ending.defer_drop(rig.task(2, None)));
        })
    };
    assert!(rig.end(None), "model: all threads have ended");
    join([worker, foreign]);
    rig.drops.check(3);
}

/// Workers park their tasks at the end of their last turns, in time or later.
fn thread_ends_late<E: End>(workers: usize) {
    let rig = Rig::<E>::new();
    rig.park(0, None);
    let workers: Vec<_> = (1..=workers).map(|task| rig.start(move |rig| rig.park(task, None))).collect();
    let tasks = workers.len() + 1;
    // Far away: the checker says when it has passed.
    rig.end(Some(Instant::now() + std::time::Duration::from_secs(3600)));
    join(workers);
    rig.drops.check(tasks);
}

/// Lets a task drop the runtime in its turn, and park after it.
fn thread_of_the_runtime_ends_it() {
    let rig = Rig::<Ending<Task>>::new();
    rig.park(0, None);
    let other = rig.start(|rig| rig.park(1, None));
    let ender = rig.start(|rig| {
        assert!(rig.end(None), "model: all other threads have ended");
        rig.park(2, None);
    });
    join([other, ender]);
    rig.drops.check(3);
}

/// A thread of each runtime ends the next one. Each wait ends, and each task is dropped once.
fn end_in_a_circle(runtimes: usize, enders: Option<Arc<Enders>>) {
    let ending = |_| Ending::new(enders.clone().unwrap_or_default());
    let rigs: Vec<_> = (0..runtimes).map(|n| Rig::with(ending(n))).collect();
    // No runtime ends before the threads of all have started.
    let gate = Arc::new(Mutex::new(()));
    let closed = lock(&gate);
    let start = |n: usize| {
        let (next, gate) = (rigs[(n + 1) % runtimes].clone(), gate.clone());
        rigs[n].park(0, None);
        rigs[n].start(move |_| {
            drop(lock(&gate));
            let _all_ended = next.end(None);
        })
    };
    let threads: Vec<_> = (0..runtimes).map(start).collect();
    drop(closed);
    join(threads);
    rigs.iter().for_each(|rig| rig.drops.check(1));
}

/// A twin: the real one with a fault around it.
macro_rules! twin {
    ($(#[$doc:meta])* $name:ident, |$twin:ident, $task:ident| $defer_drop:expr, |$deadline:ident, $cancel:ident| $end:expr) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $name {
            inner: Arc<Ending<Task>>,
            /// Ended, and the tasks that are doomed.
            state: Mutex<(bool, Vec<Task>)>,
        }

        impl End for $name {
            fn defer_drop(&self, $task: Task) -> Option<Task> {
                let $twin = self;
                $defer_drop
            }

            fn end(&self, $deadline: Option<Instant>, $cancel: &dyn Fn()) -> bool {
                let $twin = self;
                $end
            }

            fn start(
                self: &Arc<Self>,
                body: impl FnOnce() + Send + 'static,
                cancel: impl Fn() + Send + 'static,
            ) -> thread::JoinHandle<()> {
                self.inner.start(worker(), body, cancel).expect("the checker has a thread")
            }
        }
    };
}

twin!(
    /// The text before 0.2: the threads are waited for, and then the tasks are dropped.
    WaitsFirst,
    |twin, task| {
        lock(&twin.state).1.push(task);
        None
    },
    |deadline, cancel| {
        let ended = twin.inner.end(deadline, || {}, drop);
        cancel();
        let doomed = std::mem::take(&mut lock(&twin.state).1);
        drop(doomed);
        ended
    }
);

twin!(
    /// The end is declared under another lock than that of the last look at the queue.
    TwoSteps,
    |twin, task| {
        let mut state = lock(&twin.state);
        if state.0 {
            return Some(task);
        }
        state.1.push(task);
        None
    },
    |deadline, cancel| {
        let ended = twin.inner.end(deadline, cancel, drop);
        let doomed = std::mem::take(&mut lock(&twin.state).1);
        drop(doomed);
        lock(&twin.state).0 = true;
        ended
    }
);

/// A thread that ends after the limit does nothing more.
#[derive(Default)]
struct LateLeaves(Arc<Ending<Task>>);

impl End for LateLeaves {
    fn defer_drop(&self, task: Task) -> Option<Task> {
        self.0.defer_drop(task)
    }

    fn end(&self, deadline: Option<Instant>, cancel: &dyn Fn()) -> bool {
        self.0.end(deadline, cancel, drop)
    }

    fn start(
        self: &Arc<Self>,
        body: impl FnOnce() + Send + 'static,
        _cancel: impl Fn() + Send + 'static,
    ) -> thread::JoinHandle<()> {
        self.0.start(worker(), body, || {}).expect("the checker has a thread")
    }
}

/// Runs the text before 0.2: two threads at once take tasks out of a queue that is made for one.
fn two_threads_take_the_same_task() {
    let ending: Arc<Ending<Task>> = Arc::default();
    let (ring, drops) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Drops::default()));
    let cancel = {
        let (ring, drops) = (ring.clone(), drops.clone());
        move || {
            let task = lock(&ring).first().copied();
            lock(&ring).clear();
            if let Some(number) = task {
                drop(Task { drops: drops.clone(), number, opens: None });
            }
        }
    };
    let start = |body: Box<dyn FnOnce() + Send>| {
        ending.start(worker(), body, cancel.clone()).expect("the checker has a thread")
    };
    let workers = [start(Box::new(move || lock(&ring).push(0))), start(Box::new(|| {}))];
    ending.end(Some(Instant::now() + std::time::Duration::from_secs(3600)), &cancel, drop);
    join(workers);
    drops.check(1);
}
