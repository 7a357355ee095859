//! The behavior of the facade where tokio's own tests do not look: what is netpoll-rt's, and where the two meet.
//!
//! One module per subject. Where tokio's tests do look is the list `xtask/conform/tokio.txt`.

mod fs;
mod io;
mod net;
mod process;
mod signal;
mod task;
mod time;

use std::future::Future;
use std::panic::{UnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls a future once, with a waker that does nothing.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Asserts that a call panics as every one does that needs a runtime and is made outside of one.
fn assert_needs_runtime<R>(call: impl FnOnce() -> R + UnwindSafe) {
    let panicked = catch_unwind(call).err().expect("the call needs no runtime");
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(text.starts_with("there is no reactor running"), "{text}");
}
