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

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls a future once, with a waker that does nothing.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
