//! Guides: how to move a program here, what runs here as it is, and recipes.
//!
//! This is documentation only; `tests/features` compiles and runs its examples.

/// Coming from tokio: their name, ours, and what differs.
#[doc = include_str!("guide/from_tokio.md")]
pub mod from_tokio {}

/// Coming from Go.
#[doc = include_str!("guide/from_go.md")]
pub mod from_go {}

/// What works from tokio and its ecosystem as it is.
#[doc = include_str!("guide/with_tokio.md")]
pub mod with_tokio {}

/// The runtime that a socket, a timer and a task belong to.
#[doc = include_str!("guide/runtimes.md")]
pub mod runtimes {}

/// Recipes: standard input, files, names, metrics, a graceful end, timeouts.
#[doc = include_str!("guide/cookbook.md")]
pub mod cookbook {}

/// Limits: what this crate does not do, and its bounds.
#[doc = include_str!("guide/limits.md")]
pub mod limits {}
