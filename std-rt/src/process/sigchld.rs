//! The end of children where the system has no descriptors for them: one listener for `SIGCHLD` in each runtime, shared by
//! all children that were started there.
//!
//! The tasks that wait for a child poll the listener. An event wakes them all; the first that is polled takes the signal, and
//! each looks whether its own child has ended. No end is lost, in any order:
//!
//! 1. A task registers for the signal before it looks for its child. So a child that ends after the look sends a signal that
//!    comes after the registration.
//! 2. That signal makes an event, which wakes the task. No other task takes the signal away before: a poll behind a task that
//!    is parked makes no call ([`fd/op/polled.rs`](../fd/op/polled.rs)).
//! 3. The kernel makes a child a zombie before it sends the signal, so the look of a task that is woken finds it. Signals
//!    that count as one are no exception: the signal comes after the last of the children.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::netpoll::Netpoll;
use crate::signal::{Signal, SignalKind};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::sys::PerProcess;

/// The listener of one runtime. It ends with the last child that refers to it.
#[derive(Debug)]
pub struct Listener {
    signal: Signal,
}

/// The listeners of all runtimes of this process.
static LISTENERS: PerProcess<Mutex<Vec<Weak<Listener>>>> = PerProcess::new();

fn listeners() -> MutexGuard<'static, Vec<Weak<Listener>>> {
    // No foreign code runs under the lock.
    lock(LISTENERS.get())
}

impl Listener {
    /// Returns the listener of a runtime, which is created if the runtime has none.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`signal()`](crate::signal::signal()).
    pub fn of(netpoll: &Arc<Netpoll>) -> io::Result<Arc<Self>> {
        // Upgraded values are dropped outside the lock: one of them may be the last of its listener.
        let living: Vec<_> = listeners().iter().filter_map(Weak::upgrade).collect();
        if let Some(known) = living.iter().find(|known| Arc::ptr_eq(known.signal.fd().netpoll(), netpoll)) {
            return Ok(known.clone());
        }
        // Another thread may create one as well; both work.
        let created = Arc::new(Self { signal: Signal::listen(netpoll.clone(), SignalKind::CHILD)? });
        let mut listeners = listeners();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(&created));
        Ok(created)
    }

    /// Polls for the end of a child, which `reap` looks for.
    ///
    /// # Errors
    ///
    /// Returns the errors of `reap` and of [`Signal::poll_recv`].
    pub fn poll_exit(
        &self,
        cx: &mut Context<'_>,
        reap: impl FnOnce() -> io::Result<Option<ExitStatus>>,
    ) -> Poll<io::Result<ExitStatus>> {
        let failed = loop {
            match self.signal.poll_recv(cx) {
                // Not registered yet.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Some(error),
                Poll::Pending => break None,
            }
        };
        match (reap()?, failed) {
            (Some(status), _) => Poll::Ready(Ok(status)),
            (None, Some(error)) => Poll::Ready(Err(error)),
            (None, None) => Poll::Pending,
        }
    }
}
