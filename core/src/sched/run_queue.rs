//! A worker's run queue: a ring that its owner fills and empties and of which other workers steal half, and a
//! slot for the task that was made ready last (Go's `runq`, `runnext`).
//!
//! **INV-9** A task is put into one queue at a time and comes out exactly once. The thread that gets it out
//! owns it.
//!
//! | index | moved by | meaning |
//! |---|---|---|
//! | `head` | the owner and thieves, by compare-exchange | the next task to run |
//! | `tail` | the owner alone | where the next task is put |
//!
//! `tail - head` tasks are in the ring. A thief reads the tasks first and then moves `head`. If another
//! thread moved `head` meanwhile, the thief discards the tasks that it has read.
//!
//! A task is a pointer, which the queue passes on and does not use: not even the type of its target matters here. So a queue
//! may be shared and sent whatever `T` is, and the runtime sees to it that the threads which take tasks out may run them.

use core::fmt;
use core::ptr::{self, NonNull};

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, array, const_fn};

/// A ring of `N` tasks, `N` a power of two, and a slot. Any thread may call a method unless it is documented
/// as for the owner.
///
/// ```
/// use core::ptr::NonNull;
/// use netpoll_core::sched::run_queue::Runq;
///
/// struct Task(&'static str);
///
/// static QUEUE: Runq<Task, 256> = Runq::new();
///
/// let task = NonNull::from(Box::leak(Box::new(Task("echo"))));
/// QUEUE.put(task).expect("there is room");
/// assert_eq!(QUEUE.get(), Some(task));
/// assert_eq!(QUEUE.get(), None);
/// ```
pub struct Runq<T, const N: usize> {
    head: AtomicUsize,
    tail: AtomicUsize,
    next: AtomicPtr<T>,
    ring: [AtomicPtr<T>; N],
}

