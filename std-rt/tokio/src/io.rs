//! Traits, adapters and descriptors of I/O.

pub use upstream::io::*;

pub(crate) mod buffer;
pub(crate) mod evented;
mod ready;
mod stdio;
pub mod unix;

pub use ready::{Interest, Ready};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
