//! The paused clock of tests, which netpoll-rt does not have yet.

use super::Duration;

/// Pauses the clock of the runtime.
///
/// # Panics
///
/// Always panics: netpoll-rt has no clock that can be paused yet.
#[track_caller]
pub fn pause() {
    refuse("pause");
}

/// Lets the paused clock go on.
///
/// # Panics
///
/// Always panics: netpoll-rt has no clock that can be paused yet.
#[track_caller]
pub fn resume() {
    refuse("resume");
}

/// Moves the paused clock forward.
///
/// # Panics
///
/// Always panics when it is awaited: netpoll-rt has no clock that can be paused yet.
pub async fn advance(duration: Duration) {
    let _ = duration;
    refuse("advance");
}

#[track_caller]
fn refuse(what: &str) {
    panic!("time::{what}: netpoll-rt has no clock that can be paused; run this test on tokio's own runtime");
}
