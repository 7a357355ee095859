//! Many datagrams by one system call.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use netpoll_core::Mode;

use super::{Datagram, UdpSocket};
use crate::coop;
use crate::sys::mmsg as sys;
use crate::sys::udp::{Arrival, MAX_BATCH};

/// Room for datagrams to be received together, to be used again and again: nothing is allocated after it was made.
///
/// ```
/// use netpoll_rt::net::{Datagram, RecvBatch, UdpSocket};
///
/// # netpoll_rt::block_on(async {
/// let here = UdpSocket::bind("127.0.0.1:0").await?;
/// let there = UdpSocket::bind("127.0.0.1:0").await?;
/// here.connect(there.local_addr()?).await?;
/// here.send_batch(&[Datagram::new(b"one"), Datagram::new(b"two")]).await?;
///
/// let mut batch = RecvBatch::new(32, 1500);
/// let mut came = 0;
/// while came < 2 {
///     came += there.recv_batch(&mut batch).await?;
///     for datagram in &batch {
///         println!("{}: {:?}", datagram.from(), datagram.bytes());
///     }
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub struct RecvBatch {
    /// One place after another, each `length` bytes long.
    buffer: Box<[u8]>,
    length: usize,
    /// One for each place.
    arrivals: Box<[Arrival]>,
    /// How many places have something in them, from the front.
    filled: usize,
}

impl RecvBatch {
    /// The most datagrams that one call sends or receives.
    pub const MAX: usize = MAX_BATCH;

    /// Room for so many datagrams, 1 to [`RecvBatch::MAX`], of up to `length` bytes each, at least 1; what is outside of
    /// that is brought inside. With [`UdpSocket::set_gro`] let `length` be 65535, since a place may get several datagrams.
    ///
    /// # Panics
    ///
    /// Panics if `datagrams` times `length` is more than a `Vec` can hold, `isize::MAX` bytes.
    pub fn new(datagrams: usize, length: usize) -> Self {
        let (datagrams, length) = (datagrams.clamp(1, Self::MAX), length.max(1));
        let Some(bytes) = datagrams.checked_mul(length).filter(|&bytes| isize::try_from(bytes).is_ok())
        else {
            panic!("RecvBatch::new: {datagrams} datagrams of {length} bytes are more than a buffer can hold");
        };
        Self {
            buffer: vec![0; bytes].into(),
            length,
            arrivals: vec![Arrival::NONE; datagrams].into(),
            filled: 0,
        }
    }

    /// How many the last call received.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// For how many there is room.
    pub fn capacity(&self) -> usize {
        self.arrivals.len()
    }

    /// One of those that the last call received, in order.
    pub fn get(&self, place: usize) -> Option<Received<'_>> {
        let arrival = self.arrivals[..self.filled].get(place)?;
        let from = place * self.length;
        Some(Received { bytes: &self.buffer[from..from + arrival.length], arrival })
    }

    /// What the last call received, in order.
    pub fn iter(&self) -> ReceivedIter<'_> {
        ReceivedIter { batch: self, next: 0 }
    }
}

impl<'a> IntoIterator for &'a RecvBatch {
    type Item = Received<'a>;
    type IntoIter = ReceivedIter<'a>;

    fn into_iter(self) -> ReceivedIter<'a> {
        self.iter()
    }
}

/// What a [`RecvBatch`] received, in order.
#[derive(Clone, Debug)]
pub struct ReceivedIter<'a> {
    batch: &'a RecvBatch,
    next: usize,
}

impl<'a> Iterator for ReceivedIter<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let received = self.batch.get(self.next)?;
        self.next += 1;
        Some(received)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for ReceivedIter<'_> {}

/// Without what came.
impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("RecvBatch");
        told.field("len", &self.filled).field("capacity", &self.capacity()).field("length", &self.length);
        told.finish_non_exhaustive()
    }
}

/// A datagram in a [`RecvBatch`], or several of one sender that the kernel joined.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    bytes: &'a [u8],
    arrival: &'a Arrival,
}

impl<'a> Received<'a> {
    /// What came; all of it, unless [`is_truncated`](Self::is_truncated).
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The sender's address.
    pub fn from(&self) -> SocketAddr {
        self.arrival.from
    }

    /// Whether it was longer than its place; the rest is lost.
    pub fn is_truncated(&self) -> bool {
        self.arrival.truncated
    }

    /// If the kernel joined several datagrams ([`UdpSocket::set_gro`]): the length of each of them but the last, which may
    /// be shorter.
    pub fn segment_size(&self) -> Option<usize> {
        self.arrival.segment
    }

    /// The datagrams that these bytes were: one, or those that the kernel joined.
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let whole = self.bytes.is_empty().then_some(self.bytes);
        let size = self.arrival.segment.unwrap_or(self.bytes.len()).max(1);
        whole.into_iter().chain(self.bytes.chunks(size))
    }
}

impl UdpSocket {
    /// Sends datagrams, in order, by one system call where the system has it (Linux), and returns how many the kernel
    /// took: at least one, unless there was none, and at most [`RecvBatch::MAX`]. Send the rest by another call. Waits
    /// while the kernel has no room for the first.
    ///
    /// Dropped: nothing has been sent.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), for the first of them, whose destination is named, with nothing sent. What goes
    /// wrong with a later one ends the batch before it; the next call, which begins with it, says what it is.
    pub async fn send_batch(&self, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
        let sent = self.fd.shared(Mode::Write, |fd| each(sys::send_batch(fd, datagrams)));
        sent.await.map_err(|error| match datagrams.first().and_then(Datagram::destination) {
            Some(to) => self.error_to("send_batch", error, to),
            None => self.error("send_batch", error),
        })
    }

    /// Receives what has come, up to the capacity of `batch`, by one system call where the system has it (Linux), and
    /// returns how many; waits if nothing has come. What was in the batch is gone.
    ///
    /// Dropped: nothing has been received.
    ///
    /// Not polled: it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), with nothing received. What goes wrong after the first datagram ends the batch, and the
    /// next operation on the socket says what it is (on Linux; elsewhere it may be lost).
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.filled = 0;
        let RecvBatch { buffer, length, arrivals, filled } = batch;
        let received = self.fd.shared(Mode::Read, |fd| each(sys::recv_batch(fd, buffer, *length, arrivals)));
        *filled = received.await.map_err(|error| self.error("recv_batch", error))?;
        Ok(*filled)
    }
}

/// Each datagram of a batch costs as much as an operation.
fn each(moved: io::Result<usize>) -> io::Result<usize> {
    if let Ok(n) = &moved {
        coop::spend(n.saturating_sub(1) as u64);
    }
    moved
}
