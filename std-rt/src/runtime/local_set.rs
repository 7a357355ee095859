//! Sets of tasks that stay on their thread and run wherever the set is awaited.
//!
//! The tasks are [`Locals`], as those of a runtime of one worker are. Their queue is the set's own. Each future that runs
//! tasks of a set is a *poller* of it: [`LocalSet`] itself, and each `run_until`. A poller that finds the queue empty leaves
//! its waker, and a thread that puts a task into the queue wakes all that were left. Both happen under the lock of the
//! queue, so no task is put without a poller that looks later. The wakers are cloned, woken and dropped outside of it.
//!
//! The sets that a thread polls or has entered are a list of [`Node`]s in its context. A node that has been left is
//! unlinked once no younger one is in force, so guards may be dropped in any order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use slab::Slab;

use super::{Handle, Runtime};
use crate::context;
use crate::coop::{self, Charge};
use crate::error::Unavailable;
use crate::foreign;
use crate::sync::{Mutex, lock};
use crate::sys::ForkEpoch;
use crate::task::{CurrentTask, JoinHandle, LocalQueues, Locals, Runnable, TaskMeta, set_current};
use crate::trace::{self, TaskSpan};

/// The number of tasks that a poll of a set runs at most, before the other tasks of the thread come.
const TASKS_PER_POLL: usize = 61;

/// A set of tasks that stay on this thread, and so need not be `Send`. They run while the set is awaited: in
/// [`run_until`](Self::run_until), in [`block_on`](Self::block_on), and while the set itself is awaited as a future, which
/// completes when all its tasks have ended.
///
/// It works on any runtime, also on one with several workers (there in `block_on`, whose future stays on its thread), and
/// under any executor. A runtime of [`workers(1)`](crate::Builder::workers) needs none: there
/// [`spawn_local`](crate::spawn_local) works everywhere.
///
/// ```
/// use std::rc::Rc;
/// use netpoll_rt::{Runtime, spawn_local, task::LocalSet};
///
/// let runtime = Runtime::new()?;
/// let set = LocalSet::new();
/// let text = Rc::new("not Send");
/// let length = set.block_on(&runtime, async move {
///     // The innermost set of the thread gets the task.
///     spawn_local(async move { text.len() }).await
/// });
/// assert_eq!(length?, 8);
/// # std::io::Result::Ok(())
/// ```
///
/// A poll of the set runs up to 61 tasks, each with a [budget](crate::task) of its own. A task may be woken and aborted
/// from any thread. The tasks are not among those of [`Metrics`](crate::Metrics), since they belong to no runtime.
///
/// Dropped: every task that has not ended is cancelled, and its future is dropped, on this thread.
///
/// # fork(2)
///
/// In a child of the process that made the set, its methods panic, and dropping it does nothing.
pub struct LocalSet {
    /// The poller that the set is as a future.
    poller: Poller,
    charge: Charge,
}

impl LocalSet {
    /// Creates an empty set for this thread.
    pub fn new() -> Self {
        let queue = SetQueue { state: Mutex::default(), epoch: ForkEpoch::current().ok() };
        Self { poller: Poller::new(Locals::new(queue)), charge: Charge::First }
    }

    /// Starts a task of this set. It runs when the set is awaited next.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn_into(&self.poller.locals, future)
    }

    /// Runs tasks of this set until `future` is ready, and returns its value. In there
    /// [`spawn_local`](crate::spawn_local) starts tasks of this set.
    ///
    /// Several calls may be awaited at once: each runs the tasks of the set.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: `future` is dropped. The tasks stay in the set.
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        let poller = Poller::new(self.poller.locals.clone());
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _inside = poller.enter();
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() {
                poller.run_tasks(cx);
            }
            polled
        })
        .await
    }

    /// Runs a future to its end on this thread, by [`Runtime::block_on`], and tasks of this set meanwhile. Returns its value.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, runtime: &Runtime, future: F) -> F::Output {
        runtime.block_on(self.run_until(future))
    }

    /// Returns whether this thread polls a set or has entered one, of which [`spawn_local`](crate::spawn_local) starts tasks
    /// then.
    pub fn is_entered() -> bool {
        current().is_some()
    }

    /// Lets [`spawn_local`](crate::spawn_local) start tasks of this set on this thread until the guard is dropped. The tasks
    /// run when the set is awaited.
    ///
    /// Guards may be dropped in any order: the set that was entered last and not left yet is in force. Once a set is dropped,
    /// new tasks of it are cancelled at once.
    pub fn enter(&self) -> LocalEnterGuard {
        let node = Node::new(Some(self.poller.locals.clone()), false);
        node.link();
        LocalEnterGuard(node)
    }
}

