//! Small programs of tokio, each a server and a client, as they would be written for a network: their only sockets, timers and
//! tasks are tokio's. Nothing in them knows a simulation; `tests/it.rs` runs them in one.

pub mod counter;
pub mod datagrams;
pub mod store;

/// The error of a program.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The port of each server.
pub const PORT: u16 = 80;
