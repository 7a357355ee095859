//! The end of a poller: its runtime has ended, this process is a child of the one that made it, or the kernel refuses to
//! poll. Tasks that wait for it are woken and fail, and new waits are refused.
//!
//! | what waits | what ends it, when the runtime ends | what ends it in a forked child |
//! |---|---|---|
//! | a parked operation on a descriptor | [`Netpoll::end`] unblocks it, and its next look fails | the next look |
//! | an operation that is about to park | the look after it has armed (INV-3) | the same look |
//! | a task queued for a direction's lock | the operation that holds the lock, which ends as above | refused when it would queue |
//! | a sleep, a timeout, an interval | `end` wakes it; it goes on in the runtime of the thread that polls it next | the same |
//! | `open`, hence bind, connect, accept | refused | refused |
//! | a `JoinHandle` | the scheduler cancels the task | says cancelled |
//! | `block_on`, a worker's loop | - | panics; the worker ends the process |
//!
//! A child touches nothing that it shares with the parent: neither the poller's descriptors nor a lock that a thread of the
//! parent may have held during the fork.

use std::io::{self, Write};
use std::process;

use super::Netpoll;
use crate::error::Unavailable;
use crate::foreign;
use crate::sys::ForkEpoch;

impl Netpoll {
    /// Checks that tasks may still wait for this poller.
    ///
    /// # Errors
    ///
    /// Returns the reason if they may not.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Unavailable> {
        if !self.is_owner_process() {
            return Err(Unavailable::Forked);
        }
        if self.ended.is_set() { Err(Unavailable::Ended) } else { Ok(()) }
    }

    /// Returns whether this is the process that made the poller, and not a child of it; two loads.
    #[inline]
    pub fn is_owner_process(&self) -> bool {
        self.epoch.is_current()
    }

    /// Returns the identification of the process that made the poller.
    pub fn fork_epoch(&self) -> ForkEpoch {
        self.epoch
    }

    /// Asserts that this process made the poller, for functions that cannot return an error.
    ///
    /// # Panics
    ///
    /// Panics in a process that was forked from the one that made the poller.
    #[inline]
    #[track_caller]
    pub fn assert_owner_process(&self, what: &str) {
        if !self.is_owner_process() {
            self.panic_forked(what);
        }
    }

    #[cold]
    #[track_caller]
    fn panic_forked(&self, what: &str) -> ! {
        panic!("netpoll: {what}: {}", Unavailable::Forked);
    }

    /// Ends the poller: wakes every task that waits for a descriptor or a timer, and refuses later waits. May be repeated.
    pub fn end(&self) {
        if !self.is_owner_process() {
            return;
        }
        // First: the tasks that are woken look at it.
        self.ended.set();
        self.end_standby();
        self.cache.end(|mut list| foreign::wake_all(list.drain()));
        self.shards.iter().for_each(|shard| foreign::wake_all(shard.wheels.end()));
    }

    /// Wakes every parked task, so that it checks its state again.
    #[cold]
    pub(super) fn unpark_all(&self) {
        for (_, desc) in self.cache.iter() {
            foreign::wake_all(desc.unpark().drain());
        }
    }

    /// Checks that the poller's descriptors are still open; two system calls for each poller.
    ///
    /// # Panics
    ///
    /// As [`Netpoll::poller_failed`].
    pub(crate) fn check_descriptors(&self) {
        let found = self.shards.iter().try_for_each(|shard| shard.poller.check());
        if let Err(error) = found {
            self.poller_failed("the poller's descriptor is gone", &error);
        }
    }

    /// Reports that the kernel refuses to poll: a descriptor of the poller was closed by its number, or the number is another
    /// file's now. The poller of a runtime aborts the process, because its threads and tasks would sleep for ever; one that
    /// its owner polls panics.
    ///
    /// # Panics
    ///
    /// Panics if the owner polls it.
    #[cold]
    pub(crate) fn poller_failed(&self, what: &str, error: &io::Error) -> ! {
        let message = format!(
            "netpoll: {what}: {error}; was a descriptor closed that belongs to the runtime, by a loop over all numbers \
             perhaps? Close them before the runtime is made"
        );
        if self.manual {
            panic!("{message}");
        }
        abort(&message);
    }

    /// Aborts a forked child in which a thread of the runtime finds itself alone, with tasks of the parent process.
    #[cold]
    pub(crate) fn abort_forked_child(&self) -> ! {
        abort(&format!(
            "netpoll: a task has called fork(2), and its child went on with the runtime: {}; \
             a child that is forked by a task calls exec or _exit",
            Unavailable::Forked
        ));
    }
}

/// Prints a message and aborts. Without a standard error output the message is lost; the process ends in any case.
fn abort(message: &str) -> ! {
    let _ = writeln!(io::stderr(), "{message}");
    process::abort();
}
