//! The paused clock of tests, which is that of netpoll-rt.

use netpoll_rt::time;

use super::Duration;
use crate::runtime::Handle;

/// The message of a call outside of a runtime.
const OUTSIDE: &str = "time cannot be frozen from outside the Tokio runtime";

/// The message of a runtime with threads.
pub(crate) const NEEDS_CURRENT_THREAD: &str = "`time::pause()` requires the `current_thread` Tokio runtime. This is the \
    default Runtime used by `#[tokio::test].";

/// Pauses the clock of the runtime. It moves to the next timer when the runtime has nothing to do; see the module
/// `time` of netpoll-rt.
///
/// # Panics
///
/// Panics if the clock is paused already, outside of a runtime, and in one that is not of
/// [`new_current_thread`](crate::runtime::Builder::new_current_thread).
#[track_caller]
pub fn pause() {
    let runtime = Handle::try_current().unwrap_or_else(|_| panic!("{OUTSIDE}"));
    assert!(runtime.may_pause(), "{NEEDS_CURRENT_THREAD}");
    assert!(!time::is_paused(), "time is already frozen");
    time::pause();
}

/// Lets the paused clock go on from where it stands.
///
/// # Panics
///
/// Panics if the clock is not paused, and outside of a runtime.
#[track_caller]
pub fn resume() {
    assert_paused();
    time::resume();
}

/// Moves the paused clock forward, all at once. The tasks whose timers are due then come before the caller.
///
/// # Panics
///
/// Panics when it is awaited if the clock is not paused, outside of a runtime, and if the clock does not reach so far.
pub async fn advance(duration: Duration) {
    assert_paused();
    time::advance(duration).await;
}

#[track_caller]
fn assert_paused() {
    assert!(Handle::try_current().is_ok(), "{OUTSIDE}");
    assert!(time::is_paused(), "time is not frozen");
}
