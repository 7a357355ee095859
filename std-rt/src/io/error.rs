//! The errors of a copy.

use std::error::Error;
use std::fmt;
use std::io;

/// One of the two arguments of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The first argument, which [`copy`](super::copy) reads.
    First,
    /// The second argument, which [`copy`](super::copy) writes.
    Second,
}

/// An error of one side of a copy, before the counts are known.
#[derive(Debug)]
pub(super) struct CopyFault {
    side: Side,
    error: io::Error,
}

impl CopyFault {
    pub(super) fn first(error: io::Error) -> Self {
        CopyFault { side: Side::First, error }
    }

    pub(super) fn second(error: io::Error) -> Self {
        CopyFault { side: Side::Second, error }
    }

    /// Exchanges the sides, for a copy in the other direction.
    pub(super) fn swap_sides(self) -> Self {
        let side = match self.side {
            Side::First => Side::Second,
            Side::Second => Side::First,
        };
        CopyFault { side, ..self }
    }
}

/// The error inside the [`io::Error`] of a copy: the number of bytes copied, the side that failed, and its
/// own error.
///
/// ```
/// # use netpoll_rt::io::{CopyError, Side, copy};
/// # use netpoll_rt::net::pipe::pipe;
/// # netpoll_rt::block_on(async {
/// # let (reader, feeder) = pipe()?;
/// # feeder.write_all(b"bytes").await?;
/// # let (_sink, writer) = pipe()?;
/// # reader.set_read_deadline(Some(std::time::Instant::now() + std::time::Duration::from_millis(10)))?;
/// let error = copy(&reader, &writer).await.unwrap_err();
/// let copy_error = CopyError::of(&error).unwrap();
/// assert_eq!((copy_error.copied(), copy_error.side()), (5, Side::First));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct CopyError {
    copied: u64,
    copied_back: Option<u64>,
    side: Side,
    source: io::Error,
}

impl CopyError {
    pub(super) fn new(fault: CopyFault, copied: u64, copied_back: Option<u64>) -> Self {
        CopyError { copied, copied_back, side: fault.side, source: fault.error }
    }

    /// Returns the copy's error inside `error`, if it is one of a copy.
    pub fn of(error: &io::Error) -> Option<&CopyError> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns how many bytes of the first argument the second one has taken.
    pub fn copied(&self) -> u64 {
        self.copied
    }

    /// Returns how many bytes of the second argument the first one has taken, if it was a copy both ways.
    pub fn copied_back(&self) -> Option<u64> {
        self.copied_back
    }

    /// Returns the side whose operation failed.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Returns the error of that operation.
    pub fn cause(&self) -> &io::Error {
        &self.source
    }
}

/// Writes the same text as `Display`, because `main` prints an error that it returns by `Debug`.
impl fmt::Debug for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "copy stopped after {} bytes", self.copied)?;
        if let Some(back) = self.copied_back {
            write!(f, " and {back} back")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl Error for CopyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> Self {
        io::Error::new(error.source.kind(), error)
    }
}
