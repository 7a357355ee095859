//! The workers of the current thread.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use super::Worker;
use crate::sched::Sched;

thread_local! {
    /// The workers that this thread is, one on top of the other: a task of one runtime may call `block_on` of another one.
    /// Without a destructor, so that the destructors of other variables of the thread find it, whichever comes first. It has
    /// no memory while the thread is no worker.
    static STACK: ManuallyDrop<RefCell<Vec<Rc<Worker>>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// The guard of a thread that is a worker. Guards are dropped in the reverse order.
#[must_use]
pub struct CurrentGuard(());

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        // Dropped outside of the borrow: the last reference may go, and with it foreign code.
        let _popped = with_stack(|stack| {
            let popped = stack.pop();
            if stack.is_empty() { (popped, std::mem::take(stack)) } else { (popped, Vec::new()) }
        });
    }
}

impl Worker {
    /// Returns this thread's worker of that scheduler, if it has one.
    pub fn current(sched: &Sched) -> Option<Rc<Worker>> {
        let is_of = |worker: &&Rc<Worker>| std::ptr::eq::<Sched>(&**worker.sched, sched);
        with_stack(|stack| stack.iter().find(is_of).cloned())
    }

    /// Returns true if this thread is a worker of any scheduler.
    pub fn is_worker_thread() -> bool {
        with_stack(|stack| !stack.is_empty())
    }

    /// Makes this thread that worker too.
    pub fn push_current(worker: Rc<Worker>) -> CurrentGuard {
        with_stack(|stack| stack.push(worker));
        CurrentGuard(())
    }
}

fn with_stack<R>(work: impl FnOnce(&mut Vec<Rc<Worker>>) -> R) -> R {
    STACK.with(|stack| work(&mut stack.borrow_mut()))
}
