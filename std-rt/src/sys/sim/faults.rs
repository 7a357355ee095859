//! The faults that the simulated kernel makes: answers that the manual allows and that a healthy machine seldom gives.

use std::fmt;

use rustix::io::Errno;

use super::stream::REST;
use super::world::{Event, Id, World};

/// A kind of fault, which is drawn and counted by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// `EINTR` from a call on a descriptor.
    Interrupt,
    /// A wait for events that a signal ends.
    InterruptedWait,
    /// `EAGAIN` from a read although there are bytes or a message.
    AgainRead,
    /// `EAGAIN` from a write although there is space.
    AgainWrite,
    /// `EAGAIN` from an accept although a connection waits.
    AgainAccept,
    /// A read of a part of the bytes that are there.
    ShortRead,
    /// A write of a part of the bytes that there is space for.
    ShortWrite,
    /// An event of a descriptor that is not ready.
    Spurious,
    /// An event that comes up to 5 ms late.
    Late,
    /// An event that is left to the next wait, and stands for all that happens on the descriptor meanwhile.
    Merged,
    /// An event that overtakes earlier ones.
    Reordered,
    /// A task that runs although others became runnable before it.
    TaskOrder,
    /// `ECONNABORTED` from an accept.
    Abort,
    /// `EMFILE` from a call that creates a descriptor.
    NoDescriptor,
    /// `ENOBUFS` from a send, an accept or a call that creates a socket.
    NoBuffers,
    /// `ENOMEM` from the same, from a receive, or from the registration with a poller.
    NoMemory,
    /// A segment of TCP that a link has lost, and that is sent again.
    Retransmitted,
    /// A datagram that a link has lost.
    Lost,
    /// A datagram that a link has doubled.
    Doubled,
    /// A datagram that has overtaken an earlier one.
    Overtaken,
}

/// The number of kinds.
const KINDS: usize = FaultKind::ALL.len();

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 20] = [
        Self::Interrupt,
        Self::InterruptedWait,
        Self::AgainRead,
        Self::AgainWrite,
        Self::AgainAccept,
        Self::ShortRead,
        Self::ShortWrite,
        Self::Spurious,
        Self::Late,
        Self::Merged,
        Self::Reordered,
        Self::TaskOrder,
        Self::Abort,
        Self::NoDescriptor,
        Self::NoBuffers,
        Self::NoMemory,
        Self::Retransmitted,
        Self::Lost,
        Self::Doubled,
        Self::Overtaken,
    ];

    /// Returns its name in a trace.
    fn note(self) -> &'static str {
        match self {
            Self::Interrupt => "fault: interrupt",
            Self::InterruptedWait => "fault: interrupted wait",
            Self::AgainRead => "fault: again, read",
            Self::AgainWrite => "fault: again, write",
            Self::AgainAccept => "fault: again, accept",
            Self::ShortRead => "fault: short read",
            Self::ShortWrite => "fault: short write",
            Self::Spurious => "fault: spurious event",
            Self::Late => "fault: late event",
            Self::Merged => "fault: merged event",
            Self::Reordered => "fault: reordered event",
            Self::TaskOrder => "fault: order of tasks",
            Self::Abort => "fault: abort",
            Self::NoDescriptor => "fault: no descriptor",
            Self::NoBuffers => "fault: no buffers",
            Self::NoMemory => "fault: no memory",
            Self::Retransmitted => "fault: retransmitted",
            Self::Lost => "fault: lost",
            Self::Doubled => "fault: doubled",
            Self::Overtaken => "fault: overtaken",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.note().trim_start_matches("fault: "))
    }
}

/// The number of faults by kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FaultCounts([u64; KINDS]);

impl FaultCounts {
    /// Returns how many faults of a kind there were.
    pub fn of(&self, kind: FaultKind) -> u64 {
        self.0[kind as usize]
    }

    /// Returns how many faults there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds the counts of another simulation.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

/// Writes a line for each kind.
impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FaultKind::ALL.iter().try_for_each(|kind| writeln!(f, "{kind:<18}{:>12}", self.of(*kind)))
    }
}

/// The largest probability of a fault after which a program tries again.
const MOST: f64 = 0.95;

/// The faults that the kernel draws from the seed, each with its probability. Those that a program does not see happen in at most
/// 95 of 100 cases: a call that is always interrupted would never end. Those of packets are set by the
/// [`Link`](super::link::LinkConfig).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FaultConfig {
    /// A call or a wait fails with `EINTR`, after which it is repeated.
    pub interrupt: f64,
    /// A read, write or accept fails with `EAGAIN` although it could be done; an event follows.
    pub again: f64,
    /// A read or write transfers a part of the bytes; an event follows.
    pub short: f64,
    /// A wait reports an event of a descriptor that is not ready.
    pub spurious: f64,
    /// A wait leaves an event to one up to 5 ms later.
    pub late: f64,
    /// A wait leaves an event to the next one, which reports it once with all that has happened by then.
    pub merge: f64,
    /// A wait reports events in another order than that in which they have happened.
    pub reorder: f64,
    /// A worker runs another task than the one that has waited for the longest time.
    pub task_order: f64,
    /// An accept fails with `ECONNABORTED`; the connection is reset.
    pub abort: f64,
    /// A call that creates a descriptor fails with `EMFILE`.
    pub exhaust: f64,
    /// A send, an accept or the creation of a socket fails with `ENOBUFS`.
    pub no_buffers: f64,
    /// The same, a receive, or the registration with the poller fails with `ENOMEM`.
    pub no_memory: f64,
}

