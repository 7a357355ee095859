//! What the generator needs to know of a word: its operations, the roles of its threads, one oracle.

use std::fmt::Debug;

/// A part of the word's world, as a bit. Two operations conflict if one writes what the other reads or writes.
#[derive(Clone, Copy)]
pub struct Touch {
    /// What the operation looks at.
    pub reads: u8,
    /// What it changes.
    pub writes: u8,
}

impl Touch {
    /// Everything: conflicts with any other operation.
    pub const ALL: Touch = Touch { reads: u8::MAX, writes: u8::MAX };

    /// Both accesses to the same parts.
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

/// A kind of thread: which operations it may do, and how many such threads there are at most.
pub struct Role<Op: 'static> {
    pub name: &'static str,
    pub ops: &'static [Op],
    pub threads: usize,
}

/// The programs of one combination, which start together from `start`.
pub struct Plan<Op> {
    /// The name of the state that the world is in before the threads begin, one of [`Word::STARTS`].
    pub start: &'static str,
    /// The operations of each thread, in its order.
    pub threads: Vec<Vec<Op>>,
    /// The deliberate fault of a control, one of [`Word::FLAWS`].
    pub flaw: Option<&'static str>,
}

impl<Op: Copy> Plan<Op> {
    /// All operations, thread after thread.
    pub fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        self.threads.iter().flatten().copied()
    }
}

/// A word of the core with the world around it. One value is made for each execution.
pub trait Word: Send + Sync + Sized + 'static {
    /// The first part of its combinations' names.
    const NAME: &'static str;
    /// One step of a thread.
    type Op: Copy + PartialEq + Debug + Send + Sync + 'static;
    /// The alphabet, by role.
    const ROLES: &'static [Role<Self::Op>];
    /// The states to start from.
    const STARTS: &'static [&'static str];
    /// Faults that the world can be made with. At least one combination must find each: the oracle's own test.
    const FLAWS: &'static [&'static str];

    /// Makes the world in its start state.
    fn new(plan: &Plan<Self::Op>) -> Self;

    /// Does one thread's program.
    fn run(&self, thread: usize, ops: &[Self::Op]);

    /// Holds the world against the oracle. All threads have been joined.
    fn check(&self, plan: &Plan<Self::Op>);

    /// What an operation touches.
    fn touches(_op: Self::Op) -> Touch {
        Touch::ALL
    }

    /// Returns why the combination is not one that the word's rules allow, if so.
    fn forbids(_plan: &Plan<Self::Op>) -> Option<&'static str> {
        None
    }
}
