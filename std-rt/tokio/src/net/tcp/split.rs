//! The halves of a TCP stream.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::TcpStream;
use crate::io::ReadBuf;
use crate::net::halves::halves;

halves!(TcpStream, SocketAddr);

/// Writes the peeks of a reading half.
macro_rules! peeks {
    ($($half:ty),+) => {$(
        impl $half {
            /// Polls to read and leave the bytes in the queue.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error; an error if the runtime has ended.
            pub fn poll_peek(
                &mut self,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<usize>> {
                self.stream().poll_peek(cx, buf)
            }

            /// Reads and leaves the bytes in the queue.
            ///
            /// # Errors
            ///
            /// Returns the kernel's error; an error if the runtime has ended.
            pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream().peek(buf).await
            }
        }
    )+};
}

peeks!(ReadHalf<'_>, OwnedReadHalf);
