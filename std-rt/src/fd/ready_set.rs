//! Sets of conditions of a descriptor.

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

/// A set of conditions of a descriptor (tokio's `Ready`, and the conditions of its `Interest`).
///
/// ```
/// use netpoll_rt::net::ReadySet;
///
/// let both = ReadySet::READABLE | ReadySet::WRITABLE;
/// assert!(both.contains(ReadySet::READABLE));
/// assert_eq!(both - ReadySet::READABLE, ReadySet::WRITABLE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReadySet(u8);

impl ReadySet {
    /// No condition.
    pub const EMPTY: Self = Self(0);
    /// Input is there, or a connection to accept.
    pub const READABLE: Self = Self(1);
    /// Space to write is there.
    pub const WRITABLE: Self = Self(1 << 1);
    /// The peer has ended its stream, or both halves are down. It stays.
    pub const READ_CLOSED: Self = Self(1 << 2);
    /// Nothing can be written any more. It stays.
    pub const WRITE_CLOSED: Self = Self(1 << 3);
    /// An exceptional condition, such as an urgent byte.
    pub const PRIORITY: Self = Self(1 << 4);
    /// An error is queued.
    pub const ERROR: Self = Self(1 << 5);
    /// All conditions.
    pub const ALL: Self = Self((1 << 6) - 1);

    /// Returns whether the set has no condition.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether every condition of `other` is in this set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether the sets have a condition in common.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the conditions of both sets.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the conditions of this set that are not in `other`.
    #[inline]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns this set if `condition` holds, else the empty one.
    #[inline]
    pub(super) const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::EMPTY }
    }

    /// Returns the conditions that end a wait for this set: the end of a direction ends a wait for it.
    #[inline]
    pub(super) fn with_ends(self) -> Self {
        let reads = self.intersects(Self::READABLE | Self::PRIORITY);
        self | Self::READ_CLOSED.when(reads) | Self::WRITE_CLOSED.when(self.contains(Self::WRITABLE))
    }
}

impl BitOr for ReadySet {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitAnd for ReadySet {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for ReadySet {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        self.difference(other)
    }
}

impl fmt::Debug for ReadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READABLE, "READABLE"),
            (Self::WRITABLE, "WRITABLE"),
            (Self::READ_CLOSED, "READ_CLOSED"),
            (Self::WRITE_CLOSED, "WRITE_CLOSED"),
            (Self::PRIORITY, "PRIORITY"),
            (Self::ERROR, "ERROR"),
        ];
        let mut found = names.into_iter().filter(|(set, _)| self.contains(*set)).map(|(_, name)| name);
        f.write_str(found.next().unwrap_or("EMPTY"))?;
        found.try_for_each(|name| write!(f, " | {name}"))
    }
}
