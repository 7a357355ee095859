//! Sleeps, intervals, timeouts and the clock: tokio's names on netpoll-rt's timers.
//!
//! | subject | tokio | here |
//! |---|---|---|
//! | resolution | a millisecond, rounded up | the kernel's nanoseconds |
//! | `sleep(Duration::ZERO)` | may wait for the next millisecond | is ready at once, and counts against the budget of the task's turn |
//! | the farthest deadline | some two years; the timer is then armed again | 292 years after the machine was started |
//!
//! A sleep belongs to the runtime in whose context it was created, wherever it is polled. Under a current-thread runtime that
//! is in no `block_on`, it is left with the default runtime of netpoll-rt, because no thread would fire it.

mod clock;
pub mod error;
mod instant;
mod interval;
mod sleep;
mod timeout;

pub(crate) use clock::NEEDS_CURRENT_THREAD;
pub use clock::{advance, pause, resume};
pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
#[doc(no_inline)]
pub use std::time::Duration;
pub use timeout::{Timeout, timeout, timeout_at};

/// The longest duration that is added to the current time: 30 years, as in tokio, so that the sum is an instant.
const LONGEST: Duration = Duration::from_secs(86_400 * 365 * 30);
