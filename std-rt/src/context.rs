//! The context of a thread: every variable that this crate keeps for each thread, in one value (tokio's `runtime::context`).
//!
//! It has no destructor and needs no initialization, so [`with`] works at any time, also in the destructors of other
//! thread-local variables, and costs no more than the address of the variable. Guards put values in and take them out
//! again, so nothing that needs to be dropped is in it when a thread ends.
//!
//! Each field belongs to one module, which alone reads and writes it. Types of higher layers are erased here, except
//! [`Netpoll`]: each sleep looks it up, and a downcast would double the cost of that.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use crate::netpoll::Netpoll;

/// The variables of one thread.
pub struct Context {
    /// The rest of the budget of the turn; belongs to [`coop`](crate::coop).
    pub budget: Cell<u64>,
    /// The number of times that the budget has made a future yield; belongs to [`coop`](crate::coop).
    pub refusals: Cell<u32>,
    /// The number of calls of `block_on` that the thread is in; belongs to `runtime::block_on`.
    pub block_on_depth: Cell<usize>,
    /// The id of the task that the thread polls, 0 if it polls none, with a mark; belongs to `task::id`.
    pub task: Cell<usize>,
    /// The poller that new descriptors and timers of this thread go to; belongs to [`netpoll`](crate::netpoll).
    pub netpoll: RefCell<Option<Arc<Netpoll>>>,
    /// True if threads poll that one, so that timers may be left there; belongs to [`netpoll`](crate::netpoll).
    pub is_polled: Cell<bool>,
    /// The timer wheel of the worker that this thread is; belongs to `netpoll::timers`.
    pub wheel: Cell<WorkerWheel>,
    /// The scheduler that the thread works for, an `Entered` of `sched::context`, to which alone it belongs.
    pub entered: Cell<Option<NonNull<()>>>,
    /// The runtime of new tasks, a `Current` of `sched::context`, to which alone it belongs.
    pub current: Cell<Option<NonNull<()>>>,
    /// The set of new tasks that stay on the thread; belongs to `runtime::local_set`.
    pub local_set: RefCell<Option<Rc<dyn Any>>>,
}

/// The timer wheel of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerWheel {
    /// The address of the poller that the thread is a worker of; 0 for a thread that is not a worker.
    pub netpoll: usize,
    /// The index of the worker's wheel.
    pub index: u32,
    /// Set if the thread may have dropped timers that are still in the wheel.
    pub has_pending_removals: bool,
}

impl WorkerWheel {
    /// The wheel of a thread that is not a worker.
    pub const NONE: Self = Self { netpoll: 0, index: 0, has_pending_removals: false };
}

thread_local! {
    static CONTEXT: ManuallyDrop<Context> = const {
        ManuallyDrop::new(Context {
            budget: Cell::new(u64::MAX),
            refusals: Cell::new(0),
            block_on_depth: Cell::new(0),
            task: Cell::new(0),
            netpoll: RefCell::new(None),
            is_polled: Cell::new(false),
            wheel: Cell::new(WorkerWheel::NONE),
            entered: Cell::new(None),
            current: Cell::new(None),
            local_set: RefCell::new(None),
        })
    };
}

/// Calls `work` with the context of this thread.
#[inline(always)]
pub fn with<R>(work: impl FnOnce(&Context) -> R) -> R {
    CONTEXT.with(|context| work(context))
}
