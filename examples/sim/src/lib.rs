//! Two small programs of HTTP, each a server and a client, as they would be written for a network: one by axum, one by hyper
//! alone, on the types of netpoll-rt. Nothing in them knows a simulation; `tests/it.rs` runs them in one.

pub mod axum_sum;
pub mod hyper_echo;

/// The error of either program.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The port of either server.
pub const PORT: u16 = 80;
