//! The behavior of the facade where tokio's own tests do not look: what is netpoll-rt's, and where the two meet.
//!
//! One module per subject. Where tokio's tests do look is the list `xtask/conform/tokio.txt`.

mod fs;
mod io;
mod net;
mod process;
mod runtime;
mod signal;
mod task;
mod time;
