//! The thread that polls for a runtime without threads while no thread drives it, if a task of another runtime waits for one
//! of its descriptors; [`protocol::standby`](crate::protocol::standby) has the rules.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{Netpoll, PollBuffer};
use crate::foreign;
use crate::protocol::standby::Standby;
use crate::sync::{Mutex, lock};

/// The worker number under which it locks the poller. The only worker of the runtime is number 0.
const STANDBY: usize = 1;

/// The standby thread of a poller whose runtime has no threads.
#[derive(Debug)]
pub(super) struct StandbyThread {
    stack_size: Option<usize>,
    protocol: Standby,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl StandbyThread {
    pub(super) fn new(stack_size: Option<usize>) -> Self {
        Self { stack_size, protocol: Standby::default(), thread: Mutex::default() }
    }
}

impl Netpoll {
    /// Starts the standby thread for a task that has parked, if no thread may poll.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be started.
    #[cold]
    pub(super) fn want_standby(self: &Arc<Self>, standby: &StandbyThread) -> io::Result<()> {
        if standby.protocol.want() { self.start_standby(standby) } else { Ok(()) }
    }

    fn start_standby(self: &Arc<Self>, standby: &StandbyThread) -> io::Result<()> {
        let netpoll = self.clone();
        let body = move || netpoll.run_standby();
        let named = thread::Builder::new().name("netpoll-standby".to_owned());
        match standby.stack_size.into_iter().fold(named, thread::Builder::stack_size).spawn(body) {
            Ok(handle) => {
                let before = lock(&standby.thread).replace(handle);
                // The previous thread has found that it is not wanted, and is about to end. The panic hook has printed its
                // panic, if there was one.
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

    /// Runs the standby thread.
    fn run_standby(self: Arc<Self>) {
        let Some(standby) = &self.standby else { return };
        let mut buffer = PollBuffer::new();
        while standby.protocol.may_poll(|| self.waiters() > 0) {
            if let Some(guard) = self.try_lock(STANDBY) {
                guard.block(&mut buffer, || true, || false).unwrap_or_else(|error| {
                    self.poller_failed("the kernel refuses to wait for events", &error);
                });
            }
            standby.protocol.polled();
            foreign::wake_all(buffer.drain());
            buffer.drop_removed();
        }
    }

    /// Records that this thread drives the runtime from now on.
    pub(super) fn begin_driving(&self) {
        if let Some(standby) = &self.standby {
            standby.protocol.begin(|| self.wake());
        }
    }

    /// Records that this thread drives the runtime no more.
    pub(super) fn end_driving(self: &Arc<Self>) {
        if let Some(standby) = &self.standby
            && self.is_owner_process()
            && standby.protocol.end()
            && self.start_standby(standby).is_err()
        {
            // The tasks look again, and get the error that no thread can be started for them.
            self.unpark_all();
        }
    }

    /// Ends the thread because the runtime has ended, and waits for it unless it is the caller.
    pub(super) fn end_standby(&self) {
        let Some(standby) = &self.standby else { return };
        standby.protocol.close(|| self.wake());
        let thread = lock(&standby.thread).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // The panic hook has printed its panic, if there was one.
            let _ = thread.join();
        }
    }
}
