//! The task cell: the word of its state, what it is, and its future or value, in one allocation.
//!
//! - **INV-403** The functions of a cell's table are those of its own type of future.

#![expect(
    unsafe_code,
    reason = "the state word of a task decides the owner of its future, its output and its memory"
)]

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

use netpoll_core::sched::task::TaskState;
use netpoll_core::sync::UnsafeCell;

use super::{Sched, SchedHandle, TaskMeta};
use crate::foreign::catch_panic;
use raw::schedule;
pub use waker::wake_to_runnable;

/// The result of a task: its value, or the payload of its panic.
pub type TaskResult<T> = Result<T, Box<dyn Any + Send>>;

/// The schedule function of a kind of task: the queue that it goes to when it is to be run.
pub trait Schedule: Clone + Send + Sync + 'static {
    /// Puts the task into its queue. `yielded`: it was woken while it ran.
    fn schedule(self, task: Runnable, yielded: bool);
}

/// The part that all cells begin with.
struct Header {
    state: TaskState,
    table: &'static Table,
    meta: TaskMeta,
    sched: Arc<SchedHandle>,
    joiner: UnsafeCell<Option<Waker>>,
}

/// The functions that depend on the type of the future (a vtable).
struct Table {
    run: unsafe fn(NonNull<Header>) -> bool,
    cancel: unsafe fn(NonNull<Header>),
    schedule: unsafe fn(NonNull<Header>, bool),
    /// Moves the result into an `Option<TaskResult<T>>`.
    take: unsafe fn(NonNull<Header>, NonNull<()>),
    free: unsafe fn(NonNull<Header>),
}

#[repr(C)]
struct Cell<F: Future, Q> {
    header: Header,
    queue: Q,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Running {
        /// The task's key in its shard, or [`UNREGISTERED`]. (An `Option` would be twice as large.)
        place: u32,
        future: F,
    },
    /// `None` once the result is taken, or if there is none.
    Finished(Option<TaskResult<F::Output>>),
}

/// The key of a task that has never waited: it is queued or running, and needs no entry in its shard.
const UNREGISTERED: u32 = u32::MAX;

/// A task that came out of a queue, or is on its way into one: the right to run it, once. Dropped: cancels it.
pub struct Runnable(NonNull<Header>);

// SAFETY: INV-11, INV-12: what it gives access to is a future that `new_task` has been told may go to other threads, or that
// its queue keeps on its own.
unsafe impl Send for Runnable {}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runnable").field(&self.meta()).finish()
    }
}

impl Runnable {
    fn header(&self) -> &Header {
        // SAFETY: INV-11: the task is ours.
        unsafe { self.0.as_ref() }
    }

    /// Returns the task's metadata.
    #[inline]
    pub fn meta(&self) -> TaskMeta {
        self.header().meta
    }

    /// Returns the scheduler of the task.
    #[inline]
    pub fn sched(&self) -> &Arc<SchedHandle> {
        &self.header().sched
    }

    /// Returns true if any worker of that scheduler may run the task.
    #[inline]
    pub fn is_for_any_worker_of(&self, sched: &Sched) -> bool {
        ptr::eq::<Sched>(&***self.sched(), sched) && !self.meta().is_local()
    }

    /// Returns a waker of the task.
    pub fn waker(&self) -> Waker {
        // SAFETY: INV-11: it is ours.
        Waker::clone(&*unsafe { waker::waker_ref(self.0) })
    }

    /// Puts it into its queue.
    pub fn schedule(self) {
        // SAFETY: INV-11: the task is ours.
        unsafe { schedule(ManuallyDrop::new(self).0, false) }
    }

