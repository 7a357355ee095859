//! The interface of a word to the generator: its operations, the roles of its threads, its oracle.

use std::fmt::Debug;

/// The parts of a word that an operation touches, a bit each. Two operations conflict if one writes a part
/// that the other reads or writes.
#[derive(Clone, Copy)]
pub struct Touch {
    /// The parts that the operation reads.
    pub reads: u8,
    /// The parts that it changes.
    pub writes: u8,
}

impl Touch {
    /// All parts, which conflict with any other operation.
    pub const ALL: Touch = Touch { reads: u8::MAX, writes: u8::MAX };

    /// Returns a read and a change of the same parts.
    pub const fn changes(parts: u8) -> Self {
        Self { reads: parts, writes: parts }
    }

    pub fn and(self, other: Self) -> Self {
        Self { reads: self.reads | other.reads, writes: self.writes | other.writes }
    }

    pub fn conflicts(self, other: Self) -> bool {
        self.writes & (other.reads | other.writes) != 0 || other.writes & self.reads != 0
    }
}

/// A kind of thread: its operations, and the largest number of such threads.
pub struct Role<Op: 'static> {
    pub name: &'static str,
    pub ops: &'static [Op],
    pub threads: usize,
}

/// The programs of one combination, which start together from `start`.
pub struct Plan<Op> {
    /// The name of the state before the threads begin, one of [`Word::STARTS`].
    pub start: &'static str,
    /// The operations of each thread, in order.
    pub threads: Vec<Vec<Op>>,
    /// The deliberate fault of a control, one of [`Word::FLAWS`].
    pub flaw: Option<&'static str>,
}

impl<Op: Copy> Plan<Op> {
    /// Returns all operations, thread after thread.
    pub fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        self.threads.iter().flatten().copied()
    }
}

/// A word of core with its surroundings. One value is created for each execution.
pub trait Word: Send + Sync + Sized + 'static {
    /// The first part of its combinations' names.
    const NAME: &'static str;
    /// One step of a thread.
    type Op: Copy + PartialEq + Debug + Send + Sync + 'static;
    /// The alphabet, by role.
    const ROLES: &'static [Role<Self::Op>];
    /// The states to start from.
    const STARTS: &'static [&'static str];
    /// The deliberate faults. At least one combination must find each, which tests the oracle.
    const FLAWS: &'static [&'static str];

    /// Creates the word in its start state.
    fn new(plan: &Plan<Self::Op>) -> Self;

    /// Runs one thread's program.
    fn run(&self, thread: usize, ops: &[Self::Op]);

    /// Checks the state against the oracle, after all threads have been joined.
    fn check(&self, plan: &Plan<Self::Op>);

    /// Returns the parts that an operation touches.
    fn touches(_op: Self::Op) -> Touch {
        Touch::ALL
    }

    /// Returns the reason why the rules of the word forbid the combination, if they do.
    fn forbids(_plan: &Plan<Self::Op>) -> Option<&'static str> {
        None
    }
}
