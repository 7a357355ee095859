//! The ecosystem's libraries on netpoll, each in one file that a program can take as its start.
//!
//! | file | shows |
//! |---|---|
//! | `server.rs` | HTTP/1 and HTTP/2 by hyper, with TLS: limits, timeouts, graceful shutdown |
//! | `app.rs` | an axum `Router` |
//! | `tls.rs` | certificates, and the configuration of both ends |
//! | `client.rs` | hyper-util's client with its pool of connections |
//! | `grpc.rs` | a service of tonic and its client, without tonic's transport |
//! | `database.rs` | Postgres and Redis |
//! | `dns.rs` | hickory's resolver by its trait of a runtime |
//! | `quic.rs` | the runtime of quinn |
//!
//! `cargo run --release --bin serve` starts the server. It is short because of the features `hyper` and `tokio` of `netpoll_rt`:
//! its sockets have the traits of both, and its `Handle` is hyper's timer and executor.

pub mod app;
pub mod client;
pub mod database;
pub mod dns;
pub mod grpc;
pub mod quic;
pub mod server;
pub mod tls;

/// An error of any of the libraries.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
