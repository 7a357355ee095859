//! The known facts of a connection, and the results of its operations that they allow.

use std::io::{self, ErrorKind};

use netpoll_rt::is_closed;

use super::payload;
use crate::common::*;

/// The bytes that one end sends and the other reads.
#[derive(Default, Debug)]
pub struct Direction {
    pub name: usize,
    pub written: usize,
    pub read: usize,
    /// The writing half was shut down, or its end is gone.
    pub ended: bool,
}

/// A connection: direction 0 goes from end 0 to end 1.
pub struct Pair {
    pub name: usize,
    pub directions: [Direction; 2],
    /// No handle of that end is left.
    pub gone: [bool; 2],
    /// It was broken off with bytes unread, or bytes came after that: errors may come at any time.
    pub broken: bool,
}

impl Direction {
    pub fn unread(&self) -> usize {
        self.written - self.read
    }
}

impl Pair {
    /// Records that the last handle of an end was closed.
    pub fn goes(&mut self, end: usize) {
        self.gone[end] = true;
        self.directions[end].ended = true;
        self.broken |= self.directions[1 - end].unread() > 0;
    }

    /// Records that a read of this end has ended.
    pub fn has_read(&mut self, end: usize, late: bool, result: io::Result<Vec<u8>>) {
        let broken = self.broken;
        let incoming = &mut self.directions[1 - end];
        match result {
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<EmptyRead>()) => {}
            result if late => assert_timed_out(result),
            Ok(bytes) if bytes.is_empty() => {
                let ended = incoming.ended && incoming.unread() == 0;
                assert!(broken || ended, "an end where there is none: {incoming:?}");
            }
            Ok(bytes) => {
                assert!(bytes.len() <= incoming.unread(), "{} bytes of {}", bytes.len(), incoming.unread());
                assert!(
                    bytes == payload(incoming.name, incoming.read, bytes.len()),
                    "other bytes than were written"
                );
                incoming.read += bytes.len();
            }
            Err(error) => {
                assert!(broken && error.kind() == ErrorKind::ConnectionReset, "{error}");
            }
        }
    }

    /// Records that a write of this end has ended.
    pub fn wrote(&mut self, end: usize, late: bool, result: io::Result<usize>) {
        let gone = self.gone[1 - end];
        let outgoing = &mut self.directions[end];
        match result {
            result if late => assert_timed_out(result),
            Ok(n) => {
                assert!(n == 0 || !outgoing.ended, "written after the end");
                outgoing.written += n;
                self.broken |= gone && n > 0;
            }
            Err(error) => {
                let kind = error.kind();
                assert!(outgoing.ended || gone || self.broken, "{error}");
                assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                assert!(!is_closed(&error), "{error}");
            }
        }
    }
}

/// Says of a read that it had no room, so that its end is not taken for the end of the stream.
#[derive(Debug)]
pub struct EmptyRead;

impl std::fmt::Display for EmptyRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an empty read")
    }
}

impl std::error::Error for EmptyRead {}
