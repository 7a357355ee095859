//! The conditions of a descriptor: those that a task waits for and those that hold.

use std::fmt;
use std::ops;

use netpoll_rt::net::ReadySet;

/// The conditions that a task waits for, as tokio's.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Interest(ReadySet);

impl Interest {
    /// Input, or a connection to accept.
    pub const READABLE: Interest = Interest(ReadySet::READABLE);
    /// Space to write.
    pub const WRITABLE: Interest = Interest(ReadySet::WRITABLE);
    /// A queued error.
    pub const ERROR: Interest = Interest(ReadySet::ERROR);
    /// An exceptional condition, such as an urgent byte.
    pub const PRIORITY: Interest = Interest(ReadySet::PRIORITY);

    pub(crate) fn to_netpoll(self) -> ReadySet {
        self.0
    }

    /// Returns whether it has the condition of reads.
    pub const fn is_readable(self) -> bool {
        self.0.contains(ReadySet::READABLE)
    }

    /// Returns whether it has the condition of writes.
    pub const fn is_writable(self) -> bool {
        self.0.contains(ReadySet::WRITABLE)
    }

    /// Returns whether it has the condition of errors.
    pub const fn is_error(self) -> bool {
        self.0.contains(ReadySet::ERROR)
    }

    /// Returns whether it has the exceptional condition.
    pub const fn is_priority(self) -> bool {
        self.0.contains(ReadySet::PRIORITY)
    }

    /// Returns the conditions of both.
    #[must_use = "this returns the result of the operation, without modifying the original"]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0.union(other.0))
    }

    /// Returns the conditions that are not in `other`; `None` if none is left.
    #[must_use = "this returns the result of the operation, without modifying the original"]
    pub fn remove(self, other: Interest) -> Option<Interest> {
        Some(Interest(self.0 - other.0)).filter(|left| !left.0.is_empty())
    }
}

impl ops::BitOr for Interest {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.add(other)
    }
}

impl ops::BitOrAssign for Interest {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The conditions that hold, as tokio's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready(ReadySet);

impl Ready {
    /// No condition.
    pub const EMPTY: Ready = Ready(ReadySet::EMPTY);
    /// Input, or a connection to accept.
    pub const READABLE: Ready = Ready(ReadySet::READABLE);
    /// Space to write.
    pub const WRITABLE: Ready = Ready(ReadySet::WRITABLE);
    /// The end of the peer's stream.
    pub const READ_CLOSED: Ready = Ready(ReadySet::READ_CLOSED);
    /// Nothing can be written any more.
    pub const WRITE_CLOSED: Ready = Ready(ReadySet::WRITE_CLOSED);
    /// An exceptional condition, such as an urgent byte.
    pub const PRIORITY: Ready = Ready(ReadySet::PRIORITY);
    /// A queued error.
    pub const ERROR: Ready = Ready(ReadySet::ERROR);
    /// All conditions.
    pub const ALL: Ready = Ready(ReadySet::ALL);

    pub(crate) fn from_netpoll(ready: ReadySet) -> Self {
        Self(ready)
    }

    pub(crate) fn to_netpoll(self) -> ReadySet {
        self.0
    }

    /// Returns whether no condition holds.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a read is worth a try: there is input, or the end of the stream.
    pub fn is_readable(self) -> bool {
        self.0.contains(ReadySet::READABLE) || self.is_read_closed()
    }

    /// Returns whether a write is worth a try: there is space, or nothing can be written any more.
    pub fn is_writable(self) -> bool {
        self.0.contains(ReadySet::WRITABLE) || self.is_write_closed()
    }

    /// Returns whether the peer has ended its stream.
    pub fn is_read_closed(self) -> bool {
        self.0.contains(ReadySet::READ_CLOSED)
    }

    /// Returns whether nothing can be written any more.
    pub fn is_write_closed(self) -> bool {
        self.0.contains(ReadySet::WRITE_CLOSED)
    }

    /// Returns whether the exceptional condition holds.
    pub fn is_priority(self) -> bool {
        self.0.contains(ReadySet::PRIORITY)
    }

    /// Returns whether an error is queued.
    pub fn is_error(self) -> bool {
        self.0.contains(ReadySet::ERROR)
    }
}

impl ops::BitOr<Ready> for Ready {
    type Output = Ready;

    #[inline]
    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl ops::BitOrAssign<Ready> for Ready {
    #[inline]
    fn bitor_assign(&mut self, other: Ready) {
        *self = *self | other;
    }
}

impl ops::BitAnd<Ready> for Ready {
    type Output = Ready;

    #[inline]
    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0 & other.0)
    }
}

impl ops::Sub<Ready> for Ready {
    type Output = Ready;

    #[inline]
    fn sub(self, other: Ready) -> Ready {
        Ready(self.0 - other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("is_readable", &self.is_readable())
            .field("is_writable", &self.is_writable())
            .field("is_read_closed", &self.is_read_closed())
            .field("is_write_closed", &self.is_write_closed())
            .field("is_error", &self.is_error())
            .field("is_priority", &self.is_priority())
            .finish()
    }
}
