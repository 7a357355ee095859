//! Tests of timers.
