//! The task cell: the state word of a task, its metadata, its scheduler and its future or result, in one allocation.
//!
//! The state word, [`TaskState`], says which thread may touch which part of the cell, and when. A right that it grants is a
//! value here. Its fields are private to this module, and each place that creates one says which transition granted it.
//!
//! | right | granted by | permits | ended by |
//! |---|---|---|---|
//! | [`Runnable`] | creation, [`Action::Schedule`], [`PollResult::Again`], [`PollResult::Orphan`] | to poll or drop the future | `finish_poll`, `complete` |
//! | [`TaskRef`] | `add_ref`, [`Completion::JoinWaker`] | to wake the task, and to cancel it ([`AbortHandle`]) | `wake_by_value`, `drop_ref` |
//! | [`JoinHandle`] | creation | to leave a join waker, to cancel the task, to take the result once it is complete | `drop_handle`, `drop_complete_handle` |
//! | [`Memory`] | [`Action::Free`], [`Completion::Free`] | to free the cell | its drop |
//!
//! While a thread has any of them, the cell is there (INV-11 of core).
//!
//! - **INV-403** A [`TaskPtr`] points to a [`Cell`], the [`Table`] in its header was made for the types of that cell, and the
//!   pointer may be used for the whole cell. [`create`] makes both together, and neither changes.

#![expect(
    unsafe_code,
    reason = "the state word of a task decides the owner of its future, its output and its memory"
)]

mod abort;
mod body;
mod join;
mod refs;
mod waker;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, offset_of};
use std::ops::Deref;
use std::process;
use std::ptr::NonNull;
use std::task::{Poll, RawWaker, Waker};

use netpoll_core::sched::task::{Action, Completion, PollResult, TaskState};
use netpoll_core::sync::UnsafeCell;

use super::TaskMeta;
use super::id::{CurrentTask, Id};
use crate::foreign::catch_panic;
use crate::trace::{TaskSpan, TaskTrace, Traced};
pub use abort::AbortHandle;
use body::{Body, RawBody};
pub use join::{JoinError, JoinHandle};
use refs::{Memory, TaskRef};
use waker::WAKER;
pub use waker::{task_number, wake_to_runnable};

/// The result of a task: its value, or the payload of its panic.
type TaskResult<T> = Result<T, Box<dyn Any + Send>>;

/// The key of a task that is in no list: it has never waited, or shutdown leaves it alone.
pub const UNREGISTERED: u32 = u32::MAX;

/// The scheduler of a task, as the task sees it. Calls go down, so a task knows its scheduler by this trait only.
///
/// # Safety
///
/// At most one type of the program returns true from [`Schedule::for_any_worker`]: it is how [`Runnable::typed`] knows a
/// task's scheduler.
pub unsafe trait Schedule: Send + Sync + 'static {
    /// Returns whether any worker may run the tasks, and not only the thread that spawned them.
    fn for_any_worker() -> bool
    where
        Self: Sized;

    /// Returns whether a task that waits for the first time is to be registered.
    fn registers() -> bool
    where
        Self: Sized,
    {
        Self::for_any_worker()
    }

    /// Puts a task of this scheduler into a run queue. `yielded`: it was woken while it ran.
    fn schedule(task: Scheduled<Self>, yielded: bool)
    where
        Self: Sized;

    /// Puts a task of this scheduler that is cancelled, and did not run, into a run queue.
    fn schedule_cancelled(task: Scheduled<Self>)
    where
        Self: Sized,
    {
        Self::schedule(task, false);
    }

    /// Counts a task that is created.
    fn started(&self);

    /// Registers the waker of a task that waits for the first time, so that shutdown finds it. Returns the task's key, or
    /// [`UNREGISTERED`] if the task is in no list. Called only if [`Schedule::registers`].
    fn register(&self, waker: Waker) -> u32;

    /// Counts a task that has ended, and unregisters it if it has a key.
    fn ended(&self, key: Option<u32>);

    /// Returns whether the task can still be cancelled.
    fn may_cancel(&self) -> bool {
        true
    }

    /// Returns whether this process is the one that runs the task, and not a fork of it.
    fn is_owner_process(&self) -> bool;
}

