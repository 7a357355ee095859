//! monoio's driver made of netpoll-rt: `cargo xtask conform monoio` puts this file in the place of its
//! `src/driver/legacy/mod.rs`. Its runtime spawns, blocks and sleeps by the functions at the end.
#![expect(unsafe_code, reason = "monoio hands over descriptors as numbers")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::unix::SourceFd;
use netpoll_rt::net::AsyncFd;
use netpoll_rt::task::LocalSet;

use super::op::{CompletionMeta, Op, OpAble};
use super::ready::Direction;
use super::{CURRENT, Driver, Inner};
use crate::time::Instant;
use crate::time::driver::Handle;

/// One direction of a descriptor, for monoio's `Canceller`.
#[derive(Default)]
enum Slot {
    /// No operation waits.
    #[default]
    Idle,
    /// An operation waits; its waker.
    Waiting(Waker),
    /// The next poll of the operation returns that it was cancelled.
    Cancelled,
}

/// A descriptor that is watched.
struct Source {
    fd: AsyncFd<OwnedFd>,
    read: RefCell<Slot>,
    write: RefCell<Slot>,
}

impl Source {
    fn slot(&self, direction: Direction) -> &RefCell<Slot> {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    /// Calls `call` until it returns something other than `WouldBlock`, and waits for the readiness in between.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut call: impl FnMut() -> io::Result<u32>,
    ) -> Poll<io::Result<u32>> {
        if let Slot::Cancelled = self.slot(direction).take() {
            return Poll::Ready(Err(crate::io::operation_canceled()));
        }
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            let polled = match direction {
                Direction::Read => self.fd.poll_readable(cx),
                Direction::Write => self.fd.poll_writable(cx),
            };
            if polled.is_pending() {
                self.slot(direction).replace(Slot::Waiting(cx.waker().clone()));
            }
            ready!(polled)?;
        }
    }
}

/// The descriptors of a runtime of monoio.
#[derive(Default)]
pub(crate) struct LegacyInner {
    sources: RefCell<HashMap<usize, Rc<Source>>>,
    last: Cell<usize>,
}

impl LegacyInner {
    pub(crate) fn submit_with_data<T: OpAble>(this: &Rc<Self>, data: T) -> io::Result<Op<T>> {
        Ok(Op { driver: Inner::Legacy(this.clone()), index: 0, data: Some(data) })
    }

    /// Polls an operation. One that waits for no descriptor, such as a bind or a call on a file, is called at once.
    pub(crate) fn poll_op<T: OpAble>(
        this: &Rc<Self>,
        data: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<CompletionMeta> {
        let result = match data.legacy_interest() {
            Some((direction, index)) => {
                let source = this.sources.borrow()[&index].clone();
                ready!(source.poll(cx, direction, || data.legacy_call()))
            }
            None => data.legacy_call(),
        };
        Poll::Ready(CompletionMeta { result, flags: 0 })
    }

    /// Ends the operation that waits, or else the next one, as the driver that this replaces does.
    pub(crate) fn cancel_op(this: &Rc<Self>, index: usize, direction: Direction) {
        let source = this.sources.borrow().get(&index).cloned();
        let Some(source) = source else { return };
        let mut slot = source.slot(direction).borrow_mut();
        if let Slot::Waiting(waker) = std::mem::replace(&mut *slot, Slot::Cancelled) {
            drop(slot);
            waker.wake();
        }
    }
}

/// The type by which monoio's builder names this driver.
pub struct LegacyDriver {
    inner: Rc<LegacyInner>,
}

impl LegacyDriver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { inner: Rc::default() })
    }

    /// The poller of netpoll-rt takes no number of entries.
    pub(crate) fn new_with_entries(_: u32) -> io::Result<Self> {
        Self::new()
    }

    /// Watches a duplicate of the descriptor, since monoio may close its own first.
    pub(crate) fn register(
        inner: &Rc<LegacyInner>,
        source: &mut SourceFd<'_>,
        _: mio::Interest,
    ) -> io::Result<usize> {
        // SAFETY: `SharedFd::new`, the only caller, owns the descriptor, and so it is open during this call.
        let fd = unsafe { BorrowedFd::borrow_raw(*source.0) }.try_clone_to_owned()?;
        let source = Source { fd: AsyncFd::new(fd)?, read: RefCell::default(), write: RefCell::default() };
        let index = inner.last.get() + 1;
        inner.last.set(index);
        inner.sources.borrow_mut().insert(index, Rc::new(source));
        Ok(index)
    }

    pub(crate) fn deregister(
        inner: &Rc<LegacyInner>,
        index: usize,
        _: &mut SourceFd<'_>,
    ) -> io::Result<()> {
        let source = inner.sources.borrow_mut().remove(&index);
        source.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// netpoll-rt blocks by itself, in [`block_on`], so monoio never parks this driver.
impl Driver for LegacyDriver {
    fn with<R>(&self, f: impl FnOnce() -> R) -> R {
        CURRENT.set(&Inner::Legacy(self.inner.clone()), f)
    }

    fn submit(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn park(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn park_timeout(&self, _: Duration) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Runs a future to its end, and the tasks of [`spawn`] meanwhile. Those that have not ended by then are dropped.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let tasks = LocalSet::new();
    netpoll_rt::block_on(tasks.run_until(future))
}

/// Starts a task on this thread.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    JoinHandle(netpoll_rt::spawn_local(future))
}

/// The handle of a task, which detaches the task when it is dropped.
pub struct JoinHandle<T>(netpoll_rt::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|joined| joined.expect("the task panicked"))
    }
}

/// The timer within monoio's `Sleep`, its `Interval` and its `Timeout`.
#[derive(Debug)]
pub(crate) struct TimerEntry {
    sleep: Pin<Box<netpoll_rt::time::Sleep>>,
}

impl TimerEntry {
    /// The handle proves that the runtime was built with timers.
    pub(crate) fn new(_: &Handle, deadline: Instant) -> Self {
        Self { sleep: Box::pin(netpoll_rt::time::sleep_until(deadline.into_std())) }
    }

    pub(crate) fn is_elapsed(&self) -> bool {
        self.sleep.is_elapsed()
    }

    pub(crate) fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.sleep.as_mut().reset(deadline.into_std());
    }

    pub(crate) fn poll_elapsed(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), crate::time::error::Error>> {
        self.sleep.as_mut().poll(cx).map(Ok)
    }
}
