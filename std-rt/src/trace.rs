//! Spans and events of the feature `tracing`, under the names that tokio-console reads. [`trace_off.rs`](../trace_off.rs) is its
//! counterpart without the feature, where all of this compiles to nothing.
//!
//! | span or event | fields | from its creation to |
//! |---|---|---|
//! | `runtime.spawn` | `kind`, `task.name`, `task.id`, `loc.file`, `loc.line`, `loc.col` | the drop of the task's future; entered by each poll |
//! | event, target `tokio::task::waker` | `op`, `task.id` (the id of the span) | - |
//! | `runtime.resource` | `concrete_type`, `kind`, of a sleep its location | the close of a descriptor, the drop of a sleep |
//! | `runtime.resource.async_op`, within it | `source` | the result or the drop of an operation |
//! | `runtime.resource.async_op.poll`, within that | | the end of one poll |
//! | event, target `runtime::resource::poll_op` | `op_name`, `is_ready` | - |
//! | event, target `runtime::resource::state_update` | an attribute of a descriptor | - |
//!
//! The scheduler's own waker of a task that waits is not reported, so that a task without a waker can be told. Its drop is, once
//! the task's span is closed.
//!
//! A subscriber is foreign code. Nothing here is called under a lock or a borrow. A call by a task's waker catches its panics,
//! because the task that wakes is another one; all else runs for the task whose span it is.

use std::future::Future;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use netpoll_core::Mode;
use netpoll_core::sync::Counter;
use pin_project_lite::pin_project;
use tracing::Span;
use tracing::span::EnteredSpan;

use crate::foreign::catch_panic;
use crate::sys::socket::{self, SocketKind};
use crate::sys::{Address, address, unix};

/// The value of `kind` for a task that any worker may run.
pub const TASK: &str = "task";

/// The value of `kind` for a task that stays on its thread.
pub const LOCAL: &str = "local";

/// The value of `kind` for a closure on the pool.
pub const BLOCKING: &str = "blocking";

/// The value of `kind` for the future of `block_on`.
pub const BLOCK_ON: &str = "block_on";

/// The number of tasks so far, from which a task's displayed number comes.
static TASKS: Counter = Counter::new();

/// The span of a task.
#[derive(Debug)]
pub struct TaskSpan(Span);

impl TaskSpan {
    /// Creates the span of a task that is about to be created. It has no parent, so that it ends when the task does.
    pub fn new(kind: &'static str, name: Option<&str>, location: &'static Location<'static>) -> Self {
        TASKS.inc();
        Self(tracing::trace_span!(
            target: "tokio::task",
            parent: None,
            "runtime.spawn",
            kind,
            task.name = name,
            task.id = TASKS.get() as u64,
            loc.file = location.file(),
            loc.line = location.line(),
            loc.col = location.column(),
        ))
    }

    /// Returns no span, for a task that only waits for another one that has a span.
    pub fn none() -> Self {
        Self(Span::none())
    }

    /// Puts the span around a future. Returns the part of it that the task's wakers need, too.
    pub fn around<F>(self, future: F) -> (TaskTrace, Traced<F>) {
        let id = self.0.id().map_or(0, |id| id.into_u64());
        (TaskTrace(id), Traced { future, span: self.0 })
    }

    /// Makes a call within the span.
    pub fn call<T>(self, call: impl FnOnce() -> T) -> T {
        self.0.in_scope(call)
    }
}

pin_project! {
    /// A future within its span. The future is dropped first.
    #[derive(Debug)]
    pub struct Traced<F> {
        #[pin]
        future: F,
        span: Span,
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        this.future.poll(cx)
    }
}

/// The id of a task's span, by which its wakers name it; 0 if no subscriber wants it.
#[derive(Clone, Copy, Debug)]
pub struct TaskTrace(u64);

impl TaskTrace {
    /// Reports an operation on a waker of the task: `waker.clone`, `waker.wake`, `waker.wake_by_ref` or `waker.drop`.
    pub fn waker(self, op: &'static str) {
        if self.0 != 0 {
            catch_panic(|| tracing::trace!(target: "tokio::task::waker", op, task.id = self.0));
        }
    }
}

