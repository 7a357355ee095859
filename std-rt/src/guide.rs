//! Guides for programs that come from tokio or Go, and recipes.
//!
//! This is documentation only; `tests/features` compiles and runs its examples.

/// Coming from tokio: the names of tokio beside those of this crate, and the differences.
#[doc = include_str!("guide/from_tokio.md")]
pub mod from_tokio {}

/// Coming from Go.
#[doc = include_str!("guide/from_go.md")]
pub mod from_go {}

/// Parts of tokio and crates of its ecosystem that work here as they are.
#[doc = include_str!("guide/with_tokio.md")]
pub mod with_tokio {}

/// The runtime that a socket, a timer and a task belong to.
#[doc = include_str!("guide/runtimes.md")]
pub mod runtimes {}

/// Recipes: standard input, files, names, metrics, a graceful end, timeouts.
#[doc = include_str!("guide/cookbook.md")]
pub mod cookbook {}

/// A network in a seed: tests in which hosts, links and time are simulated.
#[doc = include_str!("guide/simulation.md")]
pub mod simulation {}

/// Limits, bounds, and the promises of a version.
#[doc = include_str!("guide/limits.md")]
pub mod limits {}
