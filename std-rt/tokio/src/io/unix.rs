//! Descriptors of Unix.

mod async_fd;

#[doc(hidden)]
#[allow(deprecated, reason = "the former name of the error is part of tokio's interface")]
pub use async_fd::AsyncFdTryNewError;
pub use async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, AsyncFdRegisterError, TryIoError};
