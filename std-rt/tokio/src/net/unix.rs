//! Unix sockets' halves, addresses and credentials, and pipes. The sockets are in [`net`](crate::net).

mod address;
#[doc(hidden)]
pub mod datagram;
pub(crate) mod listener;
pub mod pipe;
pub(crate) mod socket;
mod split;
pub(crate) mod stream;
mod ucred;

pub use address::SocketAddr;
use datagram::UnixDatagram;
use listener::UnixListener;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
use stream::UnixStream;
pub use ucred::UCred;

/// The number of a user.
#[allow(non_camel_case_types, reason = "tokio's name")]
pub type uid_t = u32;

/// The number of a group.
#[allow(non_camel_case_types, reason = "tokio's name")]
pub type gid_t = u32;

/// The number of a process or of a group of processes.
#[allow(non_camel_case_types, reason = "tokio's name")]
pub type pid_t = i32;
