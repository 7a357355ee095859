//! Sockets: addresses in and out, operations by `&self`, deadlines on the connection.
//!
//! A socket may be shared by tasks (in an `Arc`, or by reference): one reads while another writes, several that read are
//! served in order, and any of them may close it. Every operation can be given up by dropping its future; the docs of
//! each say what has happened then.

mod addr;
mod async_fd;
mod connect;
mod incoming;
pub(crate) mod methods;
pub mod pipe;
mod tcp;
mod udp;
pub mod unix;

pub use addr::ToSocketAddrs;
pub use async_fd::{AsyncFd, Interest};
pub use tcp::{TcpListener, TcpSocket, TcpStream};
