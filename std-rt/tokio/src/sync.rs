//! Channels and locks: tokio's own.

pub use upstream::sync::*;
