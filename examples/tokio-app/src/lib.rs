//! A program of the ecosystem of tokio: servers of HTTP, gRPC and WebSocket, and a database. Nothing in it knows netpoll.

pub mod grpc;
pub mod web;
pub mod ws;

/// An error of any library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