/// The part of a cell that depends on no type. The run queues hold pointers to it.
pub struct Header {
    state: TaskState,
    table: &'static Table,
    meta: TaskMeta,
    /// The waker of the handle, see `core::task`.
    join_waker: UnsafeCell<Option<Waker>>,
    trace: TaskTrace,
}

/// The functions that depend on the types of a cell (a vtable). Those that return pointers compute them and do not use
/// them.
struct Table {
    run: fn(Runnable) -> bool,
    free: fn(Memory),
    body: fn(TaskPtr) -> *mut dyn RawBody,
    sched: fn(TaskPtr) -> *const dyn Schedule,
    schedule: fn(Runnable, bool),
    schedule_cancelled: fn(Runnable),
}

/// The beginning of a cell, which does not depend on the type of the future.
#[repr(C)]
struct Front<S> {
    header: Header,
    sched: S,
}

#[repr(C)]
struct Cell<F: Future, S> {
    front: Front<S>,
    body: Body<F>,
}

impl<F: Future + 'static, S: Schedule> Cell<F, S> {
    const TABLE: &Table = &Table {
        run: |task| task.run_with(Self::body),
        free: |memory| memory.free_with(|task| task.0.as_ptr().cast::<Self>()),
        body: |task| Self::body(task),
        sched: |task| task.sched_ptr::<S>(),
        schedule: |task, yielded| S::schedule(Scheduled { task, sched: PhantomData }, yielded),
        schedule_cancelled: |task| S::schedule_cancelled(Scheduled { task, sched: PhantomData }),
    };

    #[inline(always)]
    fn body(task: TaskPtr) -> *mut Body<F> {
        task.0.as_ptr().wrapping_byte_add(offset_of!(Self, body)).cast()
    }
}

/// A pointer to a cell, which gives no right of its own: it is used by the rights, and not after they have ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskPtr(NonNull<Header>);

impl Deref for TaskPtr {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: the caller has one of the rights, so the cell is there (INV-11), and it begins with its header (INV-403).
        // No thread has exclusive access to a header: its changing parts are atomic or in an `UnsafeCell`.
        unsafe { self.0.as_ref() }
    }
}

impl TaskPtr {
    /// Returns the address of the scheduler in a cell whose scheduler is an `S`.
    #[inline]
    fn sched_ptr<S>(self) -> *const S {
        self.0.as_ptr().wrapping_byte_add(offset_of!(Front<S>, sched)).cast_const().cast()
    }

    /// Returns the scheduler.
    fn sched(&self) -> &dyn Schedule {
        // SAFETY: the table is that of the cell (INV-403), so the pointer is that of its scheduler; the cell is there
        // because the caller has one of the rights (INV-11). A scheduler is only ever borrowed shared.
        unsafe { &*(self.table.sched)(*self) }
    }

    /// Registers a waker of the task with the scheduler, and returns the task's key. Out of line: a task does it once.
    #[inline(never)]
    fn register(self, waker: Waker) -> u32 {
        self.sched().register(waker)
    }

    /// Returns the task's id, which is the address of its cell.
    #[inline]
    fn id(self) -> Id {
        Id::of_cell(self.0.cast())
    }

    /// Cancels the task, for a caller with a reference or the handle. In a child of fork(2) the task is a copy that no thread
    /// runs, and its queues may be locked for ever.
    fn cancel(self) {
        let sched = self.sched();
        if sched.is_owner_process()
            && sched.may_cancel()
            && let Some(task) = self.run_action(self.state.cancel())
        {
            (self.table.schedule_cancelled)(task);
        }
    }

    /// Adds a reference, for a caller that has one, has the handle or is the runner.
    fn add_ref(self) -> TaskRef {
        if !self.state.add_ref() {
            // Only leaked wakers can be that many. As for `Arc`, going on would free what is in use.
            process::abort();
        }
        TaskRef::new(self)
    }

    /// Carries out the action of a transition that the caller has just made. Returns the task if it is to be scheduled.
    #[inline]
    fn run_action(self, action: Action) -> Option<Runnable> {
        match action {
            Action::Nothing => None,
            // The word has granted the right.
            Action::Schedule => Some(Runnable(self)),
            Action::Free => {
                // The word has granted the right.
                drop(Memory::new(self));
                None
            }
        }
    }

    /// Wakes the task, for a caller with a reference.
    #[inline]
    fn wake(self) {
        if let Some(task) = self.run_action(self.state.wake()) {
            task.schedule();
        }
    }
}

