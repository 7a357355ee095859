//! Tests of child processes.
