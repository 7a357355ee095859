//! TCP: the halves of streams. The sockets are in [`net`](crate::net).

pub(crate) mod listener;
pub(crate) mod socket;
mod split;
pub(crate) mod stream;

use listener::TcpListener;
use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
use stream::TcpStream;
