//! Sockets: addresses in and out, operations by `&self`, deadlines on the connection.
//!
//! A socket may be shared by tasks (in an `Arc`, or by reference): one reads while another writes, several that read are
//! served in order, and any of them may close it. Every operation can be given up by dropping its future; the docs of
//! each say what has happened then.
//!
//! # What ends a wait
//!
//! | operation | closed before | closed meanwhile | deadline before | deadline meanwhile | peer closes | peer resets | dropped |
//! |---|---|---|---|---|---|---|---|
//! | `TcpStream`, `UnixStream`: `read` `readv` `peek` `poll_read` `with_io(Read, _)`; `UnixStream`: `recv_fds` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | `ConnectionReset` | nothing read |
//! | `TcpStream`, `UnixStream`: `read_exact` | closed | closed | `TimedOut` | `TimedOut` | `UnexpectedEof` | `ConnectionReset` | its part is lost |
//! | `TcpStream`, `UnixStream`: `readable` `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
//! | `TcpStream`: `write` `writev` `poll_write` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionReset` | `ConnectionReset` | nothing written |
//! | `TcpStream`: `write_all` | closed | closed | `TimedOut` | `TimedOut` | `ConnectionReset` | `ConnectionReset` | a part is written |
//! | `UnixStream`: `write` `writev` `poll_write` `with_io(Write, _)` `send_fds` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | nothing written |
//! | `UnixStream`: `write_all` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | a part is written |
//! | `PipeReader`: `read` `readv` `poll_read` `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | — | nothing read |
//! | `PipeReader`: `read_exact` | closed | closed | `TimedOut` | `TimedOut` | `UnexpectedEof` | — | its part is lost |
//! | `PipeReader`: `readable`; `PipeWriter`: `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | — | nothing |
//! | `PipeWriter`: `write` `writev` `poll_write` `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | — | nothing written |
//! | `PipeWriter`: `write_all` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | — | a part is written |
//! | `AsyncFd`: `with_io(Read, _)` | closed | closed | `TimedOut` | `TimedOut` | `Ok(0)` | `ConnectionReset` | nothing read |
//! | `AsyncFd`: `with_io(Write, _)` | closed | closed | `TimedOut` | `TimedOut` | `BrokenPipe` | `BrokenPipe` | nothing written |
//! | `AsyncFd`: `readable` `writable` | closed | closed | `TimedOut` | `TimedOut` | `Ok(())` | `Ok(())` | nothing |
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

mod addr;
mod async_fd;
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
pub use unix::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
pub use udp::{Datagram, Received, ReceivedIter, RecvBatch, UdpConfig, UdpSocket};
