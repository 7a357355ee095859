//! The types of `net` as the scenes use them: closed, timed, fed and emptied.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Instant;

use netpoll_rt::net::pipe::{PipeReader, PipeWriter};
use netpoll_rt::net::{AsyncFd, TcpListener, TcpStream, UdpSocket};
use netpoll_rt::net::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};

use super::scene::{End, Later};

/// Fails, for an end that cannot do this.
pub fn never<T>(_: T) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

macro_rules! end {
    ($type:ty, $set_deadline:ident, |$give:ident, $bytes:pat_param| $gives:expr, |$take:ident, $buffer:pat_param| $takes:expr) => {
        impl End for $type {
            fn close(&self) -> Later<'_, io::Result<()>> {
                Box::pin(<$type>::close(self))
            }

            fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
                self.$set_deadline(deadline)
            }

            fn give(&self, $bytes: &[u8]) -> io::Result<usize> {
                let $give = self;
                $gives
            }

            fn take(&self, $buffer: &mut [u8]) -> io::Result<usize> {
                let $take = self;
                $takes
            }
        }
    };
}

end!(TcpStream, set_deadline, |it, bytes| it.try_write(bytes), |it, buffer| it.try_read(buffer));
end!(UnixStream, set_deadline, |it, bytes| it.try_write(bytes), |it, buffer| it.try_read(buffer));
end!(PipeReader, set_read_deadline, |_it, bytes| never(bytes), |it, buffer| it.try_read(buffer));
end!(PipeWriter, set_write_deadline, |it, bytes| it.try_write(bytes), |_it, buffer| never(buffer));
end!(UdpSocket, set_deadline, |it, bytes| it.try_send(bytes), |it, buffer| it.try_recv(buffer));
end!(UnixDatagram, set_deadline, |it, bytes| it.try_send(bytes), |it, buffer| it.try_recv(buffer));
end!(UnixSeqpacket, set_deadline, |it, bytes| it.try_send(bytes), |it, buffer| it.try_recv(buffer));
end!(TcpListener, set_deadline, |_it, bytes| never(bytes), |_it, buffer| never(buffer));
end!(UnixListener, set_deadline, |_it, bytes| never(bytes), |_it, buffer| never(buffer));
end!(UnixSeqpacketListener, set_deadline, |_it, bytes| never(bytes), |_it, buffer| never(buffer));

/// A descriptor that this crate has no type for.
pub type Foreign = AsyncFd<StdUnixStream>;

end!(Foreign, set_deadline, |it, bytes| it.get_ref().write(bytes), |it, buffer| it.get_ref().read(buffer));
