//! Models of `run_queue`: a task that is put in comes out once, with the memory before it.

use std::sync::Arc;

use super::number_queue::NumberQueue;
use super::support::{Plain, race, race3};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m13_get_against_steal_of_the_last", 2, None, get_against_steal_of_the_last),
    green("m13_put_into_a_full_ring_against_steal", 2, None, put_into_a_full_ring_against_steal),
    green("m13_steal_against_steal", 3, Some(3), steal_against_steal),
    green("m13_steal_what_was_stolen", 3, Some(3), steal_what_was_stolen),
    green("m13_slot_swap_against_steal", 2, None, slot_swap_against_steal),
    green("m13_owner_looks_into_the_slot_against_steal", 2, None, owner_looks_into_the_slot_against_steal),
    green("m13_len_against_put_and_get", 2, None, len_against_put_and_get),
    green("m13_len_against_put_and_get_alone", 2, None, len_against_put_and_get_alone),
    green("m13_len_against_steal", 3, Some(3), len_against_steal),
    green("m13_overflow_against_steal", 2, None, overflow_against_steal),
    green("m13_no_more_is_stolen_than_fits", 1, None, no_more_than_fits),
];

/// The tasks that a thread ran, in order.
type Ran = Vec<usize>;

/// A worker's queue, a thief's, and the payloads of the tasks 1.., each for the thread that has the task
/// (INV-9).
struct Bench<const N: usize> {
    queue: NumberQueue<N>,
    thief: NumberQueue<N>,
    payload: [Plain<()>; 4],
}

impl<const N: usize> Bench<N> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: NumberQueue::new(),
            thief: NumberQueue::new(),
            payload: std::array::from_fn(|_| Plain::new(())),
        })
    }

    /// Creates a task: writes its payload, and returns the word that the queue passes on.
    fn make(&self, task: usize) -> usize {
        self.payload[task].set(());
        task
    }

    fn put(&self, task: usize) {
        assert_eq!(self.queue.put(self.make(task)), Ok(()));
    }

    /// Runs a task. No other thread may access the payload at the same time, and its creator has written it
    /// before.
    fn run(&self, task: usize) -> Ran {
        self.payload[task].set(());
        vec![task]
    }

    fn run_if(&self, task: Option<usize>) -> Ran {
        task.map_or_else(Ran::new, |task| self.run(task))
    }

    /// Runs the tasks that are left in `queue`. For its owner.
    fn drain(&self, queue: &NumberQueue<N>) -> Ran {
        let mut ran = Ran::new();
        while let Some(task) = queue.get_next().or_else(|| queue.get()) {
            ran.extend(self.run(task));
        }
        ran
    }

    /// Steals once, as a worker does.
    fn steal(&self) -> Ran {
        let mine = NumberQueue::new();
        let ran = self.run_if(self.queue.steal_into(&mine));
        [ran, self.drain(&mine)].concat()
    }

    /// Asserts, after the threads are done, that the tasks 1 to `last` have run once each.
    fn assert_each_once(&self, ran: &[Ran], last: usize) {
        let mut ran = [ran.concat(), self.drain(&self.queue), self.drain(&self.thief)].concat();
        ran.sort_unstable();
        assert_eq!(ran, (1..=last).collect::<Ran>(), "a task was lost, or run twice");
    }
}

/// One task, its owner and a thief.
fn get_against_steal_of_the_last() {
    let bench = Bench::<2>::new();
    let put_and_get = |bench: &Bench<2>| {
        bench.put(1);
        bench.run_if(bench.queue.get())
    };
    let (got, stolen) = race(&bench, put_and_get, Bench::steal);
    bench.assert_each_once(&[got, stolen], 1);
}

/// The ring is full. A thief makes room, and the next task overwrites the one that the thief has just read.
fn put_into_a_full_ring_against_steal() {
    let bench = Bench::<2>::new();
    bench.put(1);
    bench.put(2);
    let put_and_get = |bench: &Bench<2>| {
        let refused = bench.queue.put(bench.make(3)).err();
        [bench.run_if(refused), bench.run_if(bench.queue.get())].concat()
    };
    let (got, stolen) = race(&bench, put_and_get, Bench::steal);
    bench.assert_each_once(&[got, stolen], 3);
}

/// Two thieves and the owner, more than one task.
fn steal_against_steal() {
    let bench = Bench::<4>::new();
    bench.put(1);
    bench.put(2);
    let put_and_get = |bench: &Bench<4>| {
        bench.put(3);
        bench.run_if(bench.queue.get())
    };
    let (got, first, second) = race3(&bench, put_and_get, Bench::steal, Bench::steal);
    bench.assert_each_once(&[got, first, second], 3);
}

