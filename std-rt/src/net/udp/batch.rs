//! Many datagrams by one system call: batches, and segments of one buffer that the kernel or the network card
//! cuts and joins.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Datagram, UdpSocket};
use crate::net::methods::*;
use crate::sys::mmsg as sys;
use crate::sys::udp::{Arrival, MAX_BATCH, NotCut};

/// A buffer for datagrams that are received together. It allocates nothing after its creation.
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
/// let mut count = 0;
/// while count < 2 {
///     count += there.recv_batch(&mut batch).await?;
///     for datagram in &batch {
///         println!("{}: {:?}", datagram.from(), datagram.bytes());
///     }
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub struct RecvBatch {
    /// One slot after another, each `length` bytes long.
    buffer: Box<[u8]>,
    length: usize,
    /// One for each slot.
    arrivals: Box<[Arrival]>,
    /// The number of slots that hold a datagram, from the front.
    filled: usize,
}

impl RecvBatch {
    /// The largest number of datagrams that one call sends or receives.
    pub const MAX: usize = MAX_BATCH;

    /// Creates a buffer for 1 to [`RecvBatch::MAX`] datagrams of at least 1 byte each; arguments outside of
    /// that are clamped. With [`UdpSocket::set_gro`] let `length` be 65535, because a slot may receive
    /// several datagrams.
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

    /// Returns how many datagrams the last call received.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Returns whether it holds no datagram.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Returns how many datagrams one call may receive.
    pub fn capacity(&self) -> usize {
        self.arrivals.len()
    }

    /// Returns one of the datagrams that the last call received, in order.
    pub fn get(&self, place: usize) -> Option<Received<'_>> {
        let arrival = self.arrivals[..self.filled].get(place)?;
        let from = place * self.length;
        Some(Received { bytes: &self.buffer[from..from + arrival.length], arrival })
    }

    /// Returns the datagrams that the last call received, in order.
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

/// The datagrams of a [`RecvBatch`], in order.
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

/// Omits the bytes.
impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RecvBatch");
        shown.field("len", &self.filled).field("capacity", &self.capacity()).field("length", &self.length);
        shown.finish_non_exhaustive()
    }
}

/// A datagram in a [`RecvBatch`], or several of one sender that the kernel joined.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    bytes: &'a [u8],
    arrival: &'a Arrival,
}

impl<'a> Received<'a> {
    /// Returns the bytes: all of them, unless [`is_truncated`](Self::is_truncated).
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the sender's address.
    pub fn from(&self) -> SocketAddr {
        self.arrival.from
    }

    /// Returns whether it was longer than its slot. The rest is lost.
    pub fn is_truncated(&self) -> bool {
        self.arrival.truncated
    }

    /// Returns the length of each datagram but the last, which may be shorter, if the kernel joined several
    /// ([`UdpSocket::set_gro`]).
    pub fn segment_size(&self) -> Option<usize> {
        self.arrival.segment
    }

    /// Returns the address of this host that it was sent to, after
    /// [`set_recv_packet_info`](UdpSocket::set_recv_packet_info). An IPv6 socket gives an IPv4 address in its mapped form. For a
    /// group or a broadcast it is that address.
    pub fn destination(&self) -> Option<IpAddr> {
        self.arrival.destination
    }

    /// Returns the index of the interface through which it came, after
    /// [`set_recv_packet_info`](UdpSocket::set_recv_packet_info).
    pub fn interface(&self) -> Option<u32> {
        self.arrival.interface
    }

    /// Returns its traffic class, after [`set_recv_traffic_class`](UdpSocket::set_recv_traffic_class). Its lower two bits are ECN
    /// (3 is "congestion experienced"), the upper six the DSCP. Datagrams that the kernel joined have the same one.
    pub fn traffic_class(&self) -> Option<u8> {
        self.arrival.class
    }

    /// Returns the datagrams that these bytes were: one, or the ones that the kernel joined.
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let whole = self.bytes.is_empty().then_some(self.bytes);
        let size = self.arrival.segment.unwrap_or(self.bytes.len()).max(1);
        whole.into_iter().chain(self.bytes.chunks(size))
    }
}

/// The largest number of bytes that one IPv4 datagram has, and that the kernel cuts at once.
const LONGEST: usize = 65_507;

const WRONG_SIZE: &str = "the size of a segment must be within 1 to 65507";

impl UdpSocket {
    /// Sends datagrams, in order, by one system call where the system has it (Linux). Returns how many the
    /// kernel took: at least one, unless `datagrams` is empty, and at most [`RecvBatch::MAX`]. Send the rest
    /// by another call. Waits while the kernel has no space for the first.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future sent nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to) for the first datagram, with its destination; nothing
    /// has been sent then. An error of a later one ends the batch before it; the next call, which begins with
    /// it, returns that error.
    pub async fn send_batch(&self, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
        let sent = self.fd.shared(Mode::Write, |fd| charged(sys::send_batch(fd, datagrams)));
        let first = datagrams.first().and_then(Datagram::destination);
        sent.await.map_err(|error| self.error_of_send("send_batch", error, first))
    }

