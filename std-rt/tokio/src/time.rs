//! Sleeps, intervals, timeouts and the clock.
