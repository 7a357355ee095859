//! A child of this process as the kernel has it: whether it has been reaped, the event of its end, and signals to it.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use netpoll_core::Mode;

use super::sigchld::Listener;
use crate::coop;
use crate::error::{Unavailable, runtime_ended};
use crate::fd::{Fd, FdKind};
use crate::netpoll::Netpoll;
use crate::sched::SchedHandle;
use crate::signal::SignalKind;
use crate::sys::child::{self as sys, Pid};
use crate::time::timeout;

/// A child that this process has started.
///
/// | state | the number is | leaves it by |
/// |---|---|---|
/// | `Running` | the child's, also while it is a zombie | a look that reaps it, or finds that other code has |
/// | `Ended`, `Lost` | perhaps another process's | - |
///
/// The lock is held while the kernel is asked, so no signal is sent between a reap and the change of the state.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    state: Mutex<State>,
    event: ExitEvent,
    sched: Arc<SchedHandle>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running,
    Ended(ExitStatus),
    /// Other code has reaped it, so the status is gone.
    Lost,
}

/// The source of the event that a child has ended.
#[derive(Debug)]
enum ExitEvent {
    /// A descriptor of the child. It stands for this child even when the number is another's.
    Descriptor(Fd),
    /// `SIGCHLD`.
    Signal(Arc<Listener>),
}

/// The time after which a wait without a pidfd looks again. Code that replaces the handler of `SIGCHLD`, or that makes this
/// process ignore it, takes the event away; this bounds the delay.
const NEXT_LOOK: Duration = Duration::from_secs(1);

impl Process {
    /// Watches a child of this process, which has not been reaped.
    ///
    /// # Errors
    ///
    /// Returns an error if no descriptor is free (`EMFILE`, `ENFILE`); the error of the registration.
    pub fn watch(pid: Pid, sched: Arc<SchedHandle>) -> io::Result<Self> {
        let event = ExitEvent::of(pid, sched.netpoll())?;
        Ok(Self { pid, state: Mutex::new(State::Running), event, sched })
    }

    /// Returns the scheduler of the runtime in which the child was started.
    pub fn sched(&self) -> &Arc<SchedHandle> {
        &self.sched
    }

    /// Returns the number, until the child has been reaped.
    pub fn id(&self) -> Option<Pid> {
        (*self.lock() == State::Running).then_some(self.pid)
    }

    /// Returns whether this process need not reap the child any more.
    pub fn is_over(&self) -> bool {
        !matches!(self.try_wait(), Ok(None)) && self.id().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No foreign code runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails in a process that was forked from the one that started the child. There the lock may be held by a thread that
    /// does not exist.
    fn check_owner_process(&self) -> io::Result<()> {
        if self.sched.netpoll().is_owner_process() { Ok(()) } else { Err(Unavailable::Forked.into()) }
    }

    /// Reaps the child if it has ended. Never waits.
    ///
    /// # Errors
    ///
    /// Returns an error if other code has reaped it, and in a forked process.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.check_owner_process()?;
        self.reap(&mut self.lock())
    }

    fn reap(&self, state: &mut State) -> io::Result<Option<ExitStatus>> {
        if *state == State::Running {
            let reaped = match &self.event {
                ExitEvent::Descriptor(fd) => fd.with(sys::reap_by),
                ExitEvent::Signal(_) => sys::reap(self.pid),
            };
            match reaped {
                Ok(None) => {}
                Ok(Some(status)) => *state = State::Ended(status),
                Err(error) if sys::is_no_child(&error) => *state = State::Lost,
                Err(error) => return Err(error),
            }
        }
        self.known(state).transpose()
    }

    /// Returns the result that needs no look at the child.
    fn known(&self, state: &State) -> Option<io::Result<ExitStatus>> {
        match *state {
            State::Running => None,
            State::Ended(status) => Some(Ok(status)),
            State::Lost => Some(Err(io::Error::other(NoChild { pid: self.pid }))),
        }
    }

    /// Sends a signal to the child. One that has ended is sent nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Process::try_wait`] and of the system call.
    pub fn signal(&self, kind: SignalKind) -> io::Result<()> {
        self.check_owner_process()?;
        let mut state = self.lock();
        if self.reap(&mut state)?.is_some() {
            return Ok(());
        }
        match &self.event {
            ExitEvent::Descriptor(fd) => fd.with(|fd| sys::signal(fd, kind)),
            ExitEvent::Signal(_) => sys::kill(self.pid, kind),
        }
    }

    /// Waits until the child has ended, and reaps it. If its runtime has ended, the runtime that this thread runs for watches
    /// the child meanwhile.
    ///
    /// Dropped: nothing has happened.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        match self.wait_for(&self.event).await {
            Err(error) if runtime_ended(&error) => match self.event_here()? {
                Some(event) => self.wait_for(&event).await,
                None => self.try_wait()?.ok_or(error),
            },
            waited => waited,
        }
    }

    /// Returns an event of the current runtime, if that is another one and the child has not been reaped.
    fn event_here(&self) -> io::Result<Option<ExitEvent>> {
        self.check_owner_process()?;
        let current = SchedHandle::current();
        let Some(other) = current.filter(|current| !Arc::ptr_eq(current.netpoll(), self.sched.netpoll()))
        else {
            return Ok(None);
        };
        // Under the lock the number stays the child's.
        let state = self.lock();
        (*state == State::Running).then(|| ExitEvent::of(self.pid, other.netpoll())).transpose()
    }

    async fn wait_for(&self, event: &ExitEvent) -> io::Result<ExitStatus> {
        let exit = || coop::cooperative(poll_fn(|cx| self.poll_exit(event, cx)));
        match event {
            ExitEvent::Descriptor(_) => exit().await,
            ExitEvent::Signal(_) => loop {
                if let Ok(result) = timeout(NEXT_LOOK, exit()).await {
                    return result;
                }
            },
        }
    }

    fn poll_exit(&self, event: &ExitEvent, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        self.check_owner_process()?;
        if let Some(known) = self.known(&self.lock()) {
            return Poll::Ready(known);
        }
        match event {
            ExitEvent::Descriptor(fd) => {
                let look = || self.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
                fd.run(Mode::Read, |_| look()).poll_once(cx)
            }
            ExitEvent::Signal(listener) => listener.poll_exit(cx, || self.try_wait()),
        }
    }
}

impl ExitEvent {
    /// Watches a child of this process, which has not been reaped, in the runtime of a poller.
    fn of(pid: Pid, netpoll: &Arc<Netpoll>) -> io::Result<Self> {
        let descriptor = if netpoll.may_probe() { sys::open(pid)? } else { None };
        match descriptor {
            Some(fd) => Fd::new(netpoll.clone(), fd, FdKind::Other).map(Self::Descriptor),
            None => Listener::of(netpoll).map(Self::Signal),
        }
    }
}

/// The error of a child that other code has reaped.
#[derive(Debug)]
struct NoChild {
    pid: Pid,
}

impl fmt::Display for NoChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} is no child any more, and its exit status is gone (ECHILD): other code of this program has waited \
             for it, as waitpid(-1) does for every child, or the program ignores SIGCHLD",
            self.pid
        )
    }
}

impl Error for NoChild {}
