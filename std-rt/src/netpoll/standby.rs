//! The thread that polls for a runtime without threads while no thread drives it, if a task of another runtime waits for one
//! of its descriptors; the rules are [`protocol::standby`](crate::protocol::standby)'s.

use std::io;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::gone::wake_each;
use super::{CURRENT, Netpoll, Scratch};
use crate::protocol::standby::Standby;

/// The number by which it takes the turn to poll. Worker 0 has the other.
const STANDBY: usize = 1;

/// The standby of a poller whose runtime has no threads.
#[derive(Debug, Default)]
pub(super) struct Spare {
    rules: Standby,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Netpoll {
    /// Whether this thread runs for the runtime of this poller.
    #[inline]
    fn is_current(&self) -> bool {
        CURRENT.with(|current| current.borrow().as_ref().is_some_and(|current| ptr::eq(&**current, self)))
    }

    /// Whether a timer is better off with the poller that is this thread's: with this one it may be that nobody polls.
    pub fn is_left_here(&self) -> bool {
        !self.is_current() && (self.spare.is_some() || CURRENT.with(|current| current.borrow().is_some()))
    }

    /// A task of this thread has parked. If it is not of the poller's own runtime, whose tasks wait until that is driven, and
    /// nobody may be there to poll, a thread is started for it.
    ///
    /// # Errors
    ///
    /// That thread cannot be started: the task would wait for ever, and gives the wait up.
    #[inline]
    pub fn want_poll(self: &Arc<Self>) -> io::Result<()> {
        match &self.spare {
            Some(spare) if !self.is_current() => self.want_standby(spare),
            _ => Ok(()),
        }
    }

    #[cold]
    fn want_standby(self: &Arc<Self>, spare: &Spare) -> io::Result<()> {
        if spare.rules.want() { self.start_standby(spare) } else { Ok(()) }
    }

    fn start_standby(self: &Arc<Self>, spare: &Spare) -> io::Result<()> {
        let netpoll = self.clone();
        let body = move || netpoll.stand_by();
        match thread::Builder::new().name("netpoll-standby".to_owned()).spawn(body) {
            Ok(handle) => {
                let before = locked(&spare.thread).replace(handle);
                // It has found that it is not wanted, and does nothing more but end. A panic was printed where it happened.
                let _ = before.map(JoinHandle::join);
                Ok(())
            }
            Err(error) => {
                spare.rules.not_started();
                let message =
                    format!("no thread can be started to poll for a runtime that no thread drives: {error}");
                Err(io::Error::new(error.kind(), message))
            }
        }
    }

    /// The standby's thread.
    fn stand_by(self: Arc<Self>) {
        let Some(spare) = &self.spare else { return };
        let mut scratch = Scratch::new();
        while spare.rules.may_poll(|| self.waiters() > 0) {
            let mut parked = 0;
            if self.turn.try_lock(STANDBY) {
                let until = self.block();
                let polled = self.netpoll(until, &mut scratch);
                self.turn.clear_poll_until();
                self.turn.unlock();
                parked = polled.unwrap_or_else(|error| {
                    self.cannot_go_on("the kernel refuses to wait for events", &error);
                });
            }
            spare.rules.polled();
            wake_each(scratch.drain());
            scratch.forget();
            self.runnable(parked);
        }
    }

    /// This thread drives the runtime from now on.
    pub(super) fn begin_driving(&self) {
        if let Some(spare) = &self.spare {
            spare.rules.begin(|| self.wake());
        }
    }

    /// It drives it no more.
    pub(super) fn end_driving(self: &Arc<Self>) {
        if let Some(spare) = &self.spare
            && self.is_here()
            && spare.rules.end()
            && self.start_standby(spare).is_err()
        {
            // Those who wait look again, and are told that there is no thread for them.
            self.unpark_all();
        }
    }

    /// The runtime has ended: waits for the thread, if it is not the one that calls.
    pub(super) fn end_standby(&self) {
        let Some(spare) = &self.spare else { return };
        spare.rules.close(|| self.wake());
        let thread = locked(&spare.thread).take();
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
