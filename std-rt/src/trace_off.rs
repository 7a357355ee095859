//! Without the feature `tracing`: types of no size, and functions that compile to nothing. [`trace.rs`](../trace.rs) is its
//! counterpart with the feature, and has the contract of each function.

use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::task::Poll;

use netpoll_core::Mode;

/// A kind of task, which is not reported.
pub const TASK: &str = "";

/// A kind of task, which is not reported.
pub const LOCAL: &str = "";

/// A kind of task, which is not reported.
pub const BLOCKING: &str = "";

/// A kind of task, which is not reported.
pub const BLOCK_ON: &str = "";

/// The span of a task: nothing.
#[derive(Debug)]
pub struct TaskSpan;

/// A future within its span, which is the future.
pub type Traced<F> = F;

impl TaskSpan {
    /// Creates nothing.
    #[inline(always)]
    pub fn new(_kind: &'static str, _name: Option<&str>, _location: &'static Location<'static>) -> Self {
        Self
    }

    /// Creates nothing.
    #[inline(always)]
    pub fn none() -> Self {
        Self
    }

    /// Returns the future.
    #[inline(always)]
    pub fn around<F>(self, future: F) -> (TaskTrace, F) {
        (TaskTrace, future)
    }

    /// Makes the call.
    #[inline(always)]
    pub fn call<T>(self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// The id of a task's span: nothing.
#[derive(Clone, Copy, Debug)]
pub struct TaskTrace;

impl TaskTrace {
    /// Reports nothing.
    #[inline(always)]
    pub fn waker(self, _op: &'static str) {}
}

/// The span of a descriptor or a sleep: nothing.
#[derive(Debug)]
pub struct Resource;

impl Resource {
    /// Creates nothing.
    #[inline(always)]
    pub fn descriptor(_fd: BorrowedFd<'_>) -> Self {
        Self
    }

    /// Creates nothing.
    #[inline(always)]
    pub fn sleep(_location: &'static Location<'static>) -> Self {
        Self
    }
}

/// The event that an operation waits for, which is not reported.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {
    Descriptor,
    Elapsed,
}

impl From<Mode> for Awaited {
    #[inline(always)]
    fn from(_mode: Mode) -> Self {
        Self::Descriptor
    }
}

/// The span of an operation: nothing.
#[derive(Debug)]
pub struct OpTrace;

impl OpTrace {
    /// Creates nothing.
    #[inline(always)]
    pub fn new() -> Self {
        Self
    }

    /// Enters nothing.
    #[inline(always)]
    pub fn begin(&mut self, _resource: &Resource, _awaited: impl Into<Awaited>) -> PollTrace {
        PollTrace
    }
}

/// The spans of one poll: nothing.
#[must_use]
pub struct PollTrace;

impl PollTrace {
    /// Returns the result.
    #[inline(always)]
    pub fn end<T>(self, polled: Poll<T>) -> Poll<T> {
        polled
    }
}
