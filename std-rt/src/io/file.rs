//! The copy from a file to a socket or a pipe within the kernel.
//!
//! sendfile(2) waits for the disk, so a thread of the pool makes the call, on a duplicate of the sink's descriptor: the
//! sink may be closed meanwhile. It never waits for the sink, which is non-blocking; that is done here, by the poller.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use netpoll_core::poll_key::Mode;

use super::buffered;
use super::ends::{Sink, Source, Stream};
use super::error::Fault;
use crate::fs::{File, MAX_PIECE};
use crate::sys::copy::{is_of_the_disk, is_refused, send_file};

/// What one trip to the pool came to.
struct Trip {
    sent: usize,
    then: io::Result<Then>,
}

enum Then {
    /// The piece is sent; the file has more.
    More,
    /// The sink has no room.
    Full,
    End,
}

/// Copies until the end of the file.
pub(super) async fn copy(from: &File, to: Stream<'_>, copied: &mut u64) -> Result<(), Fault> {
    let sink = Arc::new(to.fd.duplicate().map_err(|error| to.write_fault(error))?);
    loop {
        // The deadline, and whether it is closed: the thread does not know of them.
        to.fd.try_shared(Mode::Write, |_| Ok(())).map_err(|error| to.write_fault(error))?;
        let sink = sink.clone();
        let trip = from.in_turn("copy from", move |file| Ok(send_piece(file, &sink)));
        let trip = trip.await.map_err(Fault::first)?;
        *copied += trip.sent as u64;
        to.fd.netpoll().pipes().sent.add(trip.sent);
        match trip.then {
            Ok(Then::More) => {}
            Ok(Then::Full) => {
                to.fd.readiness(Mode::Write).await.map_err(|error| to.write_fault(error))?;
            }
            Ok(Then::End) => return Ok(()),
            Err(error) if is_refused(&error) => {
                return buffered::copy(Source::File(from), Sink::Stream(to), copied).await;
            }
            Err(error) if is_of_the_disk(&error) => return Err(Fault::first(from.error("copy from", error))),
            Err(error) => return Err(to.write_fault(error)),
        }
    }
}

fn send_piece(file: &std::fs::File, sink: &OwnedFd) -> Trip {
    let mut sent = 0;
    let then = loop {
        if sent == MAX_PIECE {
            break Ok(Then::More);
        }
        match send_file(file.as_fd(), sink.as_fd(), MAX_PIECE - sent) {
            Ok(0) => break Ok(Then::End),
            Ok(n) => sent += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(Then::Full),
            Err(error) => break Err(error),
        }
    };
    Trip { sent, then }
}