impl FaultConfig {
    /// No faults.
    pub const NONE: Self = Self {
        interrupt: 0.0,
        again: 0.0,
        short: 0.0,
        spurious: 0.0,
        late: 0.0,
        merge: 0.0,
        reorder: 0.0,
        task_order: 0.0,
        abort: 0.0,
        exhaust: 0.0,
        no_buffers: 0.0,
        no_memory: 0.0,
    };

    /// The faults that a program does not see.
    pub const HIDDEN: Self = Self {
        interrupt: 0.02,
        again: 0.05,
        short: 0.1,
        spurious: 0.05,
        late: 0.05,
        merge: 0.05,
        reorder: 0.5,
        task_order: 0.5,
        ..Self::NONE
    };

    /// Every fault, often. A program sees errors, among them those of a connection that was reset before it was accepted.
    pub const ALL: Self = Self {
        interrupt: 0.1,
        again: 0.15,
        short: 0.3,
        spurious: 0.2,
        late: 0.1,
        merge: 0.1,
        abort: 0.05,
        exhaust: 0.02,
        no_buffers: 0.01,
        no_memory: 0.01,
        ..Self::HIDDEN
    };

    /// Limits the faults after which a program tries again: one that always happens would let it try for ever.
    pub(super) fn limited(mut self) -> Self {
        let hidden = [
            &mut self.interrupt,
            &mut self.again,
            &mut self.short,
            &mut self.spurious,
            &mut self.late,
            &mut self.merge,
        ];
        hidden.into_iter().for_each(|probability| *probability = probability.min(MOST));
        self
    }

    fn of(&self, kind: FaultKind) -> f64 {
        match kind {
            FaultKind::Interrupt | FaultKind::InterruptedWait => self.interrupt,
            FaultKind::AgainRead | FaultKind::AgainWrite | FaultKind::AgainAccept => self.again,
            FaultKind::ShortRead | FaultKind::ShortWrite => self.short,
            FaultKind::Spurious => self.spurious,
            FaultKind::Late => self.late,
            FaultKind::Merged => self.merge,
            FaultKind::Reordered => self.reorder,
            FaultKind::TaskOrder => self.task_order,
            FaultKind::Abort => self.abort,
            FaultKind::NoDescriptor => self.exhaust,
            FaultKind::NoBuffers => self.no_buffers,
            FaultKind::NoMemory => self.no_memory,
            // Drawn by the link.
            FaultKind::Retransmitted | FaultKind::Lost | FaultKind::Doubled | FaultKind::Overtaken => 0.0,
        }
    }
}

impl World {
    /// Draws whether a fault of this kind happens to a socket, and counts it.
    pub(super) fn fault(&mut self, kind: FaultKind, id: Id) -> bool {
        let happens = self.chance(self.faults.of(kind));
        if happens {
            self.count_fault(kind, id);
        }
        happens
    }

    /// Draws a place below `end` in a queue, usually the first one.
    pub(super) fn place(&mut self, kind: FaultKind, end: usize, id: Id) -> usize {
        if end < 2 || !self.chance(self.faults.of(kind)) {
            return 0;
        }
        let place = self.draw_below(end as u64) as usize;
        if place > 0 {
            self.count_fault(kind, id);
        }
        place
    }

    /// Counts a fault that has happened.
    pub(super) fn count_fault(&mut self, kind: FaultKind, id: Id) {
        self.counts.faults += 1;
        self.fault_counts.0[kind as usize] += 1;
        self.note(kind.note(), id, 0);
    }

    /// Draws the faults of an accept, of which a connection waits.
    pub(super) fn draw_accept(&mut self, id: Id) -> Result<(), Errno> {
        if self.fault(FaultKind::AgainAccept, id) {
            self.schedule(REST, Event::Notify(id));
            return Err(Errno::AGAIN);
        }
        if self.fault(FaultKind::NoDescriptor, id) {
            return Err(Errno::MFILE);
        }
        self.draw_memory(id)
    }

    /// Draws the faults of a write for which there is space.
    pub(super) fn draw_send(&mut self, id: Id) -> Result<(), Errno> {
        if self.fault(FaultKind::AgainWrite, id) {
            self.schedule(REST, Event::Resume(id));
            return Err(Errno::AGAIN);
        }
        self.draw_memory(id)
    }

    /// Draws the faults of a read of bytes or a message that are there.
    pub(super) fn draw_recv(&mut self, id: Id) -> Result<(), Errno> {
        if self.fault(FaultKind::AgainRead, id) {
            self.schedule(REST, Event::Resume(id));
            return Err(Errno::AGAIN);
        }
        if self.fault(FaultKind::NoMemory, id) { Err(Errno::NOMEM) } else { Ok(()) }
    }

    /// Draws whether a call that needs memory gets some.
    pub(super) fn draw_memory(&mut self, id: Id) -> Result<(), Errno> {
        if self.fault(FaultKind::NoBuffers, id) {
            return Err(Errno::NOBUFS);
        }
        if self.fault(FaultKind::NoMemory, id) { Err(Errno::NOMEM) } else { Ok(()) }
    }
}