/// A task that came out of a queue, or is on its way into one: the right to poll it once. Dropping it cancels the task.
pub struct Runnable(TaskPtr);

// SAFETY: a future whose type is not `Send` is only made a task by `new_local_task`, whose caller sees to it that only the
// spawning thread polls and drops it. All else in a cell may be used by any thread.
unsafe impl Send for Runnable {}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runnable").field(&self.meta()).finish()
    }
}

impl Runnable {
    /// Returns the task's id.
    #[inline]
    pub fn id(&self) -> Id {
        self.0.id()
    }

    /// Returns the task's metadata.
    #[inline]
    pub fn meta(&self) -> TaskMeta {
        self.0.meta
    }

    /// Returns the task with the type of its scheduler if any worker of that may run it.
    #[inline]
    pub fn typed<S: Schedule>(self) -> Result<Scheduled<S>, Self> {
        // `S` is then the one type for which `for_any_worker` holds, as the trait requires, and the task is of that type.
        if S::for_any_worker() && !self.meta().is_local() {
            Ok(Scheduled { task: self, sched: PhantomData })
        } else {
            Err(self)
        }
    }

    /// Returns a waker of the task, for its scheduler.
    pub fn waker(&self) -> Waker {
        self.0.new_waker()
    }

    /// Returns a waker without a reference of its own, for as long as this right lasts.
    #[inline]
    fn borrowed_waker(&self) -> ManuallyDrop<Waker> {
        let data = self.0.0.as_ptr().cast_const().cast();
        // SAFETY: the functions of `WAKER` expect a pointer to a cell and a reference. The right of the runner stands for the
        // reference: the waker is used only while it lasts, and never dropped; its clones have references of their own.
        ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(data, &WAKER)) })
    }

    /// Puts the task into its queue.
    #[inline]
    pub fn schedule(self) {
        (self.0.table.schedule)(self, false);
    }

    /// Returns the part of the cell that the runner has for itself.
    fn body(&mut self) -> &mut dyn RawBody {
        self.body_by(self.0.table.body)
    }

    /// Returns the same as [`Runnable::body`]. `body` is a function of the table of the cell, or the same function with its type.
    #[inline(always)]
    fn body_by<B: ?Sized>(&mut self, body: impl Fn(TaskPtr) -> *mut B) -> &mut B {
        let body = body(self.0);
        // SAFETY: the table is that of the cell, so the pointer is that of the body (INV-403). This value is the right of the
        // runner, of which there is one (INV-12), and it is borrowed exclusively.
        unsafe { &mut *body }
    }

    /// Polls the task once. Returns true if it was woken meanwhile.
    #[inline]
    pub fn run(self) -> bool {
        (self.0.table.run)(self)
    }

    /// Polls the task as [`Runnable::run`] does, for the table of the cell. `body` has the type of the body, so that the poll is
    /// inlined.
    #[inline(always)]
    fn run_with<F: Future>(self, body: impl Fn(TaskPtr) -> *mut Body<F>) -> bool {
        // Each path ends the right by a transition of the word. Nothing that can panic is on them, as `poll` catches panics.
        let mut runner = ManuallyDrop::new(self);
        let task = runner.0;
        let Some(seen) = task.state.start_poll() else {
            ManuallyDrop::into_inner(runner).cancel();
            return false;
        };
        let waker = runner.borrowed_waker();
        let register = || task.register(task.new_waker());
        if let Poll::Ready(result) = runner.body_by(&body).poll(&waker, register) {
            ManuallyDrop::into_inner(runner).resolve(body, result);
            return false;
        }
        match task.state.finish_poll(seen) {
            PollResult::Idle => false,
            // The word has left the right to this thread.
            PollResult::Again => {
                (task.table.schedule)(Runnable(task), true);
                true
            }
            PollResult::Orphan => {
                ManuallyDrop::into_inner(runner).cancel();
                false
            }
        }
    }

    /// Drops the future in place of a poll, which ends the task. Takes the right by value: a reference would keep every
    /// `Runnable` that may be dropped in memory, and not in a register.
    #[inline(never)]
    fn cancel(self) {
        let mut runner = ManuallyDrop::new(self);
        let _before = CurrentTask::replace(runner.id());
        runner.body().cancel();
        let key = runner.body().key();
        runner.complete(key);
    }

    /// Drops the future, leaves its result in its place and ends the task. Out of line, so that a poll which does not end the
    /// task saves fewer registers.
    #[inline(never)]
    fn resolve<F: Future>(self, body: impl Fn(TaskPtr) -> *mut Body<F>, result: TaskResult<F::Output>) {
        let mut runner = ManuallyDrop::new(self);
        let body = runner.body_by(body);
        // A panic of the future's drop is not the task's result.
        body.clear();
        body.finish(Some(result));
        let key = body.key();
        runner.complete(key);
    }

    /// Ends the task, whose future is gone and whose key is `key`, and with it this right, which is not used any more. The
    /// result stays for the handle, if there is one, and the handle is woken.
    #[inline]
    fn complete(&mut self, key: u32) {
        let task = self.0;
        task.sched().ended((key != UNREGISTERED).then_some(key));
        let has_handle = task.state.has_handle();
        if !has_handle {
            self.body().clear();
        }
        let mut end = task.state.complete(has_handle);
        if end == Completion::HandleGone {
            self.body().clear();
            end = task.state.complete(false);
        }
        match end {
            Completion::Kept | Completion::HandleGone => {}
            // The word has granted the right.
            Completion::Free => drop(Memory::new(task)),
            Completion::JoinWaker => {
                // SAFETY: JOIN_WAKER was set when this thread completed the task. From then on the handle does not touch the
                // slot, and this thread alone does until it drops the reference below.
                let waker = task.join_waker.with_mut(|slot| unsafe { (*slot).take() });
                // The word has granted the reference.
                let reference = TaskRef::new(task);
                // The waker may be foreign, and panic.
                catch_panic(|| waker.into_iter().for_each(Waker::wake));
                drop(reference);
            }
        }
    }

    /// Turns the right into a pointer, for a run queue.
    #[inline]
    pub fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0.0
    }

    /// Turns a pointer into the right that it came from.
    ///
    /// # Safety
    ///
    /// The pointer came from [`Runnable::into_raw`], and no other call gets the same one.
    #[inline]
    pub unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self(TaskPtr(task))
    }
}

