//! Datagrams that the kernel, or the network card, cuts from one piece and joins to one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use netpoll_core::Mode;

use super::{Datagram, UdpSocket};
use crate::coop;
use crate::sys::mmsg as sys;
use crate::sys::udp::{MAX_BATCH, NotCut};

/// The most bytes that one datagram of IPv4 has, and the most that are cut at once.
const LONGEST: usize = 65_507;

impl UdpSocket {
    /// Sends `bytes` as datagrams of `segment_size` bytes, 1 to 65507, the last one possibly shorter; to the peer, or to an
    /// address. Where the kernel cuts them (Linux 4.18) this costs little more than one datagram, up to 64 at a time; else
    /// they are sent one by one. Waits while the kernel has no room. Without bytes nothing is sent.
    ///
    /// Dropped: any number of them, from the first on, may have been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and any number of them may have been sent. `InvalidInput` for another
    /// `segment_size`.
    pub async fn send_segments(
        &self,
        bytes: &[u8],
        segment_size: usize,
        to: Option<SocketAddr>,
    ) -> io::Result<()> {
        coop::proceed().await;
        let failed = |error| match to {
            Some(to) => self.error_to("send_segments", error, to),
            None => self.error("send_segments", error),
        };
        let segment = match u16::try_from(segment_size) {
            Ok(segment) if (1..=LONGEST).contains(&segment_size) => segment,
            _ => return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, WRONG_SIZE))),
        };
        // Refused once, it is not tried again for the rest.
        let mut whole = self.cannot_cut.get().is_none();
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = self.fd.shared(Mode::Write, |fd| self.send_some(fd, rest, segment, to, &mut whole));
            rest = &rest[sent.await.map_err(failed)?..];
        }
        Ok(())
    }

    /// Sends what one call takes, and returns its length.
    fn send_some(
        &self,
        fd: BorrowedFd<'_>,
        bytes: &[u8],
        segment: u16,
        to: Option<SocketAddr>,
        whole: &mut bool,
    ) -> io::Result<usize> {
        let size = usize::from(segment);
        let at_once = (LONGEST / size).min(MAX_BATCH) * size;
        let bytes = &bytes[..bytes.len().min(at_once)];
        if *whole && bytes.len() > size && sys::can_cut(fd) {
            match sys::send_cut(fd, bytes, segment, to.as_ref()) {
                Err(error) => match sys::why_not_cut(&error) {
                    Some(why) => *whole = self.refused(why),
                    None => return Err(error),
                },
                sent => return sent,
            }
        }
        let mut pieces = [Datagram::new(&[]); MAX_BATCH];
        let mut count = 0;
        for (piece, bytes) in pieces.iter_mut().zip(bytes.chunks(size)) {
            *piece = to.map_or(Datagram::new(bytes), |to| Datagram::to(bytes, to));
            count += 1;
        }
        let sent = sys::send_batch(fd, &pieces[..count])?;
        Ok(bytes.len().min(sent * size))
    }

    /// The sizes are those of one message; a way without the means is most likely that of the next one too. Never whole.
    fn refused(&self, why: NotCut) -> bool {
        if why == NotCut::Way {
            // Set already is as good.
            let _ = self.cannot_cut.set(());
        }
        false
    }

    /// Has the kernel join datagrams of one sender that follow each other and have the same length (`UDP_GRO`, Linux 5.0;
    /// off by default). Receive them with [`recv_batch`](Self::recv_batch), which tells where they were joined; the other
    /// calls do not.
    ///
    /// # Errors
    ///
    /// Closed; `Unsupported` or `ENOPROTOOPT` where the kernel cannot do it.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.fd.with(|fd| sys::set_gro(fd, on)).map_err(|error| self.error("set_gro", error))
    }
}

const WRONG_SIZE: &str = "the size of a segment must be within 1 to 65507";