/// The span of a descriptor or a sleep.
#[derive(Debug)]
pub struct Resource(Span);

impl Resource {
    /// Creates the span of a descriptor that was registered.
    pub fn descriptor(fd: BorrowedFd<'_>) -> Self {
        let span = tracing::trace_span!(
            parent: None,
            "runtime.resource",
            concrete_type = type_name(fd),
            kind = "io",
        );
        if !span.is_disabled() {
            let _entered = span.enter();
            tracing::trace!(target: "runtime::resource::state_update", fd = fd.as_raw_fd());
            if let Ok(local) = address::local_address(fd) {
                tracing::trace!(target: "runtime::resource::state_update", %local);
            }
        }
        Self(span)
    }

    /// Creates the span of a sleep.
    pub fn sleep(location: &'static Location<'static>) -> Self {
        Self(tracing::trace_span!(
            parent: None,
            "runtime.resource",
            concrete_type = "Sleep",
            kind = "timer",
            loc.file = location.file(),
            loc.line = location.line(),
            loc.col = location.column(),
        ))
    }
}

/// Returns the name of the type that has such a descriptor.
fn type_name(fd: BorrowedFd<'_>) -> &'static str {
    let is_kind = |kind| unix::is_kind(fd, kind).unwrap_or(false);
    let listens = socket::is_listening(fd).unwrap_or(false);
    match address::local_address(fd) {
        Ok(Address::Ip(_)) if listens => "TcpListener",
        Ok(Address::Ip(_)) if is_kind(SocketKind::Stream) => "TcpStream",
        Ok(Address::Ip(_)) => "UdpSocket",
        Ok(Address::Unix(_)) if listens => "UnixListener",
        Ok(Address::Unix(_)) if is_kind(SocketKind::Stream) => "UnixStream",
        Ok(Address::Unix(_)) if is_kind(SocketKind::Datagram) => "UnixDatagram",
        Ok(Address::Unix(_)) => "UnixSeqpacket",
        Err(_) => "AsyncFd",
    }
}

/// The event that an operation waits for.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {
    Readable,
    Writable,
    Elapsed,
}

impl From<Mode> for Awaited {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Read => Self::Readable,
            Mode::Write => Self::Writable,
        }
    }
}

impl Awaited {
    /// Returns the names of the operation and of its poll.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Readable => ("read", "poll_read"),
            Self::Writable => ("write", "poll_write"),
            Self::Elapsed => ("Sleep::poll", "poll_elapsed"),
        }
    }
}

/// The span of an operation; none before its first poll.
#[derive(Debug)]
pub struct OpTrace(Option<Span>);

impl OpTrace {
    /// Returns none yet.
    pub fn new() -> Self {
        Self(None)
    }

    /// Enters the spans for one poll of the operation.
    pub fn begin(&mut self, resource: &Resource, awaited: impl Into<Awaited>) -> PollTrace {
        if resource.0.is_disabled() {
            return PollTrace { name: "", entered: None };
        }
        let (source, name) = awaited.into().names();
        let resource = resource.0.clone().entered();
        let op = self.0.get_or_insert_with(|| tracing::trace_span!("runtime.resource.async_op", source));
        let op = op.clone().entered();
        let poll = tracing::trace_span!("runtime.resource.async_op.poll").entered();
        PollTrace { name, entered: Some([poll, op, resource]) }
    }
}

/// The spans of one poll, the innermost first.
#[must_use]
pub struct PollTrace {
    name: &'static str,
    entered: Option<[EnteredSpan; 3]>,
}

impl PollTrace {
    /// Reports the result of the poll, and leaves the spans.
    pub fn end<T>(self, polled: Poll<T>) -> Poll<T> {
        if self.entered.is_some() {
            let (op_name, is_ready) = (self.name, polled.is_ready());
            tracing::trace!(target: "runtime::resource::poll_op", op_name, is_ready);
        }
        polled
    }
}
