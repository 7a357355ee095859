//! The runtime, its builder and its handle.

use netpoll_rt::Handle;

/// Returns the current runtime.
///
/// # Panics
///
/// Panics outside of a runtime.
#[track_caller]
pub(crate) fn current() -> Handle {
    match Handle::try_current() {
        Some(handle) => handle,
        None => panic!("there is no reactor running, must be called from the context of a Tokio 1.x runtime"),
    }
}

/// Returns the runtime of new timers.
///
/// # Panics
///
/// Panics outside of a runtime.
#[track_caller]
pub(crate) fn timers() -> Handle {
    current()
}
