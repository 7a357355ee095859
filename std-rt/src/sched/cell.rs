//! The task cell: the word of its state, what it is, and its future or value, in one allocation.
//!
//! - **INV-403** The functions of a cell's table are those of its own type of future.

mod raw;
mod waker;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use netpoll_core::sync::UnsafeCell;
use netpoll_core::task::TaskState;

use super::{Home, Origin, Sched};
use crate::foreign::quietly;
use raw::schedule;
pub use waker::wake_up;

/// What became of a task: its value, or what it panicked with.
pub type Outcome<T> = Result<T, Box<dyn Any + Send>>;

/// Where a kind of task goes when it is to be run.
pub trait Queue: Clone + Send + Sync + 'static {
    /// Puts it there; it `yielded` if it was woken in its own turn.
    fn put(self, task: Runnable, yielded: bool);
}

/// What all cells begin with.
struct Header {
    state: TaskState,
    table: &'static Table,
    origin: Origin,
    home: Arc<Home>,
    joiner: UnsafeCell<Option<Waker>>,
}

/// What depends on the type of the future.
struct Table {
    run: unsafe fn(NonNull<Header>) -> bool,
    cancel: unsafe fn(NonNull<Header>),
    schedule: unsafe fn(NonNull<Header>, bool),
    /// Moves the outcome into an `Option<Outcome<T>>`.
    take: unsafe fn(NonNull<Header>, NonNull<()>),
    free: unsafe fn(NonNull<Header>),
}

#[repr(C)]
struct Cell<F: Future, Q> {
    header: Header,
    queue: Q,
    body: UnsafeCell<Body<F>>,
}

enum Body<F: Future> {
    Living {
        /// The task's place in the list of those that wait, or [`NOWHERE`]. (An `Option` would take twice the room.)
        place: u32,
        future: F,
    },
    /// None once it is taken, or if there is none.
    Ended(Option<Outcome<F::Output>>),
}

/// The task has never waited: it is queued or running, and needs no place.
const NOWHERE: u32 = u32::MAX;

/// A task that came out of a queue, or is on its way into one: the right to run it, once. Dropped: cancels it.
pub struct Runnable(NonNull<Header>);

// SAFETY: INV-11, INV-12: what it gives access to is a future that `new_task` has been told may go to other threads, or that
// its queue keeps on its own.
unsafe impl Send for Runnable {}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runnable").field(&self.origin()).finish()
    }
}

impl Runnable {
    fn header(&self) -> &Header {
        // SAFETY: INV-11: the task is ours.
        unsafe { self.0.as_ref() }
    }

    /// Where it comes from.
    #[inline]
    pub fn origin(&self) -> Origin {
        self.header().origin
    }

    /// Whose it is.
    #[inline]
    pub fn home(&self) -> &Arc<Home> {
        &self.header().home
    }

    /// Any worker of that scheduler may run it.
    #[inline]
    pub fn is_for_any_worker_of(&self, sched: &Sched) -> bool {
        ptr::eq::<Sched>(&***self.home(), sched) && !self.origin().is_local()
    }

    /// A waker of it.
    pub fn waker(&self) -> Waker {
        // SAFETY: INV-11: it is ours.
        Waker::clone(&*unsafe { waker::lent(self.0) })
    }

    /// Puts it into its queue.
    pub fn schedule(self) {
        // SAFETY: INV-11: the task is ours.
        unsafe { schedule(ManuallyDrop::new(self).0, false) }
    }

    /// Gives it a turn; true if it was woken in it.
    #[inline]
    pub fn run(self) -> bool {
        let task = ManuallyDrop::new(self);
        // SAFETY: INV-403, and the task is ours to run.
        unsafe { (task.header().table.run)(task.0) }
    }

    /// The task as a pointer, which owns it.
    pub(super) fn into_raw(self) -> NonNull<()> {
        ManuallyDrop::new(self).0.cast()
    }

    /// # Safety
    ///
    /// INV-9: the pointer came from [`Runnable::into_raw`], and this is its only way back.
    pub(super) unsafe fn from_raw(task: NonNull<()>) -> Self {
        Self(task.cast())
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        // SAFETY: INV-403, and the task is ours.
        unsafe { (self.header().table.cancel)(self.0) }
    }
}

/// The end of a task that its spawner has: cancels it, waits for it, takes its outcome.
pub struct Joiner<T> {
    /// None once it has given the outcome.
    task: Option<NonNull<Header>>,
    outcome: PhantomData<T>,
}

