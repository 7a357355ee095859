//! Traits, adapters and descriptors of I/O.

pub use upstream::io::*;
