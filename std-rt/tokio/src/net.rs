//! TCP, UDP and Unix sockets, and pipes, with tokio's names and semantics.
//!
//! A descriptor belongs to the runtime in which it was made, and is [`Evented`](netpoll_rt::net::Evented) of netpoll-rt: its
//! readiness stays until a call finds nothing.

mod addr;
mod halves;
mod methods;
pub mod tcp;
mod udp;
pub mod unix;

pub use addr::{ToSocketAddrs, lookup_host};
pub use tcp::listener::TcpListener;
pub use tcp::socket::TcpSocket;
pub use tcp::stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::datagram::UnixDatagram;
pub use unix::listener::UnixListener;
pub use unix::socket::UnixSocket;
pub use unix::stream::UnixStream;
