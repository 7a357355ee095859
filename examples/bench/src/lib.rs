//! The measurements of the benchmark. They are the same code for every runtime: a peer implements [`Peer`] and calls
//! [`peer::main`]. The programs of this package:
//!
//! | program | |
//! |---|---|
//! | `bench` | runs the workloads and writes the pages: `cargo xtask bench` |
//! | `ours_peer`, `tokio_peer`, `smol_peer` | a runtime under the measurements, and its echo server |
//! | `loop_peer` | an echo server on epoll, without a runtime |
//! | `loadgen` | the load for all echo servers |
//! | `core_bench` | operations of the core, beside Go's algorithm |

mod beside;
mod fire;
mod micro;
mod multi;
pub mod peer;
pub mod process;
pub mod samples;
mod sync;
mod timers;

pub use peer::Peer;
