//! async-io's reactor made of netpoll-rt: `cargo xtask conform async-io` puts this file in the place of its `src/reactor.rs`.
#![expect(unsafe_code, reason = "async-io hands over a descriptor without its lifetime")]

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use netpoll_rt::net::{AsyncFd, Interest};

use crate::Async;

/// A descriptor that an [`Async`] owns.
pub struct Registration {
    raw: RawFd,
}

impl Registration {
    /// # Safety
    ///
    /// The descriptor must stay open while this exists.
    pub(crate) unsafe fn new(fd: BorrowedFd<'_>) -> Self {
        Self { raw: fd.as_raw_fd() }
    }
}

impl AsFd for Registration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the caller of `new` has promised that the descriptor is open while `self` exists. `Async` keeps that: it
        // calls `Reactor::remove_io`, which drops `self`, before it drops or returns the value that owns the descriptor.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }
}

/// A descriptor that is watched; none once it is removed.
pub(crate) struct Source {
    fd: Mutex<Option<Arc<AsyncFd<Registration>>>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// netpoll-rt's own runtime, and the task of each timer.
#[derive(Default)]
pub(crate) struct Reactor {
    timers: Mutex<(usize, HashMap<usize, netpoll_rt::JoinHandle<()>>)>,
}

impl Reactor {
    pub(crate) fn get() -> &'static Self {
        static REACTOR: LazyLock<Reactor> = LazyLock::new(Reactor::default);
        &REACTOR
    }

    pub(crate) fn insert_io(&self, registration: Registration) -> io::Result<Arc<Source>> {
        let fd = Some(Arc::new(AsyncFd::new(registration)?));
        Ok(Arc::new(Source { fd: Mutex::new(fd) }))
    }

    pub(crate) fn remove_io(&self, source: &Source) -> io::Result<()> {
        drop(source.fd.lock().unwrap().take());
        Ok(())
    }

    pub(crate) fn insert_timer(&self, when: Instant, waker: &Waker) -> usize {
        let waker = waker.clone();
        let task = netpoll_rt::spawn(async move {
            netpoll_rt::time::sleep_until(when).await;
            waker.wake();
        });
        let (last, tasks) = &mut *self.timers.lock().unwrap();
        *last += 1;
        tasks.insert(*last, task);
        *last
    }

    pub(crate) fn remove_timer(&self, _: Instant, id: usize) {
        let task = self.timers.lock().unwrap().1.remove(&id);
        task.inspect(|task| task.abort());
    }
}

impl Source {
    fn fd(&self) -> io::Result<Arc<AsyncFd<Registration>>> {
        self.fd.lock().unwrap().clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd()?.poll_readable(cx)
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd()?.poll_writable(cx)
    }

    pub(crate) fn readable<T>(handle: &Async<T>) -> Readable<'_, T> {
        Ready::new(handle, &handle.source, Interest::Read)
    }

    pub(crate) fn readable_owned<T>(handle: Arc<Async<T>>) -> ReadableOwned<T> {
        let source = handle.source.clone();
        Ready::new(handle, &source, Interest::Read)
    }

    pub(crate) fn writable<T>(handle: &Async<T>) -> Writable<'_, T> {
        Ready::new(handle, &handle.source, Interest::Write)
    }

    pub(crate) fn writable_owned<T>(handle: Arc<Async<T>>) -> WritableOwned<T> {
        let source = handle.source.clone();
        Ready::new(handle, &source, Interest::Write)
    }
}

pub type Readable<'a, T> = Ready<&'a Async<T>>;
pub type ReadableOwned<T> = Ready<Arc<Async<T>>>;
pub type Writable<'a, T> = Ready<&'a Async<T>>;
pub type WritableOwned<T> = Ready<Arc<Async<T>>>;

/// The future of a readiness. It keeps the handle, which keeps the descriptor open.
pub struct Ready<H> {
    wait: Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>,
    _handle: H,
}

impl<H> Ready<H> {
    fn new(handle: H, source: &Source, interest: Interest) -> Self {
        let fd = source.fd();
        Self { wait: Box::pin(async move { fd?.ready(interest).await }), _handle: handle }
    }
}

impl<H: Unpin> Future for Ready<H> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.wait.as_mut().poll(cx)
    }
}
