//! The checker's types, with time limits that expire, which the checker itself lacks.

use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

pub use shuttle::sync::{Mutex, MutexGuard};

/// Threads of the checker. `park_timeout` may time out, which shuttle's own never does.
pub mod thread {
    use std::time::Duration;

    pub use shuttle::thread::*;

    use super::Timer;

    /// Parks until a token is there or the time is over.
    pub fn park_timeout(_limit: Duration) {
        let this = current();
        let timer = Timer::start(move || this.unpark());
        park();
        timer.stop();
    }
}

/// A condition variable of the checker whose waits with a time limit may time out.
#[derive(Debug, Default)]
pub struct Condvar(Arc<shuttle::sync::Condvar>);

/// The outcome of a wait with a time limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns true if the time was over.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Creates a condition variable that no thread waits for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a notification.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    /// Waits until the condition is false.
    pub fn wait_while<'a, T, F>(&self, guard: MutexGuard<'a, T>, holds: F) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.0.wait_while(guard, holds)
    }

    /// Waits for a notification or until the time is over, which is whenever the checker says so. The expiry wakes every
    /// waiter of this condition variable, which std allows at any time.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let condvar = self.0.clone();
        let timer = Timer::start(move || condvar.notify_all());
        let waited = self.0.wait(guard);
        let timed_out = WaitTimeoutResult(timer.stop());
        match waited {
            Ok(guard) => Ok((guard, timed_out)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), timed_out))),
        }
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A thread that ends a wait. The checker decides when it runs.
struct Timer(Arc<std::sync::Mutex<TimerState>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum TimerState {
    Running,
    Expired,
    Stopped,
}

impl Timer {
    fn start(expire: impl Fn() + Send + 'static) -> Self {
        let state = Arc::new(std::sync::Mutex::new(TimerState::Running));
        let of_thread = state.clone();
        // It ends by itself, soon after the wait.
        drop(thread::spawn(move || {
            // Again until the wait has ended, as the first time may come before the thread waits.
            while expires(&of_thread) {
                expire();
                thread::yield_now();
            }
        }));
        Self(state)
    }

    /// Ends the timer, after the wait. Returns true if the time was over.
    fn stop(self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, TimerState::Stopped) == TimerState::Expired
    }
}

/// Returns true unless the wait has ended. The lock is invisible to the checker and never contended: no point where another
/// thread may go on lies inside.
fn expires(state: &std::sync::Mutex<TimerState>) -> bool {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if *state == TimerState::Running {
        *state = TimerState::Expired;
    }
    *state == TimerState::Expired
}
