//! The run queue of a model: the models count their tasks.

use std::ptr::{self, NonNull};

use netpoll_core::sched::run_queue::Runq;

/// A run queue whose tasks are numbers above 0.
pub struct NumberQueue<const N: usize>(Runq<(), N>);

fn to_task(number: usize) -> NonNull<()> {
    NonNull::new(ptr::without_provenance_mut(number)).expect("a task is a number above 0")
}

fn to_number(task: NonNull<()>) -> usize {
    task.as_ptr().addr()
}

impl<const N: usize> NumberQueue<N> {
    pub fn new() -> Self {
        Self(Runq::new())
    }

    pub fn put(&self, task: usize) -> Result<(), usize> {
        self.0.put(to_task(task)).map_err(to_number)
    }

    pub fn put_next(&self, task: usize) -> Option<usize> {
        self.0.put_next(to_task(task)).map(to_number)
    }

    pub fn has_next(&self) -> bool {
        self.0.has_next()
    }

    pub fn get_next(&self) -> Option<usize> {
        self.0.get_next().map(to_number)
    }

    pub fn get(&self) -> Option<usize> {
        self.0.get().map(to_number)
    }

    pub fn put_next_alone(&self, task: usize) -> Option<usize> {
        self.0.put_next_alone(to_task(task)).map(to_number)
    }

    pub fn get_next_alone(&self) -> Option<usize> {
        self.0.get_next_alone().map(to_number)
    }

    pub fn get_alone(&self) -> Option<usize> {
        self.0.get_alone().map(to_number)
    }

    pub fn steal_into(&self, mine: &Self) -> Option<usize> {
        self.0.steal_into(&mine.0).map(to_number)
    }

    pub fn take_half(&self, room: usize, mut keep: impl FnMut(usize, usize)) -> usize {
        self.0.take_half(room, |i, task| keep(i, to_number(task)))
    }

    pub fn ring_len(&self) -> usize {
        self.0.ring_len()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
