//! The traits of other crates, by which their users read and write the types of this one.
//!
//! Each module is a list of types for one crate. The work is done by [`ByteRead`](crate::net::stream::ByteRead) and
//! [`ByteWrite`](crate::net::stream::ByteWrite).

mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tokio")]
mod tokio;
