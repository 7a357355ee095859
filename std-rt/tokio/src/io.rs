//! Traits, adapters and descriptors of I/O.

pub use upstream::io::*;

mod stdio;

pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
