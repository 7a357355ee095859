//! The workers that a thread is.

use std::cell::RefCell;
use std::rc::Rc;

use super::Worker;
use crate::sched::Sched;

thread_local! {
    /// The workers that this thread is, one on top of the other: a task of one runtime may call `block_on` of another one.
    static HERE: RefCell<Vec<Rc<Worker>>> = const { RefCell::new(Vec::new()) };
}

impl Worker {
    /// Returns the worker of that scheduler that this thread is, if it is one.
    pub fn here(sched: &Sched) -> Option<Rc<Worker>> {
        let is_of = |worker: &&Rc<Worker>| std::ptr::eq::<Sched>(&**worker.sched, sched);
        with_here(|here| here.iter().find(is_of).cloned()).flatten()
    }

    /// Returns true if this thread is a worker of any scheduler.
    pub fn is_any_here() -> bool {
        with_here(|here| !here.is_empty()).unwrap_or(false)
    }

    /// Makes this thread that worker too.
    pub fn push_here(worker: Rc<Worker>) {
        with_here(|here| here.push(worker));
    }

    /// Undoes the last [`Worker::push_here`].
    pub fn pop_here() {
        // Dropped outside: the last reference may go, and with it foreign code.
        drop(with_here(Vec::pop));
    }
}

/// None if the thread's variables are gone: the thread ends, and the destructor of another variable calls.
fn with_here<R>(work: impl FnOnce(&mut Vec<Rc<Worker>>) -> R) -> Option<R> {
    HERE.try_with(|here| work(&mut here.borrow_mut())).ok()
}
