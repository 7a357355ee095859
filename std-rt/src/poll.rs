//! The poller without the executor, for authors of runtimes: descriptors, deadlines and timers that wake a
//! [`Waker`](std::task::Waker).
//!
//! A [`Poller`] knows no tasks. A thread of yours polls it, gets the wakers of the tasks that can go on, and wakes them where
//! it chooses. The tasks may be futures, stacks or threads: a waker is all that a wait needs.
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::task::{Poll, Waker};
//!
//! use netpoll_rt::poll::{Buffer, Mode, Poller};
//!
//! let poller = Poller::new()?;
//! let (ours, mut peer) = std::os::unix::net::UnixStream::pair()?;
//! ours.set_nonblocking(true)?;
//! let ours = poller.register(ours)?;
//!
//! // A task finds nothing to read and is parked. The waker is that of your task.
//! let (waker, mut bytes) = (Waker::noop(), [0; 16]);
//! let mut read = || ours.poll_io(Mode::Read, waker, |mut stream| stream.read(&mut bytes));
//! assert!(read().is_pending());
//!
//! // A thread without work polls. Each waker that it gets belongs to a task that can go on.
//! peer.write_all(b"hello")?;
//! let mut buffer = Buffer::new();
//! while poller.parked() > 0 {
//!     poller.poll(None, &mut buffer)?;
//!     buffer.drain().for_each(Waker::wake);
//! }
//!
//! // The task tries again.
//! assert!(matches!(read(), Poll::Ready(Ok(5))));
//! # io::Result::Ok(())
//! ```
//!
//! # The calls
//!
//! | call | by | it |
//! |---|---|---|
//! | [`Poller::register`] | any thread | watches a descriptor, which must be non-blocking, and returns its guard |
//! | [`Registration::poll_io`] | the task that reads or writes | makes a system call, and parks the task where it would block |
//! | [`Registration::park`], [`retract`](Registration::retract) | the same task | parks it; gives the wait up |
//! | [`Registration::set_deadline`], [`evict`](Registration::evict) | any thread | lets waits fail at a time; ends them now |
//! | drop of a [`Registration`] | its owner | wakes the waiters, deregisters the descriptor, frees its slot, drops the value |
//! | [`Poller::timer`] | any thread | returns a timer, which wakes a task once |
//! | [`Poller::poll`] | one thread at a time | sleeps until there is something to do, and puts wakers into a [`Buffer`] |
//! | [`Poller::wake`] | any thread | ends the poll that runs now, or the next one |
//! | drop of the [`Poller`] | its owner | wakes all waiters, whose waits then fail with [`runtime_ended`](crate::runtime_ended) |
//!
//! None of them may be made in a signal handler. A waker is woken, cloned or dropped while no lock of this crate is held.
//!
//! # A pool of threads
//!
//! One thread polls at a time. A thread without work tries [`Poller::try_lock`]; if another thread polls already, it sleeps
//! elsewhere, for example by [`std::thread::park`]. A thread that makes a task runnable has to wake a sleeper. To miss none,
//! the sleeper announces itself before it looks for work once more:
//!
//! | a thread that goes to sleep | a thread with new work |
//! |---|---|
//! | 1. announces that it sleeps | 1. puts the task into a queue |
//! | 2. looks at the queues once more | 2. takes an announced thread, which is then no longer announced |
//! | 3. locks the poller and calls [`PollGuard::poll`], whose `may_sleep` looks at the announcement; or parks | 3. wakes it by [`Poller::wake_thread`], or else unparks it |
//!
//! `netpoll-core` has both words: its `Idle` is the set of announced threads, and its `Runq` the queue of a thread. The example
//! [`goroutines`](https://github.com/netpoll-rs/netpoll/tree/main/examples/runtimes/src/bin/goroutines) is such a pool.
//!
//! # Inside another loop
//!
//! The loop of a GUI or a game polls [`Poller::descriptor`] beside its own, sleeps no longer than [`Poller::prepare_wait`]
//! says, and polls with a timeout of zero whenever it wakes up. The example
//! [`foreign_loop`](https://github.com/netpoll-rs/netpoll/tree/main/examples/runtimes/src/bin/foreign_loop.rs) does that.

mod buffer;
mod registration;
mod timer;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use buffer::Buffer;
pub use netpoll_core::{Mode, Modes};
pub use registration::Registration;
pub use timer::Timer;

use crate::netpoll::{self, Netpoll, clock};

/// The number under which [`Poller::poll`] locks the poller: no thread of [`Poller::try_lock`] has it.
const UNNUMBERED: usize = usize::MAX - 1;

/// A poller: the kernel's (epoll, kqueue or poll(2)), the descriptors that it watches, and timers.
///
/// A process may have several. Dropping it wakes every task that waits for one of its descriptors or timers, and their waits
/// fail with [`runtime_ended`](crate::runtime_ended). A forked child cannot use the poller of its parent.
pub struct Poller {
    netpoll: Arc<Netpoll>,
}

