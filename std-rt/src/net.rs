//! Sockets: addresses in and out, operations by `&self`, deadlines on the connection.
//!
//! A socket may be shared by tasks (in an `Arc`, or by reference): one reads while another writes, several that read are
//! served in order, and any of them may close it. Every operation can be given up by dropping its future; the docs of
//! each say what has happened then.
//!
//! # To which runtime a socket belongs
//!
//! To the one that the thread runs for which makes it: by `bind`, `connect`, `pair`, `from_std` and the like, in a task, in
//! `block_on` or in `spawn_blocking`. On a thread that runs for none it is the default runtime. A connection that is
//! accepted belongs to the runtime of its listener, and so does a `dup` to that of its original.
//!
//! It can be used in any other runtime and with any executor, for as long as its own lives: that one is told by the kernel.
//!
//! | its runtime | an operation that need not wait | one that has to wait, or waits |
//! |---|---|---|
//! | runs | goes on | waits |
//! | has one worker, and no thread is in its `block_on` | goes on | waits; a thread of the runtime polls meanwhile, for tasks that are not its own |
//! | was dropped or shut down | goes on | fails, see [`runtime_ended`](crate::runtime_ended) |
//! | belongs to the process that this one was forked from | goes on, and shares the socket with that process | fails in the same way |
//!
//! `into_std` and `from_std` take a socket to another runtime. A deadline does not go with it.
//!
//! # Turns
//!
//! Operations of one direction (reads and accepts; writes) have their turns in the order of their first polls: a byte that
//! comes is for the first, and what [`write_all`](TcpStream::write_all) writes is not torn. An operation keeps its turn until
//! it has ended or is dropped, whether its future is polled or not. So do not hold an operation that waits while you await
//! another one of its direction on the same socket, in a `select` for example: poll it or drop it.
//!
//! | a future that is neither polled nor dropped | holds up | does not hold up |
//! |---|---|---|
//! | an operation that waits for bytes, a connection, room | those of its direction that came later, until their deadline or `close` | `close`; the other direction; datagrams that are there before one has to wait |
//! | `readable`, `writable` | nothing | `try_*` and all operations |
//! | a `poll_*` function, `incoming().poll_next` | nothing | all operations |
//! | an operation on a [`File`](crate::fs::File) | nothing: it is made without being polled | |
//!
//! `close` ends every wait, and returns once no call uses the number any more and it is free.
//!
//! # What ends a wait
//!
//!
//! What an operation that waits gives when this happens to it. A row speaks of each method of each type in it, and each
//! cell is a test: `tests/it/net_table.rs` reads the table and plays it, on Linux.
//!
//! * **closed**: this program called `close`, before the operation began or while it waited. It is an error, which
//!   [`is_closed`](crate::is_closed) knows.
//! * **deadline**: it had passed before, and something to be had makes no difference; or it passes while the operation
//!   waits. Of a connect it is the time that this is given, as it has no object yet.
//! * **peer closes**, in order. Of a connect: nobody listens any more. Of an accept: who connected has closed already, which
//!   the connection will tell. Who waits for room has a peer that has not read everything; to close then is to reset, for
//!   TCP.
//! * **peer resets**: TCP's reset. Of a Unix socket the peer closes, or (`UnixDatagram`) connects to another, without having
//!   read everything. Of a UDP socket its host has answered an earlier datagram: nobody is there. One operation is told so,
//!   and one that waits is woken. To send with UDP hardly ever waits; these two columns are of a send that begins after it.
//! * **dropped**: what has become of it, when the future is dropped while it waits.
//!
//! `Ok(0)` is the end, `Ok(n)` is not; "waits on": nothing tells it; "—": there is no such thing.
//!
//! | operation | closed before | closed meanwhile | deadline before | deadline meanwhile | peer closes | peer resets | dropped |
//! |---|---|---|---|---|---|---|---|
//! | `TcpStream`, `UnixStream`: `read` `read_buf` `readv` `peek` `poll_read` `with_io(Read, _)`; `UnixStream`: `recv_fds` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | `ConnectionReset` | nothing read |
//! | `TcpStream`, `UnixStream`: `read_exact` | closed | closed | `TimedOut` | `TimedOut` | `UnexpectedEof` | `ConnectionReset` | its part is lost |
//! | `TcpStream`, `UnixStream`: `readable` `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
//! | `TcpStream`: `write` `writev` `poll_write` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionReset` | `ConnectionReset` | nothing written |
//! | `TcpStream`: `write_all` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionReset` | `ConnectionReset` | a part is written |
//! | `UnixStream`: `write` `writev` `poll_write` `with_io(Write, _)` `send_fds` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | nothing written |
//! | `UnixStream`: `write_all` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | a part is written |
//! | `PipeReader`: `read` `read_buf` `readv` `poll_read` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | — | nothing read |
//! | `PipeReader`: `read_exact` | closed | closed | `TimedOut` | `TimedOut` | `UnexpectedEof` | — | its part is lost |
//! | `PipeReader`: `readable`; `PipeWriter`: `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | — | nothing |
//! | `PipeWriter`: `write` `writev` `poll_write` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | — | nothing written |
//! | `PipeWriter`: `write_all` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | — | a part is written |
//! | `AsyncFd`: `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | `ConnectionReset` | nothing read |
//! | `AsyncFd`: `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | nothing written |
//! | `AsyncFd`: `readable` `writable` `ready(Read)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
//! | `UdpSocket`: `recv` `recv_from` `recv_batch` `peek` `peek_from` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | waits on | `ConnectionRefused` | nothing received |
//! | `UdpSocket`: `readable` | closed | closed | `TimedOut` | `TimedOut` | waits on | `Ok(())` | nothing |
//! | `UdpSocket`: `send` `send_to` `send_batch` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(n)` | `ConnectionRefused` | nothing sent |
//! | `UdpSocket`: `send_segments` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `ConnectionRefused` | some may be sent |
//! | `UdpSocket`: `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
//! | `UnixDatagram`: `recv` `recv_from` `recv_fds` `recv_fds_from` `peek` `peek_from` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | waits on | `ConnectionReset` | nothing received |
//! | `UnixDatagram`: `readable` | closed | closed | `TimedOut` | `TimedOut` | waits on | `Ok(())` | nothing |
//! | `UnixDatagram`: `send` `send_fds` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionRefused` | `ConnectionReset` | nothing sent |
//! | `UnixDatagram`: `send_to` `send_to_addr` `send_fds_to_addr` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionRefused` | `PermissionDenied` | nothing sent |
//! | `UnixDatagram`: `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
//! | `UnixSeqpacket`: `recv` `recv_fds` `peek` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | `ConnectionReset` | nothing received |
//! | `UnixSeqpacket`: `send` `send_fds` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionReset` | `ConnectionReset` | nothing sent |
//! | `UnixSeqpacket`: `readable` `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
//! | `TcpListener`: `accept` `incoming().next` `incoming().poll_next` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | a connection | a connection | no connection is lost |
//! | `UnixListener`, `UnixSeqpacketListener`: `accept` `incoming().next` `incoming().poll_next` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | a connection | — | no connection is lost |
//! | `TcpStream`: `connect_deadline` `connect_timeout` | — | — | `TimedOut` | `TimedOut` | `ConnectionRefused` | `ConnectionRefused` | given up |
//! | `TcpStream`, `TcpSocket`: `connect` | — | — | — | — | `ConnectionRefused` | `ConnectionRefused` | given up |
//! | `UnixStream`, `UnixSeqpacket`: `connect_timeout` | — | — | a connection | `TimedOut` | `ConnectionRefused` | — | given up |
//! | `UnixStream`, `UnixSeqpacket`: `connect` `connect_addr` | — | — | — | — | `ConnectionRefused` | — | given up |
//! | `TcpStream`, `UnixStream`: `copy(&it, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | `ConnectionReset` | nothing is lost |
//! | `PipeReader`: `copy(&it, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | — | nothing is lost |
//! | `TcpStream`: `copy(_, &it)` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionReset` | `ConnectionReset` | what it had read is lost |
//! | `UnixStream`: `copy(_, &it)` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | what it had read is lost |
//! | `PipeWriter`: `copy(_, &it)` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | — | what it had read is lost |
//! | `TcpStream`, `UnixStream`: `copy_bidirectional(&it, _)` | closed | closed | `TimedOut` | `TimedOut` | waits on | `ConnectionReset` | nothing is lost |
//!
//! `with_io` gives what its closure gives, here a read, a write or an accept; [`AsyncFd`] is here a Unix stream. `it` is the
//! side of a copy ([`io`](crate::io)) that the copy waits for: only that one ends the wait, and what happens to the other is
//! found when its turn comes. A copy both ways ends when both sides have ended. `poll_read`, `poll_write` and `poll_next`
//! are those of the traits, and hold nothing between two polls: given up, they leave a parked waker behind, until an event
//! comes or another operation takes its place.
//!
//! `connect` of Unix sockets, and `UnixDatagram`'s sends to an address, try again after pauses of up to 10 ms, since no
//! kernel tells who waits there. They are that much later to learn what has happened.
//!
//! `close` waits as well, until the operations in flight have let go. It has no deadline, and goes on when it is dropped.

mod addr;
mod async_fd;
mod bytes;
#[doc(hidden)]
pub mod connect;
mod incoming;
pub(crate) mod methods;
pub(crate) mod options;
pub mod pipe;
mod tcp;
mod udp;
pub mod unix;

pub use addr::ToSocketAddrs;
pub use async_fd::{AsyncFd, Interest};
pub use connect::errors::AddressErrors;
pub use incoming::Incoming;
pub use options::Keepalive;
pub use pipe::{PipeReader, PipeWriter};
pub use tcp::{TcpListener, TcpSocket, TcpStream};
pub use udp::{Datagram, Received, ReceivedIter, RecvBatch, UdpConfig, UdpSocket};
pub use unix::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