    /// Polls the task once; returns true if it was woken meanwhile.
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

/// The join half of a task, owned by its handle: it cancels the task, waits for it and takes its result.
pub struct JoinCore<T> {
    /// `None` once it has given the result.
    task: Option<NonNull<Header>>,
    result: PhantomData<T>,
}

// SAFETY: INV-12: it touches the slot and the value only by exclusive access to itself, which moves the value to its thread.
unsafe impl<T: Send> Send for JoinCore<T> {}

// SAFETY: INV-12: by shared access it touches the word only.
unsafe impl<T: Send> Sync for JoinCore<T> {}

impl<T> Unpin for JoinCore<T> {}

/// Makes a task, to be scheduled.
pub fn new_task<F, Q>(
    sched: Arc<SchedHandle>,
    meta: TaskMeta,
    queue: Q,
    future: F,
) -> (Runnable, JoinCore<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    Q: Schedule,
{
    // SAFETY: INV-12: both may go to other threads.
    unsafe { new_local_task(sched, meta, queue, future) }
}

/// Makes a task of a future that need not be `Send`.
///
/// # Safety
///
/// INV-11, INV-12: if it is not, its queue sees to it that the thread that calls runs it and drops it.
pub unsafe fn new_local_task<F, Q>(
    sched: Arc<SchedHandle>,
    meta: TaskMeta,
    queue: Q,
    future: F,
) -> (Runnable, JoinCore<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    Q: Schedule,
{
    sched.task_begins();
    let table = raw::table::<F, Q>();
    let header = Header { state: TaskState::new(), table, meta, sched, joiner: UnsafeCell::new(None) };
    let stage = UnsafeCell::new(Stage::Running { place: UNREGISTERED, future });
    let cell = NonNull::from(Box::leak(Box::new(Cell { header, queue, stage }))).cast();
    (Runnable(cell), JoinCore { task: Some(cell), result: PhantomData })
}

impl<T> JoinCore<T> {
    fn header(&self) -> Option<&Header> {
        // SAFETY: INV-11: the handle is ours until the result is given.
        self.task.map(|task| unsafe { task.as_ref() })
    }

    /// Returns true if the task has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.header().is_none_or(|header| header.state.is_complete())
    }

    /// The task is to be dropped where it waits, or after the turn that it is in.
    pub fn cancel(&self) {
        if let (Some(task), Some(header)) = (self.task, self.header()) {
            let then = header.state.cancel();
            // SAFETY: INV-11: the handle is ours.
            unsafe { raw::run_action(task, then) }
        }
    }

    /// Returns the result once the task has ended; `None` if it was cancelled.
    ///
    /// # Panics
    ///
    /// When polled again after that.
    #[track_caller]
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<TaskResult<T>>> {
        let header = self.header().expect("a JoinHandle was polled after it had given its result");
        let mut known = None;
        if !header.state.is_complete() {
            // Foreign code, which may panic: before the slot is taken back, and, for the one before, after the new one has
            // been left.
            let waker = cx.waker().clone();
            if header.state.unregister_join_waker() {
                // SAFETY: INV-12: the slot is the handle's now, since `unregister_join_waker` said so, and nothing runs in here.
                known = header.joiner.with_mut(|slot| unsafe { (*slot).replace(waker) });
                if header.state.register_join_waker() {
                    // In a child of the process that spawned it the task is a copy that nobody runs.
                    let runs = header.sched.netpoll().is_owner_process();
                    return if runs { Poll::Pending } else { Poll::Ready(None) };
                }
            }
        }
        let result = self.end();
        drop(known);
        Poll::Ready(result)
    }

    /// Takes the result of a task that has ended, and releases the handle.
    fn end(&mut self) -> Option<TaskResult<T>> {
        let task = self.task.take()?;
        let mut result = None;
        // SAFETY: INV-11: the handle is ours until the end of this function.
        let header = unsafe { task.as_ref() };
        // SAFETY: INV-403: `T` is what the future gives; INV-12: the task is complete.
        unsafe { (header.table.take)(task, NonNull::from(&mut result).cast()) };
        let then = header.state.drop_complete_handle();
        // SAFETY: INV-11: the word has said so.
        unsafe { raw::run_action(task, then) }
        result
    }
}

impl<T> Drop for JoinCore<T> {
    fn drop(&mut self) {
        let Some(header) = self.header() else { return };
        match (header.state.drop_handle(), self.task) {
            // SAFETY: INV-11: the word has said so.
            (Some(then), Some(task)) => unsafe { raw::run_action(task, then) },
            // What it gives may panic when it is dropped.
            _ => {
                catch_panic(|| drop(self.end()));
            }
        }
    }
}