impl Poller {
    /// Creates a poller that watches nothing. It takes two descriptors.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if it has no descriptors or memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { netpoll: Netpoll::new()? })
    }

    /// Watches the descriptor of `source` for reads and writes. It must be non-blocking, and `source` must always return the
    /// same one. Readiness that it has already makes an event.
    ///
    /// # Errors
    ///
    /// Returns an error, and drops `source`, if
    ///
    /// - the kernel cannot poll it (`PermissionDenied`), such as a regular file, which is always ready;
    /// - it is registered here already (`AlreadyExists`);
    /// - 1,048,576 descriptors are registered (on a 32-bit machine 65,504), or the kernel's memory is exhausted.
    pub fn register<T: AsFd>(&self, source: T) -> io::Result<Registration<T>> {
        Registration::new(&self.netpoll, source)
    }

    /// Creates a timer that is due at `at`. It does nothing until it is polled.
    pub fn timer(&self, at: Instant) -> Timer {
        Timer::new(self.netpoll.clone(), at)
    }

    /// Polls: sleeps until a task can go on, a timer is due, [`wake`](Self::wake) is called or `timeout` is over, and puts the
    /// wakers of the tasks into `buffer`. Returns their number, which may be 0 before the timeout is over. `None` sets no
    /// limit; zero does not sleep. If `buffer` has wakers already, it returns their number at once.
    ///
    /// # Errors
    ///
    /// Returns `ResourceBusy` if another thread polls, [`runtime_ended`](crate::runtime_ended) in a forked child, and the
    /// kernel's error, which a correct process never meets. `buffer` may have wakers even then.
    pub fn poll(&self, timeout: Option<Duration>, buffer: &mut Buffer) -> io::Result<usize> {
        match self.try_lock(UNNUMBERED) {
            Some(guard) => guard.poll(timeout, buffer, || true),
            None => {
                // In a forked child the lock may be that of a thread of the parent.
                self.netpoll.check()?;
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "another thread polls this poller"))
            }
        }
    }

    /// Locks the poller for the thread that has the number `thread` among yours, at most `usize::MAX` - 2. Returns `None` if
    /// another thread polls.
    pub fn try_lock(&self, thread: usize) -> Option<PollGuard<'_>> {
        let guard = self.netpoll.try_lock(thread)?;
        Some(PollGuard { netpoll: &self.netpoll, guard })
    }

    /// Ends the poll that runs now, or else the next one, also if its timeout is zero. Calls before one poll count as one. It
    /// costs a system call, unless a wake is pending already.
    ///
    /// # Panics
    ///
    /// Panics if the kernel refuses the write, because the poller's descriptor was closed by its number: a lost wake is a hang.
    pub fn wake(&self) {
        self.netpoll.wake();
    }

    /// Ends the poll of the thread that has locked the poller under this number, if it sleeps in it. Returns whether it does.
    /// Otherwise the thread is awake, or its `may_sleep` sees the caller's work before this call.
    ///
    /// # Panics
    ///
    /// Panics as [`wake`](Self::wake) does.
    pub fn wake_thread(&self, thread: usize) -> bool {
        let sleeps = self.netpoll.is_parked_in_poller(thread);
        if sleeps {
            self.wake();
        }
        sleeps
    }

    /// Returns the number of tasks that are parked on descriptors, by a look at each descriptor. Tasks that wait for a
    /// [`Timer`] are not counted.
    pub fn parked(&self) -> usize {
        self.netpoll.waiters()
    }

    /// Returns the number of registered descriptors.
    pub fn registered(&self) -> usize {
        self.netpoll.descriptors()
    }

    /// Returns the descriptor that becomes readable when [`poll`](Self::poll) has something to do, timers excepted. Another
    /// loop polls it, level-triggered; no other code reads or changes it.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` on the poll(2) backend, which has no such descriptor.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.netpoll.descriptor()
    }

    /// Returns the time for which another loop may sleep before it calls [`poll`](Self::poll); `None` if no timer and no deadline is
    /// set. Until that call, a thread that sets an earlier one makes the [`descriptor`](Self::descriptor) readable.
    ///
    /// Call it right before the loop sleeps, and only on the thread that polls.
    pub fn prepare_wait(&self) -> Option<Duration> {
        let at = self.netpoll.announce_sleep()?;
        Some(Duration::from_nanos(at.saturating_sub(clock::now())))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.netpoll.end();
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("registered", &self.registered())
            .field("parked", &self.parked())
            .finish_non_exhaustive()
    }
}

/// The lock of a [`Poller`]. Dropping it unlocks the poller without a poll.
#[derive(Debug)]
#[must_use]
pub struct PollGuard<'a> {
    netpoll: &'a Arc<Netpoll>,
    guard: netpoll::PollGuard<'a>,
}

impl PollGuard<'_> {
    /// Polls as [`Poller::poll`] does, and unlocks the poller. Does not sleep unless `may_sleep` returns true. It is called
    /// after [`Poller::wake_thread`] can see this thread, so no wake falls between its answer and the sleep.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Poller::poll`] does, except `ResourceBusy`.
    pub fn poll(
        self,
        timeout: Option<Duration>,
        buffer: &mut Buffer,
        may_sleep: impl FnOnce() -> bool,
    ) -> io::Result<usize> {
        if buffer.is_empty() {
            self.netpoll.check()?;
            let until = timeout.map(|timeout| clock::later(clock::now(), timeout));
            buffer.fill(|inner| self.guard.block_until(until, inner, may_sleep))?;
        }
        Ok(buffer.len())
    }
}
