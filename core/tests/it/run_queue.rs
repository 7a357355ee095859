//! A worker's queue: its order, its limits, its halves, and a stress test with thieves.

use std::ptr::{self, NonNull};
use std::sync::{Barrier, Mutex};
use std::thread;

use netpoll_core::sched::run_queue::Runq;

/// A run queue whose tasks are numbers above 0.
struct NumberQueue<const N: usize>(Runq<(), N>);

fn to_task(number: usize) -> NonNull<()> {
    NonNull::new(ptr::without_provenance_mut(number)).expect("a task is a number above 0")
}

fn to_number(task: NonNull<()>) -> usize {
    task.as_ptr().addr()
}

impl<const N: usize> NumberQueue<N> {
    fn new() -> Self {
        Self(Runq::new())
    }

    fn put(&self, task: usize) -> Result<(), usize> {
        self.0.put(to_task(task)).map_err(to_number)
    }

    fn put_next(&self, task: usize) -> Option<usize> {
        self.0.put_next(to_task(task)).map(to_number)
    }

    fn get_next(&self) -> Option<usize> {
        self.0.get_next().map(to_number)
    }

    fn get(&self) -> Option<usize> {
        self.0.get().map(to_number)
    }

    fn put_next_alone(&self, task: usize) -> Option<usize> {
        self.0.put_next_alone(to_task(task)).map(to_number)
    }

    fn get_next_alone(&self) -> Option<usize> {
        self.0.get_next_alone().map(to_number)
    }

    fn get_alone(&self) -> Option<usize> {
        self.0.get_alone().map(to_number)
    }

    fn steal_into(&self, mine: &Self) -> Option<usize> {
        self.0.steal_into(&mine.0).map(to_number)
    }

    fn take_half(&self, room: usize, mut keep: impl FnMut(usize, usize)) -> usize {
        self.0.take_half(room, |i, task| keep(i, to_number(task)))
    }

    fn ring_len(&self) -> usize {
        self.0.ring_len()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn room(&self) -> usize {
        self.0.room()
    }
}

fn drain<const N: usize>(queue: &NumberQueue<N>) -> Vec<usize> {
    std::iter::from_fn(|| queue.get()).collect()
}

fn filled<const N: usize>(tasks: std::ops::RangeInclusive<usize>) -> NumberQueue<N> {
    let queue = NumberQueue::new();
    for task in tasks {
        assert_eq!(queue.put(task), Ok(()));
    }
    queue
}

#[test]
fn tasks_come_out_in_order() {
    let queue = filled::<8>(1..=5);
    assert_eq!((queue.len(), queue.ring_len(), queue.room()), (5, 5, 3));
    assert_eq!(drain(&queue), [1, 2, 3, 4, 5]);
    assert!(queue.is_empty() && queue.get().is_none());
}

#[test]
fn put_into_a_full_ring_returns_the_task() {
    let queue = filled::<4>(1..=4);
    assert_eq!(queue.room(), 0);
    assert_eq!(queue.put(5), Err(5));
    assert_eq!(queue.get(), Some(1));
    assert_eq!(queue.put(5), Ok(()));
    assert_eq!(queue.put(6), Err(6));
    assert_eq!(drain(&queue), [2, 3, 4, 5]);
}

#[test]
fn the_ring_wraps() {
    let queue = NumberQueue::<4>::new();
    let mut next = 1;
    for round in 0..100 {
        let n = round % 4 + 1;
        let tasks: Vec<usize> = (next..next + n).collect();
        tasks.iter().for_each(|&task| assert_eq!(queue.put(task), Ok(())));
        assert_eq!(drain(&queue), tasks);
        next += n;
    }
}

#[test]
fn put_next_returns_the_displaced_task() {
    let queue = NumberQueue::<2>::new();
    assert_eq!(queue.get_next(), None);
    assert_eq!(queue.put_next(1), None);
    assert_eq!(queue.put_next(2), Some(1));
    assert!(!queue.is_empty());
    assert_eq!(
        (queue.len(), queue.ring_len(), queue.room()),
        (1, 0, 2),
        "the slot takes no place in the ring"
    );
    assert_eq!((queue.get(), queue.get_next(), queue.get_next()), (None, Some(2), None));
    assert!(queue.is_empty());
}

/// The largest word is a task like any other.
#[test]
fn the_queue_does_not_change_a_task() {
    let queue = filled::<2>(usize::MAX..=usize::MAX);
    assert_eq!(queue.get(), Some(usize::MAX));
    assert_eq!(queue.put_next(usize::MAX), None);
    assert_eq!(queue.get_next(), Some(usize::MAX));
}

#[test]
fn a_thief_takes_the_older_half_rounded_up() {
    for there in 0..=8 {
        let (queue, mine) = (filled::<8>(1..=there), NumberQueue::new());
        let stolen = there - there / 2;
        let first = queue.steal_into(&mine);
        assert_eq!(first.is_some(), there > 0);
        assert_eq!(drain(&queue), (stolen + 1..=there).collect::<Vec<_>>());
        let mut took: Vec<usize> = first.into_iter().chain(drain(&mine)).collect();
        took.sort_unstable();
        assert_eq!(took, (1..=stolen).collect::<Vec<_>>());
    }
}

/// The methods for a queue from which no thread steals behave like the others.
#[test]
fn the_methods_of_a_lone_owner_behave_the_same() {
    let queue = filled::<4>(1..=4);
    assert_eq!(queue.get_alone(), Some(1));
    assert_eq!(queue.put(5), Ok(()));
    let alone: Vec<usize> = std::iter::from_fn(|| queue.get_alone()).collect();
    assert_eq!(alone, [2, 3, 4, 5]);
    assert_eq!(
        (queue.get_next_alone(), queue.put_next_alone(1), queue.put_next_alone(2)),
        (None, None, Some(1))
    );
    assert_eq!((queue.len(), queue.get_next_alone(), queue.get_next_alone()), (1, Some(2), None));
    assert!(queue.is_empty() && queue.get().is_none());
}

#[test]
fn the_older_half_comes_out_in_order() {
    for there in 0..=8 {
        let queue = filled::<8>(1..=there);
        let mut taken = vec![];
        let n = queue.take_half(3, |i, task| {
            taken.truncate(i);
            taken.push(task);
        });
        assert_eq!(n, (there - there / 2).min(3));
        assert_eq!((taken, drain(&queue)), ((1..=n).collect(), (n + 1..=there).collect()));
    }
}

#[test]
fn a_steal_leaves_the_slot() {
    let (queue, mine) = (NumberQueue::<2>::new(), NumberQueue::new());
    assert_eq!(queue.put_next(1), None);
    assert_eq!(queue.steal_into(&mine), None);
    assert!(mine.is_empty());
    assert_eq!(queue.get_next(), Some(1));
}

/// The indices of thief and victim may be anywhere in the ring.
#[test]
fn a_steal_wraps_in_both_rings() {
    for (victim, thief) in (0..8).flat_map(|victim| (0..8).map(move |thief| (victim, thief))) {
        let (queue, mine) = (NumberQueue::<4>::new(), NumberQueue::<4>::new());
        for (queue, turns) in [(&queue, victim), (&mine, thief)] {
            for task in 1..=turns {
                assert_eq!(queue.put(task), Ok(()));
                assert_eq!(queue.get(), Some(task));
            }
        }
        (11..=14).for_each(|task| assert_eq!(queue.put(task), Ok(())));
        let first = queue.steal_into(&mine);
        assert_eq!((first, drain(&mine), drain(&queue)), (Some(12), vec![11], vec![13, 14]));
    }
}

const TASKS: usize = 200_000;
const THIEVES: usize = 3;

struct Stress {
    queue: NumberQueue<16>,
    thieves: [NumberQueue<16>; THIEVES],
    start: Barrier,
    over: Mutex<bool>,
}

impl Stress {
    /// Puts all tasks, into ring and slot, and runs some of them.
    fn own(&self) -> Vec<usize> {
        let mut ran = Vec::new();
        self.start.wait();
        for task in 1..=TASKS {
            let displaced = if task % 3 == 0 { self.queue.put_next(task) } else { Some(task) };
            ran.extend(displaced.and_then(|task| self.queue.put(task).err()));
            if task % 5 == 0 {
                ran.extend(self.queue.get_next().or_else(|| self.queue.get()));
            }
        }
        ran.extend(self.queue.get_next());
        ran.extend(drain(&self.queue));
        *self.over.lock().expect("no thread panics under the lock") = true;
        ran
    }