/// A task goes from its owner to a thief's ring and from there to another thief.
fn steal_what_was_stolen() {
    let bench = Bench::<4>::new();
    let put = |bench: &Bench<4>| (1..=3).for_each(|task| bench.put(task));
    let first = |bench: &Bench<4>| bench.run_if(bench.queue.steal_into(&bench.thief));
    let second = |bench: &Bench<4>| bench.run_if(bench.thief.steal_into(&NumberQueue::new()));
    let ((), first, second) = race3(&bench, put, first, second);
    bench.assert_each_once(&[first, second], 3);
}

/// The slot's task is displaced into the ring while a thief takes from the slot.
fn slot_swap_against_steal() {
    let bench = Bench::<2>::new();
    let put_two = |bench: &Bench<2>| {
        for task in 1..=2 {
            if let Some(displaced) = bench.queue.put_next(bench.make(task)) {
                assert_eq!(bench.queue.put(displaced), Ok(()));
            }
        }
    };
    let steal = |bench: &Bench<2>| {
        let from_slot = bench.run_if(bench.queue.get_next());
        [from_slot, bench.steal()].concat()
    };
    let ((), stolen) = race(&bench, put_two, steal);
    bench.assert_each_once(&[stolen], 2);
}

/// The owner takes from the slot only if it sees a task there, while a thief takes from it too.
fn owner_looks_into_the_slot_against_steal() {
    let bench = Bench::<2>::new();
    let next = |bench: &Bench<2>| {
        let task = if bench.queue.has_next() { bench.queue.get_next() } else { None };
        bench.run_if(task)
    };
    let put_and_look = |bench: &Bench<2>| {
        assert_eq!(bench.queue.put_next(bench.make(1)), None);
        next(bench)
    };
    let (got, stolen) = race(&bench, put_and_look, |bench| bench.run_if(bench.queue.get_next()));
    assert_eq!([got, stolen].concat(), [1], "the owner has missed its own task");
    assert!(!bench.queue.has_next(), "the task was taken");
}

/// Another thread's count may be old, but is never larger than the number of tasks put: a tail older than its
/// head would wrap.
fn len_against_put_and_get() {
    let bench = Bench::<4>::new();
    let put_and_get = |bench: &Bench<4>| {
        for task in 1..=2 {
            bench.put(task);
            assert_eq!(bench.queue.get(), Some(task));
        }
    };
    let ((), len) = race(&bench, put_and_get, |bench| bench.queue.len());
    assert!(len <= 2, "{len} tasks were counted of 2");
}

/// The race above for the owner of a queue from which no thread steals.
fn len_against_put_and_get_alone() {
    let bench = Bench::<4>::new();
    let put_and_get = |bench: &Bench<4>| {
        for task in 1..=2 {
            bench.put(task);
            assert_eq!(bench.queue.get_alone(), Some(task));
        }
    };
    let ((), len) = race(&bench, put_and_get, |bench| bench.queue.len());
    assert!(len <= 2, "{len} tasks were counted of 2");
}

/// The owner of a full ring and a thief each take half of it out.
fn overflow_against_steal() {
    let bench = Bench::<2>::new();
    bench.put(1);
    bench.put(2);
    let overflow = |bench: &Bench<2>| {
        let mut taken = 0;
        let n = bench.queue.take_half(1, |_, task| taken = task);
        let ran = if n > 0 { bench.run(taken) } else { Ran::new() };
        bench.put(3);
        ran
    };
    let (taken, stolen) = race(&bench, overflow, Bench::steal);
    bench.assert_each_once(&[taken, stolen], 3);
}

/// The race of `len` with a thief that moves the head.
fn len_against_steal() {
    let bench = Bench::<4>::new();
    let put = |bench: &Bench<4>| bench.put(1);
    let ((), stolen, len) = race3(&bench, put, Bench::steal, |bench| bench.queue.len());
    assert!(len <= 1, "{len} tasks were counted of 1");
    bench.assert_each_once(&[stolen], 1);
}

/// A thief whose own ring is full takes nothing.
fn no_more_than_fits() {
    let (queue, mine) = (NumberQueue::<2>::new(), NumberQueue::<2>::new());
    assert!([mine.put(1), mine.put(2), queue.put(3)] == [Ok(()); 3], "model: two tasks fit");
    let stolen = queue.steal_into(&mine);
    let left: Vec<usize> = std::iter::from_fn(|| mine.get()).collect();
    assert!(stolen.is_none() && left == [1, 2], "model: {stolen:?} was stolen, {left:?} were there");
}
