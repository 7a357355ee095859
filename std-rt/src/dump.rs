//! A description of the current state of a runtime, for the search for a hang: [`Handle::dump`](crate::Handle::dump), or
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
//! No thread is stopped for it, so its parts are from slightly different times.

use std::fmt;
use std::os::fd::RawFd;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Metrics;
use crate::netpoll::DescriptorInfo;
use crate::sched::Sched;
use crate::sys::Address;
use crate::task::TaskName;

/// The state of a runtime at one time. Its `Display` is one line for each worker and each descriptor, and one for the
/// metrics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// Every worker.
    pub workers: Vec<WorkerDump>,
    /// Every descriptor that is registered with the runtime's poller.
    pub descriptors: Vec<DescriptorDump>,
    /// The metrics.
    pub metrics: Metrics,
}

/// The state of one worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerDump {
    /// The worker's number.
    pub index: usize,
    /// The worker's activity.
    pub state: WorkerState,
    /// Tasks in its queue.
    pub queued: usize,
}

/// The activity of a worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WorkerState {
    /// The worker runs a task.
    Runs {
        /// The task's name, if it was spawned with one.
        name: Option<Arc<str>>,
        /// The call of `spawn`.
        location: &'static Location<'static>,
    },
    /// The worker sleeps in the kernel, until there are events.
    WaitsForEvents,
    /// The worker sleeps, until there is work.
    Sleeps,
    /// The worker looks for work. In a runtime of `workers(1)` it may also be that the thread polls the future of `block_on`,
    /// or that no thread is in there.
    Awake,
}

/// The state of one descriptor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DescriptorDump {
    /// The descriptor's number.
    pub fd: RawFd,
    /// The local address, if it is a socket.
    pub local: Option<Address>,
    /// The address of the peer, if it is a connected socket.
    pub peer: Option<Address>,
    /// The reading direction.
    pub read: DirectionDump,
    /// The writing direction.
    pub write: DirectionDump,
}

/// The state of one direction of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DirectionDump {
    /// The time for which a task has been waiting, if one is. It counts from the last poll before the wait began, so it is a
    /// little too long.
    pub waiting: Option<Duration>,
    /// Whether a task is waiting although the kernel reports that the direction is ready. That is so between an event and the
    /// poll that takes it. If it stays so while the runtime is at work, the wake-up was lost.
    pub ready: bool,
    /// The time until the deadline, if there is one; zero if it has passed.
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
