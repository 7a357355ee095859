//! Tests that limit, filter or signal the process, or that look at all of its threads.
//!
//! No test here may start the default runtime, whose threads never end.

mod child;
mod child_end;
#[cfg(target_os = "linux")]
mod child_races;
mod eintr;
mod hygiene;
#[cfg(target_os = "linux")]
mod lost_break;
mod lost_poller;
mod one_cpu;
#[cfg(target_os = "linux")]
mod pool_limits;
mod signal;
mod signal_process;
#[cfg(target_os = "linux")]
mod system_call_filter;
mod thread_end;

use test_support as common;