impl<T, const N: usize> fmt::Debug for Runq<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runq").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T, const N: usize> Default for Runq<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Runq<T, N> {
    const_fn! {
        /// Creates an empty queue.
        pub const fn new() -> Self {
            const { assert!(N.is_power_of_two() && N >= 2) };
            Self {
                head: AtomicUsize::new(0),
                tail: AtomicUsize::new(0),
                next: AtomicPtr::new(ptr::null_mut()),
                ring: array![AtomicPtr::new(ptr::null_mut()); N],
            }
        }
    }

    /// Puts a task at the end. For the owner.
    ///
    /// # Errors
    ///
    /// Returns the task if the ring is full.
    ///
    /// # Memory ordering
    ///
    /// Releases the caller's writes to the thread that gets the task out.
    #[inline]
    pub fn put(&self, task: NonNull<T>) -> Result<(), NonNull<T>> {
        // Acquire: a thief has read the task that is overwritten.
        let head = self.head.load(Ordering::Acquire); // pair: run_queue::take_half
        // alone: the owner's own
        let tail = self.tail.load(Ordering::Relaxed);
        if tail.wrapping_sub(head) == N {
            return Err(task);
        }
        // alone: the tail releases it
        self.ring[tail % N].store(task.as_ptr(), Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release); // pair: run_queue::take_half
        Ok(())
    }

    /// Puts a task into the slot, to be run next. Returns the task that it displaces. For the owner.
    #[inline]
    pub fn put_next(&self, task: NonNull<T>) -> Option<NonNull<T>> {
        // Release: this task. (The owner put the displaced one itself.)
        NonNull::new(self.next.swap(task.as_ptr(), Ordering::Release)) // pair: run_queue::get_next
    }

    /// Returns whether there was a task in the slot, which a thief may take before the caller does.
    #[inline]
    pub fn has_next(&self) -> bool {
        // alone: a guess; the owner sees its own puts, and `get_next` decides
        !self.next.load(Ordering::Relaxed).is_null()
    }

    /// Takes the task in the slot.
    #[inline]
    pub fn get_next(&self) -> Option<NonNull<T>> {
        // alone: an empty slot orders nothing
        if self.next.load(Ordering::Relaxed).is_null() {
            return None;
        }
        NonNull::new(self.next.swap(ptr::null_mut(), Ordering::Acquire)) // pair: run_queue::put_next
    }

    /// Takes the next task of the ring. For the owner.
    #[inline]
    pub fn get(&self) -> Option<NonNull<T>> {
        // alone: a first guess; the compare-exchange decides
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // alone: the owner's own
            if self.tail.load(Ordering::Relaxed) == head {
                return None;
            }
            // alone: the owner wrote it
            let task = self.ring[head % N].load(Ordering::Relaxed);
            let next = head.wrapping_add(1);
            // Release: a thread that sees this head sees a tail that is not behind it.
            match self.head.compare_exchange(head, next, Ordering::Release, Ordering::Relaxed) // pair: run_queue::take_half, run_queue::ring_len
            {
                Ok(_) => return NonNull::new(task),
                Err(found) => head = found,
            }
        }
    }

    /// Puts a task into the slot like [`Runq::put_next`], without the cost of a read-modify-write. For the
    /// owner of a queue from which no thread steals.
    #[inline]
    pub fn put_next_alone(&self, task: NonNull<T>) -> Option<NonNull<T>> {
        let old = self.get_next_alone();
        // alone: the owner's own
        self.next.store(task.as_ptr(), Ordering::Relaxed);
        old
    }

    /// Takes the task in the slot like [`Runq::get_next`]. For the owner of a queue from which no thread
    /// steals.
    #[inline]
    pub fn get_next_alone(&self) -> Option<NonNull<T>> {
        // alone: the owner's own
        let task = NonNull::new(self.next.load(Ordering::Relaxed))?;
        // alone: the owner's own
        self.next.store(ptr::null_mut(), Ordering::Relaxed);
        Some(task)
    }

    /// Takes the next task of the ring like [`Runq::get`]. For the owner of a queue from which no thread
    /// steals.
    #[inline]
    pub fn get_alone(&self) -> Option<NonNull<T>> {
        // alone: the owner's own
        let head = self.head.load(Ordering::Relaxed);
        // alone: the owner's own
        if self.tail.load(Ordering::Relaxed) == head {
            return None;
        }
        // alone: the owner wrote it
        let task = self.ring[head % N].load(Ordering::Relaxed);
        // Release: a thread that sees this head sees a tail that is not behind it.
        self.head.store(head.wrapping_add(1), Ordering::Release); // pair: run_queue::ring_len
        NonNull::new(task)
    }

    /// Moves half of this queue, rounded up, into `mine`, of which the caller is the owner. Returns one of
    /// the stolen tasks to run at once. `mine` is not this queue. Steals no more tasks than the ring of
    /// `mine` has room for.
    pub fn steal_into(&self, mine: &Self) -> Option<NonNull<T>> {
        // alone: the thief's own
        let into = mine.tail.load(Ordering::Relaxed);
        // Acquire: thieves of `mine` have read the tasks that are overwritten.
        let room = N - into.wrapping_sub(mine.head.load(Ordering::Acquire)); // pair: run_queue::take_half
        let n = self.take_half(room, |i, task| {
            // alone: `mine.tail` releases it
            mine.ring[into.wrapping_add(i) % N].store(task.as_ptr(), Ordering::Relaxed);
        });
        if n > 0 { mine.keep_stolen(into, n) } else { None }
    }

    /// Takes the older half of the ring out, rounded up, but no more than `room` tasks. Returns how many.
    /// Passes each to `keep` with its number, 0 for the oldest. If `keep` is called with 0 again, the tasks
    /// before that were not taken.
    #[inline]
    pub fn take_half(&self, room: usize, mut keep: impl FnMut(usize, NonNull<T>)) -> usize {
        loop {
            // Acquire: the tail below is not from before this head.
            let head = self.head.load(Ordering::Acquire); // pair: run_queue::get, run_queue::take_half
            // Acquire: the tasks that the owner put.
            let tail = self.tail.load(Ordering::Acquire); // pair: run_queue::put, run_queue::keep_stolen
            // Too large if the head is old; the compare-exchange fails then.
            let there = tail.wrapping_sub(head);
            let n = (there - there / 2).min(room);
            if n == 0 {
                return 0;
            }
            for i in 0..n {
                // alone: valid only if the compare-exchange below finds the head unmoved
                let task = self.ring[head.wrapping_add(i) % N].load(Ordering::Relaxed);
                if let Some(task) = NonNull::new(task) {
                    keep(i, task);
                }
            }
            let next = head.wrapping_add(n);
            // Release: the tasks have been read before the owner overwrites them; and a thread that sees this
            // head sees the tail that was read here.
            let moved = self.head.compare_exchange(head, next, Ordering::Release, Ordering::Relaxed); // pair: run_queue::put, run_queue::steal_into, run_queue::take_half, run_queue::ring_len
            if moved.is_ok() {
                return n;
            }
        }
    }

    /// Publishes `n` stolen tasks except the last, which it returns.
    fn keep_stolen(&self, from: usize, n: usize) -> Option<NonNull<T>> {
        let last = from.wrapping_add(n - 1);
        if n > 1 {
            self.tail.store(last, Ordering::Release); // pair: run_queue::take_half
        }
        // alone: the caller wrote it
        NonNull::new(self.ring[last % N].load(Ordering::Relaxed))
    }

    /// Returns the number of tasks in the ring. It may be out of date already, but it is not 0 if the ring
    /// has a task that was put before a fence which the caller's fence follows.
    pub fn ring_len(&self) -> usize {
        // Acquire: a tail that is read before its head would wrap.
        let head = self.head.load(Ordering::Acquire); // pair: run_queue::get, run_queue::get_alone, run_queue::take_half
        // alone: a hint; a thread that acts on it steals, which acquires
        let tail = self.tail.load(Ordering::Relaxed);
        tail.wrapping_sub(head).min(N)
    }

    /// Returns the number of tasks in ring and slot, with the same limits as [`Runq::ring_len`].
    pub fn len(&self) -> usize {
        self.ring_len() + usize::from(self.has_next())
    }

    /// Returns whether ring and slot are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many tasks fit into the ring. Exact for the owner, since no other thread makes it smaller.
    pub fn room(&self) -> usize {
        N - self.ring_len()
    }
}