    /// Steals from the owner and from the next thief.
    fn steal(&self, me: usize) -> Vec<usize> {
        let mine = &self.thieves[me];
        let mut ran = Vec::new();
        self.start.wait();
        loop {
            let stolen = self.queue.steal_into(mine).or_else(|| self.queue.get_next());
            let stolen = stolen.or_else(|| self.thieves[(me + 1) % THIEVES].steal_into(mine));
            match stolen {
                Some(task) => ran.push(task),
                None if *self.over.lock().expect("no thread panics under the lock") => return ran,
                None => thread::yield_now(),
            }
            ran.extend(mine.get());
            ran.extend(drain(mine));
        }
    }
}

#[test]
fn with_thieves_every_task_comes_out_once() {
    let stress = Stress {
        queue: NumberQueue::new(),
        thieves: std::array::from_fn(|_| NumberQueue::new()),
        start: Barrier::new(THIEVES + 1),
        over: Mutex::new(false),
    };
    let mut ran = thread::scope(|scope| {
        let stress = &stress;
        let thieves: Vec<_> = (0..THIEVES).map(|me| scope.spawn(move || stress.steal(me))).collect();
        let mut ran = stress.own();
        for thief in thieves {
            ran.extend(thief.join().expect("a thief does not panic"));
        }
        ran
    });
    ran.sort_unstable();
    assert!(ran.iter().copied().eq(1..=TASKS), "{} tasks ran of {TASKS}", ran.len());
}

#[test]
fn a_thief_takes_no_more_than_it_has_room_for() {
    for there in 0..=4 {
        let (queue, mine) = (filled::<4>(1..=4), filled::<4>(11..=10 + there));
        let stolen = 2.min(4 - there);
        let first = queue.steal_into(&mine);
        assert_eq!(first, (stolen > 0).then_some(stolen));
        let kept: Vec<usize> = (11..=10 + there).chain(1..=stolen.saturating_sub(1)).collect();
        assert_eq!((drain(&mine), drain(&queue)), (kept, (stolen + 1..=4).collect()));
    }
}