impl Future for LocalSet {
    type Output = ();

    /// Runs tasks, and is ready when all tasks of the set have ended. New ones may be started afterwards, and awaited again.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        {
            let _inside = self.poller.enter();
            self.poller.run_tasks(cx);
        }
        if !self.poller.locals.is_empty() {
            self.charge = Charge::Waited;
            return Poll::Pending;
        }
        ready!(mem::replace(&mut self.charge, Charge::Refused).poll_proceed(cx));
        self.charge = Charge::First;
        Poll::Ready(())
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        if self.poller.locals.is_owner_process() {
            let _inside = self.poller.enter();
            self.poller.locals.end();
        }
    }
}

impl Default for LocalSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").finish_non_exhaustive()
    }
}

/// The guard of a thread that has entered a set; made by [`LocalSet::enter`].
#[must_use = "dropped at once, the guard has no effect"]
pub struct LocalEnterGuard(Rc<Node>);

impl Drop for LocalEnterGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl fmt::Debug for LocalEnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEnterGuard").finish_non_exhaustive()
    }
}

/// The tasks of a set.
pub(super) type SetTasks = Locals<SetQueue>;

/// Starts a task of a set.
#[track_caller]
pub(super) fn spawn_into<F>(set: &Arc<SetTasks>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    set.assert_owner_process();
    let location = Location::caller();
    set.spawn(TaskMeta::new(location), TaskSpan::new(trace::LOCAL, None, location), future)
}

impl SetTasks {
    fn is_owner_process(&self) -> bool {
        self.queues().is_owner_process()
    }

    #[track_caller]
    fn assert_owner_process(&self) {
        assert!(self.is_owner_process(), "netpoll: a LocalSet: {}", Unavailable::Forked);
    }
}

/// The queue of a set.
#[derive(Debug)]
pub(super) struct SetQueue {
    state: Mutex<SetState>,
    epoch: Option<ForkEpoch>,
}

#[derive(Debug, Default)]
struct SetState {
    runnable: VecDeque<Runnable>,
    /// The wakers of the pollers that have found no task.
    pollers: Slab<Option<Waker>>,
}

impl SetQueue {
    fn take(&self) -> Option<Runnable> {
        lock(&self.state).runnable.pop_front()
    }
}

impl SetState {
    /// Takes the waker of the first poller at that index or behind it.
    fn take_waker(&mut self, from: usize) -> Option<(usize, Waker)> {
        let mut pollers = self.pollers.iter_mut().filter(|(key, _)| *key >= from);
        pollers.find_map(|(key, waker)| Some((key, waker.take()?)))
    }
}

impl LocalQueues for SetQueue {
    fn put(&self, task: Runnable, _yielded: bool) {
        let mut state = lock(&self.state);
        state.runnable.push_back(task);
        let mut next = state.take_waker(0);
        drop(state);
        // Each poller is woken once, also if one of them waits again meanwhile.
        while let Some((key, waker)) = next {
            foreign::wake(waker);
            next = lock(&self.state).take_waker(key + 1);
        }
    }

    fn take_local_tasks(&self) -> Vec<Runnable> {
        mem::take(&mut lock(&self.state).runnable).into()
    }

    fn started(&self) {}

    fn ended(&self) {}

    fn is_owner_process(&self) -> bool {
        self.epoch.is_none_or(ForkEpoch::is_current)
    }
}

/// A future that runs tasks of a set.
struct Poller {
    locals: Arc<SetTasks>,
    /// The index of its waker.
    key: usize,
    /// Used again and again, unless a guard that was created in a poll still refers to it.
    node: Rc<Node>,
}

impl Poller {
    fn new(locals: Arc<SetTasks>) -> Self {
        locals.assert_owner_process();
        let key = lock(&locals.queues().state).pollers.insert(None);
        Self { node: Node::new(Some(locals.clone()), true), locals, key }
    }

