//! The traits of other crates, by which their users read and write the types of this one.
//!
//! Each module is a list of types for one crate. The work is done by [`ByteRead`](crate::net::stream::ByteRead) and
//! [`ByteWrite`](crate::net::stream::ByteWrite).

/// Implements a crate's trait of writing for types and for references to them. The arguments are the trait, its name for
/// the end of the stream, the methods that only this trait has, and how its docs describe the end.
macro_rules! impl_write {
    ($trait:path, $end:ident, $more:tt, $says:literal: $([$($generics:tt)*] $type:ty),+ $(,)?) => {$(
        impl_write!(@ $trait, $end, $more, $says, [$($generics)*] $type);
        impl_write!(@ $trait, $end, $more, $says, [$($generics)*] &$type);
    )+};
    (@ $trait:path, $end:ident, { $($more:item)* }, $says:literal, [$($generics:tt)*] $for:ty) => {
        /// The deadline applies as for `write`, and nothing is held between two polls. Several buffers are written by
        /// one system call. Bytes go to the kernel at once, so there is nothing to flush.
        #[doc = $says]
        impl<$($generics)*> $trait for $for {
            #[inline]
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.poll_send(cx, bytes)
            }

            #[inline]
            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_sendv(cx, buffers)
            }

            #[inline]
            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flushed(cx)
            }

            fn $end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }

            $($more)*
        }
    };
}

mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tokio")]
mod tokio;
