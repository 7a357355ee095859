//! The thread that polls for a runtime without threads while no thread drives it, if a task of another runtime waits for one
//! of its descriptors; the rules are [`protocol::standby`](crate::protocol::standby)'s.

use std::any::Any;
use std::io;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::shutdown::wake_each;
use super::{Netpoll, PollBuffer};
use crate::context;
use crate::protocol::standby::Standby;

/// The number under which it takes the poller's lock. Worker 0 has the other.
const STANDBY: usize = 1;

/// The standby thread of a poller whose runtime has no threads.
#[derive(Debug, Default)]
pub(super) struct StandbyThread {
    protocol: Standby,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Netpoll {
    /// Whether this thread runs for the runtime of this poller.
    #[inline]
    fn is_current(&self) -> bool {
        let is_self = |current: &Arc<dyn Any + Send + Sync>| ptr::addr_eq(Arc::as_ptr(current), self);
        context::with(|context| context.netpoll.borrow().as_ref().is_some_and(is_self))
    }

    /// Returns whether a timer should move to this thread's own poller, because no thread may poll this one.
    pub fn prefers_current_poller(&self) -> bool {
        let has_current = || context::with(|context| context.netpoll.borrow().is_some());
        !self.is_current() && (self.standby.is_some() || has_current())
    }

    /// A task of this thread has parked. If it is not of the poller's own runtime, whose tasks wait until that is driven, and
    /// nobody may be there to poll, a thread is started for it.
    ///
    /// # Errors
    ///
    /// That thread cannot be started: the task would wait for ever, and gives the wait up.
    #[inline]
    pub fn want_poll(self: &Arc<Self>) -> io::Result<()> {
        match &self.standby {
            Some(standby) if !self.is_current() => self.want_standby(standby),
            _ => Ok(()),
        }
    }

    #[cold]
    fn want_standby(self: &Arc<Self>, standby: &StandbyThread) -> io::Result<()> {
        if standby.protocol.want() { self.start_standby(standby) } else { Ok(()) }
    }

    fn start_standby(self: &Arc<Self>, standby: &StandbyThread) -> io::Result<()> {
        let netpoll = self.clone();
        let body = move || netpoll.run_standby();
        match thread::Builder::new().name("netpoll-standby".to_owned()).spawn(body) {
            Ok(handle) => {
                let before = locked(&standby.thread).replace(handle);
                // It has found that it is not wanted, and does nothing more but end. A panic was printed where it happened.
                let _ = before.map(JoinHandle::join);
                Ok(())
            }
            Err(error) => {
                standby.protocol.not_started();
                let message =
                    format!("no thread can be started to poll for a runtime that no thread drives: {error}");
                Err(io::Error::new(error.kind(), message))
            }
        }
    }

    /// The standby's thread.
    fn run_standby(self: Arc<Self>) {
        let Some(standby) = &self.standby else { return };
        let mut buffer = PollBuffer::new();
        while standby.protocol.may_poll(|| self.waiters() > 0) {
            let mut parked = 0;
            if self.poller_lock.try_lock(STANDBY) {
                let until = self.block();
                let polled = self.netpoll(until, &mut buffer);
                self.poller_lock.clear_poll_until();
                self.poller_lock.unlock();
                parked = polled.unwrap_or_else(|error| {
                    self.poller_failed("the kernel refuses to wait for events", &error);
                });
            }
            standby.protocol.polled();
            wake_each(buffer.drain());
            buffer.drop_removed();
            self.sub_waiters(parked);
        }
    }

    /// This thread drives the runtime from now on.
    pub(super) fn begin_driving(&self) {
        if let Some(standby) = &self.standby {
            standby.protocol.begin(|| self.wake());
        }
    }

    /// It drives it no more.
    pub(super) fn end_driving(self: &Arc<Self>) {
        if let Some(standby) = &self.standby
            && self.is_owner_process()
            && standby.protocol.end()
            && self.start_standby(standby).is_err()
        {
            // Those who wait look again, and are told that there is no thread for them.
            self.unpark_all();
        }
    }

    /// The runtime has ended: waits for the thread, if it is not the one that calls.
    pub(super) fn end_standby(&self) {
        let Some(standby) = &self.standby else { return };
        standby.protocol.close(|| self.wake());
        let thread = locked(&standby.thread).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // Its panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// A handle is whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