    /// Makes the set that of the thread's new tasks.
    fn enter(&self) -> Inside {
        let node = if self.node.is_linked.get() {
            Node::new(Some(self.locals.clone()), true)
        } else {
            self.node.clone()
        };
        node.link();
        Inside(node)
    }

    /// Runs tasks. Wakes the task of `cx` if there are more, or leaves its waker for when there are.
    fn run_tasks(&self, cx: &Context<'_>) {
        self.locals.assert_owner_process();
        let queue = self.locals.queues();
        // Tasks that are woken in here wake this poller only if it does not get to them.
        let waker = lock(&queue.state).pollers[self.key].take();
        if run_some(queue) {
            cx.waker().wake_by_ref();
            return;
        }
        let known = waker.filter(|waker| waker.will_wake(cx.waker()));
        let waker = known.unwrap_or_else(|| cx.waker().clone());
        let mut state = lock(&queue.state);
        let left =
            if state.runnable.is_empty() { state.pollers[self.key].replace(waker) } else { Some(waker) };
        drop(state);
        // Another thread has put a task meanwhile.
        left.into_iter().for_each(Waker::wake);
    }
}

/// Runs tasks of a set. Returns whether there may be more.
fn run_some(queue: &SetQueue) -> bool {
    let budget = Handle::try_current().map_or(coop::DEFAULT, |handle| handle.sched.config().budget);
    let _outer = coop::replace_budget(budget);
    let _caller = CurrentTask::keep();
    for _ in 0..TASKS_PER_POLL {
        // A task may have forked: in the child the others are the parent's.
        let Some(task) = queue.is_owner_process().then(|| queue.take()).flatten() else { return false };
        coop::set_budget(budget);
        set_current(task.id());
        task.run();
    }
    true
}

impl Drop for Poller {
    fn drop(&mut self) {
        if self.locals.is_owner_process() {
            let waker = lock(&self.locals.queues().state).pollers.try_remove(self.key);
            drop(waker);
        }
    }
}

/// An entry in the list of the sets that a thread polls or has entered.
struct Node {
    /// `None` for code that is in no set although the thread polls one.
    set: Option<Arc<SetTasks>>,
    /// Set if the thread polls the set, and has not merely entered it.
    polls: bool,
    is_left: Cell<bool>,
    is_linked: Cell<bool>,
    before: RefCell<Option<Rc<Node>>>,
}

impl Node {
    fn new(set: Option<Arc<SetTasks>>, polls: bool) -> Rc<Self> {
        Rc::new(Self {
            set,
            polls,
            is_left: Cell::new(false),
            is_linked: Cell::new(false),
            before: RefCell::default(),
        })
    }

    /// Puts it in force.
    fn link(self: &Rc<Self>) {
        self.is_left.set(false);
        self.is_linked.set(true);
        self.before.replace(youngest());
        set_youngest(Some(self.clone()));
    }

    /// Takes it out of force.
    fn leave(&self) {
        self.is_left.set(true);
        while let Some(node) = youngest().filter(|node| node.is_left.get()) {
            node.is_linked.set(false);
            set_youngest(node.before.take());
        }
    }
}

/// Returns the youngest node of this thread.
fn youngest() -> Option<Rc<Node>> {
    let node = context::with(|context| context.local_set.borrow().clone());
    node.and_then(|node| node.downcast().ok())
}

fn set_youngest(node: Option<Rc<Node>>) {
    let before = context::with(|context| context.local_set.replace(node.map(|node| node as _)));
    drop(before);
}

/// A node that is in force until this is dropped.
pub(super) struct Inside(Rc<Node>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Returns the set that gets the tasks of `spawn_local` on this thread, if there is one.
pub(super) fn current() -> Option<Arc<SetTasks>> {
    youngest()?.set.clone()
}

/// Returns whether this thread polls a set.
pub(super) fn is_polled() -> bool {
    youngest().is_some_and(|node| node.polls)
}

/// Begins code that is in no set although the thread polls one: a set whose poll has called `block_on` runs no task until
/// that call ends. A set that the thread has merely entered is awaited within `block_on`, and stays in force.
pub(super) fn leave() -> Option<Inside> {
    let node = is_polled().then(|| Node::new(None, false))?;
    node.link();
    Some(Inside(node))
}