impl Drop for Runnable {
    #[inline]
    fn drop(&mut self) {
        // The right goes on in this value.
        Runnable(self.0).cancel();
    }
}

/// A task on its way into a queue of its scheduler, an `S`.
pub struct Scheduled<S> {
    task: Runnable,
    sched: PhantomData<fn() -> S>,
}

impl<S: Schedule> Scheduled<S> {
    /// Returns the task's scheduler.
    #[inline]
    pub fn sched(&self) -> &S {
        // SAFETY: the scheduler of this cell is an `S`: the table of the cell said so, or `Runnable::typed`. The cell is there
        // while this value has the right of the runner (INV-11).
        unsafe { &*self.task.0.sched_ptr::<S>() }
    }
}

impl<S> From<Scheduled<S>> for Runnable {
    #[inline]
    fn from(scheduled: Scheduled<S>) -> Self {
        scheduled.task
    }
}

/// Creates a task, to be scheduled.
pub fn new_task<F, S>(
    sched: S,
    meta: TaskMeta,
    span: TaskSpan,
    future: F,
) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    create(sched, meta, span, future)
}

/// Creates a task of a future that need not be `Send`.
///
/// # Safety
///
/// Only the thread that calls polls the future and drops it: the scheduler sees to that.
pub unsafe fn new_local_task<F, S>(
    sched: S,
    meta: TaskMeta,
    span: TaskSpan,
    future: F,
) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    create(sched, meta, span, future)
}

fn create<F, S>(sched: S, meta: TaskMeta, span: TaskSpan, future: F) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    S: Schedule,
{
    sched.started();
    let meta = if S::for_any_worker() { meta } else { meta.local() };
    let key = if S::registers() { UNREGISTERED } else { 0 };
    let (trace, future) = span.around(future);
    let (state, table, join_waker) = (TaskState::new(), Cell::<Traced<F>, S>::TABLE, UnsafeCell::new(None));
    let header = Header { state, table, meta, join_waker, trace };
    let body = Body::Running { key, future };
    let cell = Box::new(Cell { front: Front { header, sched }, body });
    let task = TaskPtr(NonNull::from(Box::leak(cell)).cast());
    (Runnable(task), JoinHandle::new(task))
}