// SAFETY: INV-12: it touches the slot and the value only by exclusive access to itself, which moves the value to its thread.
unsafe impl<T: Send> Send for Joiner<T> {}

// SAFETY: INV-12: by shared access it touches the word only.
unsafe impl<T: Send> Sync for Joiner<T> {}

impl<T> Unpin for Joiner<T> {}

/// Makes a task, to be scheduled.
pub fn new_task<F, Q>(home: Arc<Home>, origin: Origin, queue: Q, future: F) -> (Runnable, Joiner<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    Q: Queue,
{
    // SAFETY: INV-12: both may go to other threads.
    unsafe { new_local_task(home, origin, queue, future) }
}

/// Makes a task of a future that need not be `Send`.
///
/// # Safety
///
/// INV-11, INV-12: if it is not, its queue sees to it that the thread that calls runs it and drops it.
pub unsafe fn new_local_task<F, Q>(
    home: Arc<Home>,
    origin: Origin,
    queue: Q,
    future: F,
) -> (Runnable, Joiner<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    Q: Queue,
{
    home.task_begins();
    let table = raw::table::<F, Q>();
    let header = Header { state: TaskState::new(), table, origin, home, joiner: UnsafeCell::new(None) };
    let body = UnsafeCell::new(Body::Living { place: NOWHERE, future });
    let cell = NonNull::from(Box::leak(Box::new(Cell { header, queue, body }))).cast();
    (Runnable(cell), Joiner { task: Some(cell), outcome: PhantomData })
}

impl<T> Joiner<T> {
    fn header(&self) -> Option<&Header> {
        // SAFETY: INV-11: the handle is ours until the outcome is given.
        self.task.map(|task| unsafe { task.as_ref() })
    }

    /// The task has ended, whatever way.
    pub fn is_finished(&self) -> bool {
        self.header().is_none_or(|header| header.state.is_complete())
    }

    /// The task is to be dropped where it waits, or after the turn that it is in.
    pub fn cancel(&self) {
        if let (Some(task), Some(header)) = (self.task, self.header()) {
            let then = header.state.cancel();
            // SAFETY: INV-11: the handle is ours.
            unsafe { raw::settle(task, then) }
        }
    }

    /// The outcome, once the task has ended; none if it was cancelled.
    ///
    /// # Panics
    ///
    /// When polled again after that.
    #[track_caller]
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Outcome<T>>> {
        let header = self.header().expect("a JoinHandle was polled after it had given its result");
        let mut known = None;
        if !header.state.is_complete() {
            // Foreign code, which may panic: before the slot is taken back, and, for the one before, after the new one has
            // been left.
            let waker = cx.waker().clone();
            if header.state.unregister_join_waker() {
                // SAFETY: INV-12: the slot is the handle's now, since `unregister_join_waker` said so, and nothing runs
                // in here.
                known = header.joiner.with_mut(|slot| unsafe { (*slot).replace(waker) });
                if header.state.register_join_waker() {
                    // In a child of the process that spawned it the task is a copy that nobody runs.
                    let runs = header.home.netpoll().is_here();
                    return if runs { Poll::Pending } else { Poll::Ready(None) };
                }
            }
        }
        let outcome = self.end();
        drop(known);
        Poll::Ready(outcome)
    }

    /// The task has ended, and the outcome is the handle's: takes it out and gives the handle up.
    fn end(&mut self) -> Option<Outcome<T>> {
        let task = self.task.take()?;
        let mut outcome = None;
        // SAFETY: INV-11: the handle is ours until the end of this function.
        let header = unsafe { task.as_ref() };
        // SAFETY: INV-403: `T` is what the future gives; INV-12: the task is complete.
        unsafe { (header.table.take)(task, NonNull::from(&mut outcome).cast()) };
        let then = header.state.drop_complete_handle();
        // SAFETY: INV-11: the word has said so.
        unsafe { raw::settle(task, then) }
        outcome
    }
}

impl<T> Drop for Joiner<T> {
    fn drop(&mut self) {
        let Some(header) = self.header() else { return };
        match (header.state.drop_handle(), self.task) {
            // SAFETY: INV-11: the word has said so.
            (Some(then), Some(task)) => unsafe { raw::settle(task, then) },
            // What it gives may panic when it is dropped.
            _ => {
                quietly(|| drop(self.end()));
            }
        }
    }
}
