//! Rust files as lists of tokens and comments.

pub mod source;
