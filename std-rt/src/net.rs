//! Sockets and pipes: operations by `&self`, deadlines on the connection, errors with both addresses.
//!
//! Tasks may share a socket, in an `Arc` or by reference: one reads while another writes, several readers are
//! served in order, and any of them may close it. To cancel an operation, drop its future; the documentation
//! of each method tells the state after that.
//!
//! # To which runtime a socket belongs
//!
//! A socket belongs to the runtime that the creating thread runs for: by `bind`, `connect`, `pair`,
//! `from_std` and the like, in a task, in `block_on` or in `spawn_blocking`. On a thread without a runtime it
//! belongs to the default runtime. An accepted connection belongs to the runtime of its listener, and a `dup`
//! to that of its original.
//!
//! It can be used in any other runtime and with any executor, as long as its own runtime lives, because the
//! kernel reports its events to that one.
//!
//! | its runtime | an operation that need not wait | an operation that must wait, or waits |
//! |---|---|---|
//! | runs | succeeds | waits |
//! | has one worker, and no thread is in its `block_on` | succeeds | waits; a thread of the runtime polls meanwhile, for tasks that are not its own |
//! | was dropped or shut down | succeeds | fails, see [`runtime_ended`](crate::runtime_ended) |
//! | belongs to the process that this one was forked from | succeeds, and shares the socket with that process | fails in the same way |
//!
//! `into_std` and `from_std` move a socket to another runtime, without its deadlines.
//!
//! # Turns
//!
//! Operations of one direction (reads and accepts; writes) take turns in the order of their first polls: the
//! first gets the input that comes, and the bytes of a [`write_all`](TcpStream::write_all) stay together. An
//! operation keeps its turn until it has ended or is dropped, whether its future is polled or not. So do not
//! keep an operation that waits while you await another one of its direction on the same socket, in a
//! `select` for example: poll it or drop it.
//!
//! | a future that is neither polled nor dropped | delays | does not delay |
//! |---|---|---|
//! | an operation that waits for input, a connection, space | later ones of its direction, until their deadline or `close` | `close`; the other direction; datagrams that are there before an operation must wait |
//! | `readable`, `writable` | nothing | `try_*` and all operations |
//! | a `poll_*` function, `incoming().poll_next` | nothing | all operations |
//! | an operation on a [`File`](crate::fs::File) | nothing: it proceeds without polls | |
//!
//! `close` ends every wait, and returns once no call uses the number any more and it is free.
//!
//! # What ends a wait
//!
//! The table shows the result of an operation that waits, by the event that ends the wait. A row applies to
//! each method of each type in it, and each cell is a test: `tests/it/net_table.rs` reads the table and plays
//! it, on Linux.
//!
//! * **closed**: this program called `close`, before the operation began or while it waited. The result is an
//!   error that [`is_closed`](crate::is_closed) knows.
//! * **deadline**: it had passed before the operation began, whether or not there was input or space; or it
//!   passes while the operation waits. A connect has no object yet, so its deadline is an argument. A timeout
//!   (`set_read_timeout`) ends a wait in the same way, and never an operation that need not wait.
//! * **peer closes**, in order. For a connect: no socket listens any more. For an accept: the client has
//!   closed already, and the connection will report that. An operation that waits for space has a peer that
//!   has not read everything; with TCP its close is a reset.
//! * **peer resets**: the reset of TCP. For a Unix socket: the peer closes, or (`UnixDatagram`) connects to
//!   another socket, and has not read everything. For a UDP socket: the peer's host has reported that no
//!   socket received an earlier datagram. One operation gets this error, and an operation that waits is
//!   woken. A UDP send hardly ever waits, so these two columns are of a send that begins after the event.
//! * **dropped**: the effect of the operation, if the future is dropped while it waits.
//!
//! `Ok(0)` is the end, `Ok(n)` is not; "waits on": no event reports it; "—": does not apply.
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
//! `with_io` returns the result of its closure, here a read, a write or an accept; [`AsyncFd`] is here a Unix
//! stream. `it` is the side of a copy ([`io`](crate::io)) that the copy waits for: only events of that side
//! end the wait, and events of the other side are found when its turn comes. A copy both ways ends when both
//! sides have ended. `poll_read`, `poll_write` and `poll_next` are those of the traits, and hold nothing
//! between two polls: after them a parked waker remains until an event comes or another operation replaces
//! it.
//!
//! `connect` of Unix sockets, and the sends of `UnixDatagram` to an address, try again after delays of up to
//! 10 ms, because no kernel reports free space there. They learn of an event with that delay.
//!
//! `close` waits as well, until no call uses the number. It has no deadline, and continues if its future is
//! dropped.

mod addr;
mod async_fd;
mod bytes;
#[doc(hidden)]
pub mod connect;
mod incoming;
pub(crate) mod methods;
pub(crate) mod options;
pub mod pipe;
mod split;
pub(crate) mod stream;
mod tcp;
mod timeouts;
mod udp;
pub mod unix;

pub use crate::fd::{Evented, Ready, ReadyEvent, ReadySet};
pub use addr::ToSocketAddrs;
pub use async_fd::{AsyncFd, Interest};
pub use connect::config::ConnectConfig;
pub use connect::errors::AddressErrors;
pub use incoming::Incoming;
pub use options::Keepalive;
pub use pipe::{PipeReader, PipeWriter};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError, Split};
pub use tcp::{TcpListener, TcpSocket, TcpStream, accept};
pub use udp::{Datagram, Received, ReceivedIter, RecvBatch, UdpConfig, UdpSocket};
pub use unix::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
