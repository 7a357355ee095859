//! Entering a runtime: for the code that a guard covers, and for one future under any executor.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Handle, Runtime};
use crate::sched::CurrentGuard;

/// The guard of a thread that has entered a runtime; made by [`Handle::enter`].
///
/// Dropped: the thread is where it was before. Guards of one thread may be dropped in any order: the runtime of the
/// youngest one that is left is in force. (tokio panics unless the order is the reverse one.)
///
/// It stays on its thread. A future that holds one over an `await` takes the whole thread with it, other tasks included,
/// and is not `Send`; use [`Handle::wrap`] instead.
#[must_use = "dropped at once, the guard has no effect"]
pub struct EnterGuard<'a> {
    _current: CurrentGuard,
    handle: PhantomData<&'a Handle>,
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

impl Handle {
    /// Makes this runtime that of the thread until the guard is dropped: [`spawn`](crate::spawn), sockets, sleeps and
    /// [`Handle::current`] use it, on any thread, whichever executor it belongs to.
    ///
    /// ```
    /// use netpoll_rt::{Handle, Runtime, net::UdpSocket, spawn};
    ///
    /// let runtime = Runtime::new()?;
    /// let socket = {
    ///     let _entered = runtime.handle().enter();
    ///     spawn(async { println!("on a worker of the runtime") });
    ///     UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?
    /// };
    /// assert!(Handle::try_current().is_none());
    /// # drop(socket);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// A worker that enters another runtime goes on to run the tasks of its own. Under a runtime of
    /// [`workers(1)`](crate::Builder::workers), sleeps are left with it only on a thread in its `block_on`; elsewhere they
    /// are left with the default runtime, because no thread may poll this one.
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard { _current: self.sched.enter_current(), handle: PhantomData }
    }

    /// Returns whether this runtime is the current one of this thread, which [`Handle::try_current`] returns. It costs no
    /// clone of the handle.
    ///
    /// ```
    /// use netpoll_rt::Runtime;
    ///
    /// let runtime = Runtime::new()?;
    /// assert!(!runtime.handle().is_current());
    /// let handle = runtime.handle().clone();
    /// assert!(runtime.block_on(async move { handle.is_current() }));
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn is_current(&self) -> bool {
        self.sched.is_current()
    }

    /// Returns a future that is polled and dropped within this runtime, whichever executor polls it: the sockets that it
    /// opens, its tasks and its sleeps belong to this runtime.
    ///
    /// ```
    /// use netpoll_rt::{Runtime, net::TcpListener};
    ///
    /// let runtime = Runtime::new()?;
    /// let bound = runtime.handle().wrap(TcpListener::bind("127.0.0.1:0"));
    /// // An executor of another crate.
    /// let listener = futures_lite::future::block_on(bound)?;
    /// # drop(listener);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wrap<F: Future>(&self, future: F) -> Wrapped<F> {
        Wrapped { future: Some(future), handle: self.clone() }
    }
}

impl Runtime {
    /// Makes this runtime that of the thread; see [`Handle::enter`].
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}

pin_project! {
    /// The future of [`Handle::wrap`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Wrapped<F> {
        // `None` once it has completed.
        #[pin]
        future: Option<F>,
        handle: Handle,
    }

    impl<F> PinnedDrop for Wrapped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.handle.enter();
            this.future.set(None);
        }
    }
}

impl<F> fmt::Debug for Wrapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<F: Future> Future for Wrapped<F> {
    type Output = F::Output;

    /// # Panics
    ///
    /// Panics if it is polled again after it has completed.
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let future =
            this.future.as_mut().as_pin_mut().expect("a wrapped future was polled after it had completed");
        let _entered = this.handle.enter();
        let polled = future.poll(cx);
        if polled.is_ready() {
            this.future.set(None);
        }
        polled
    }
}