    /// Receives the datagrams that are there, up to the capacity of `batch`, by one system call where the
    /// system has it (Linux), and returns how many; waits if there is none. It replaces the datagrams of the
    /// batch.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the future received nothing. Unpolled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv), with nothing received. An error after the first datagram
    /// ends the batch, and the next operation on the socket returns it (on Linux; elsewhere it may be lost).
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.filled = 0;
        let RecvBatch { buffer, length, arrivals, filled } = batch;
        let received =
            self.fd.shared(Mode::Read, |fd| charged(sys::recv_batch(fd, buffer, *length, arrivals)));
        *filled = received.await.map_err(|error| self.error("recv_batch", error))?;
        Ok(*filled)
    }

    /// Polls to send datagrams, as [`send_batch`](Self::send_batch) does. Nothing is held between two polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_batch`](Self::send_batch).
    pub fn poll_send_batch(
        &self,
        cx: &mut Context<'_>,
        datagrams: &[Datagram<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = self.fd.run(Mode::Write, |fd| charged(sys::send_batch(fd, datagrams))).poll_once(cx);
        let first = datagrams.first().and_then(Datagram::destination);
        sent.map_err(|error| self.error_of_send("send_batch", error, first))
    }

    /// Polls to receive datagrams, as [`recv_batch`](Self::recv_batch) does. Nothing is held between two polls.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_batch`](Self::recv_batch).
    pub fn poll_recv_batch(&self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<usize>> {
        batch.filled = 0;
        let RecvBatch { buffer, length, arrivals, filled } = batch;
        let receive = |fd: BorrowedFd<'_>| charged(sys::recv_batch(fd, buffer, *length, arrivals));
        let received = self.fd.run(Mode::Read, receive).poll_once(cx);
        received
            .map_ok(|n| *filled = n)
            .map_err(|error| self.error("recv_batch", error))
            .map_ok(|()| batch.filled)
    }

    /// Reports to which address of this host, and through which interface, each datagram of
    /// [`recv_batch`](Self::recv_batch) came (`IP_PKTINFO`, `IPV6_RECVPKTINFO`; off by default): for a socket that is bound to all
    /// addresses.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `Unsupported` on systems other than Linux.
    pub fn set_recv_packet_info(&self, on: bool) -> io::Result<()> {
        self.call("set_recv_packet_info", |fd| sys::set_recv_packet_info(fd, on))
    }

    /// Reports the traffic class of each datagram of [`recv_batch`](Self::recv_batch), and so its ECN (`IP_RECVTOS`,
    /// `IPV6_RECVTCLASS`; off by default).
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `Unsupported` on systems other than Linux.
    pub fn set_recv_traffic_class(&self, on: bool) -> io::Result<()> {
        self.call("set_recv_traffic_class", |fd| sys::set_recv_traffic_class(fd, on))
    }

    /// Sends `bytes` as datagrams of `segment_size` bytes, 1 to 65507, of which the last may be shorter, to
    /// the peer or to an address. Where the kernel cuts them (Linux 4.18), up to 64 at a time cost little
    /// more than one datagram; otherwise they are sent one by one. Waits while the kernel has no space. Empty
    /// `bytes` send nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: any number of them, from the first on, may have been sent. While it is not
    /// polled, it keeps its [turn](crate::net#turns).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to); any number of them may have been sent. Returns
    /// `InvalidInput` for another `segment_size`.
    pub async fn send_segments(
        &self,
        bytes: &[u8],
        segment_size: usize,
        to: Option<SocketAddr>,
    ) -> io::Result<()> {
        coop::proceed().await;
        let failed = |error| self.error_of_send("send_segments", error, to);
        let segment = match u16::try_from(segment_size) {
            Ok(segment) if (1..=LONGEST).contains(&segment_size) => segment,
            _ => return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, WRONG_SIZE))),
        };
        // After a refusal the rest is not cut either.
        let mut cut = self.cannot_cut.get().is_none();
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = self.fd.shared(Mode::Write, |fd| self.send_some(fd, rest, segment, to, &mut cut));
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
        cut: &mut bool,
    ) -> io::Result<usize> {
        let size = usize::from(segment);
        let at_once = (LONGEST / size).min(MAX_BATCH) * size;
        let bytes = &bytes[..bytes.len().min(at_once)];
        if *cut && bytes.len() > size && sys::can_cut(fd) {
            match sys::send_cut(fd, bytes, segment, to.as_ref()) {
                Err(error) => match sys::why_not_cut(&error) {
                    Some(why) => {
                        *cut = false;
                        // A size concerns this message alone. A route that cannot cut concerns the next ones
                        // too.
                        if why == NotCut::Route {
                            self.cannot_cut.get_or_init(|| ());
                        }
                    }
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

    fn error_of_send(&self, op: &'static str, error: io::Error, to: Option<SocketAddr>) -> io::Error {
        match to {
            Some(to) => self.error_to(op, error, to),
            None => self.error(op, error),
        }
    }

    /// Lets the kernel join datagrams of one sender that follow each other and have the same length
    /// (`UDP_GRO`, Linux 5.0; off by default). Receive them with [`recv_batch`](Self::recv_batch), which
    /// reports their boundaries; the other calls do not.
    ///
    /// # Errors
    ///
    /// Returns an error if it is closed; `Unsupported` or `ENOPROTOOPT` if the kernel cannot join them.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.call("set_gro", |fd| sys::set_gro(fd, on))
    }
}

/// Takes the budget of a batch: each of its datagrams costs as much as an operation.
fn charged(moved: io::Result<usize>) -> io::Result<usize> {
    if let Ok(n) = &moved {
        coop::spend(n.saturating_sub(1) as u64);
    }
    moved
}
