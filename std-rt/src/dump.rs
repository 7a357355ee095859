//! What a runtime is doing now, for the one who looks at it when it hangs: [`Handle::dump`](crate::Handle::dump), or
//! `SIGQUIT` with [`Builder::dump_on_quit`](crate::Builder::dump_on_quit).
//!
//! ```text
//! netpoll dump: 2 workers, 3 tasks, 2 descriptors
//! worker 0: runs a task spawned at src/main.rs:41:13; 0 tasks in its queue
//! worker 1: waits for events; 0 tasks in its queue
//! fd 7: 127.0.0.1:80, a task waits to read for 12.3s
//! fd 9: 127.0.0.1:80 -> 127.0.0.1:51872, a task waits to read for 3.0s; deadline to read in 27.0s
//! polls 812 (40 empty), events 1630 (0 stale), breaks 12 sent and 3 coalesced, ...
//! ```
//!
//! Nothing is stopped for it: what it says of one thing is a little older or younger than what it says of another.

use std::fmt;
use std::os::fd::RawFd;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Metrics;
use crate::netpoll::DescriptorInfo;
use crate::sched::{Sched, TaskName};
use crate::sys::Address;

/// A runtime as it was a moment ago. Its `Display` is one line for each worker and each descriptor, and one for the
/// numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// Every worker.
    pub workers: Vec<WorkerDump>,
    /// Every descriptor that the runtime watches.
    pub descriptors: Vec<DescriptorDump>,
    /// The numbers.
    pub metrics: Metrics,
}

/// One worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerDump {
    /// Its number.
    pub index: usize,
    /// What it does.
    pub state: WorkerState,
    /// Tasks in its queue.
    pub queued: usize,
}

/// What a worker does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WorkerState {
    /// It runs a task.
    Runs {
        /// The task's name, if it was spawned with one.
        name: Option<Arc<str>>,
        /// The call of `spawn`.
        location: &'static Location<'static>,
    },
    /// It sleeps in the kernel, until there are events.
    WaitsForEvents,
    /// It sleeps, until there is work.
    Sleeps,
    /// It looks for work. A runtime of one worker: or its thread polls the future of `block_on`, or nobody is in there.
    Awake,
}

/// One descriptor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DescriptorDump {
    /// Its number.
    pub fd: RawFd,
    /// Its own address, if it is a socket.
    pub local: Option<Address>,
    /// Its peer's, if it is connected.
    pub peer: Option<Address>,
    /// Its reading direction.
    pub read: DirectionDump,
    /// Its writing direction.
    pub write: DirectionDump,
}

/// One direction of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DirectionDump {
    /// For how long a task has been waiting, if one is. By the clock of the last poll before it began: a little more than
    /// it was.
    pub waiting: Option<Duration>,
    /// A task is waiting although the kernel says that it need not. That is so between an event and the poll that takes it;
    /// if it stays so while the runtime is at work, the wake-up was lost.
    pub ready: bool,
    /// Until the deadline, if there is one; zero if it has passed.
    pub deadline: Option<Duration>,
}

impl Dump {
    pub(crate) fn of(sched: &Sched) -> Self {
        Self {
            workers: (0..sched.workers()).map(|index| WorkerDump::of(sched, index)).collect(),
            descriptors: sched.netpoll().inspect_descriptors().into_iter().map(DescriptorDump::of).collect(),
            metrics: Metrics::of(sched),
        }
    }
}

impl WorkerDump {
    fn of(sched: &Sched, index: usize) -> Self {
        let state = match sched.running(index) {
            Some(TaskName { name, location }) => WorkerState::Runs { name, location },
            None if !sched.idle().is_parked(index) => WorkerState::Awake,
            None if sched.netpoll().is_parked_in_poller(index) => WorkerState::WaitsForEvents,
            None => WorkerState::Sleeps,
        };
        Self { index, state, queued: sched.worker(index).queued() }
    }
}

impl DescriptorDump {
    fn of(watched: DescriptorInfo) -> Self {
        let direction = |i: usize| DirectionDump {
            waiting: watched.parked[i],
            ready: watched.ready[i],
            deadline: watched.deadline[i],
        };
        let (read, write) = (direction(0), direction(1));
        Self { fd: watched.fd, local: watched.local, peer: watched.peer, read, write }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metrics { workers, tasks, descriptors, .. } = self.metrics;
        writeln!(f, "netpoll dump: {workers} workers, {tasks} tasks, {descriptors} descriptors")?;
        for worker in &self.workers {
            writeln!(f, "{worker}")?;
        }
        for descriptor in &self.descriptors {
            writeln!(f, "{descriptor}")?;
        }
        self.metrics.fmt(f)
    }
}

impl fmt::Display for WorkerDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}: ", self.index)?;
        match &self.state {
            WorkerState::Runs { name: Some(name), location } => {
                write!(f, "runs task \"{name}\" spawned at {location}")
            }
            WorkerState::Runs { name: None, location } => write!(f, "runs a task spawned at {location}"),
            WorkerState::WaitsForEvents => f.write_str("waits for events"),
            WorkerState::Sleeps => f.write_str("sleeps"),
            WorkerState::Awake => f.write_str("looks for work"),
        }?;
        write!(f, "; {} tasks in its queue", self.queued)
    }
}

impl fmt::Display for DescriptorDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd {}:", self.fd)?;
        match (&self.local, &self.peer) {
            (Some(local), Some(peer)) => write!(f, " {local} -> {peer}")?,
            (Some(local), None) => write!(f, " {local}")?,
            (None, _) => f.write_str(" no socket")?,
        }
        for (direction, verb) in [(self.read, "read"), (self.write, "write")] {
            if let Some(since) = direction.waiting {
                write!(f, ", a task waits to {verb} for {since:.1?}")?;
                if direction.ready {
                    write!(f, " (and could)")?;
                }
            }
            match direction.deadline {
                None => {}
                Some(Duration::ZERO) => write!(f, "; deadline to {verb} has passed")?,
                Some(left) => write!(f, "; deadline to {verb} in {left:.1?}")?,
            }
        }
        Ok(())
    }
}
