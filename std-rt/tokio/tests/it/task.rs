//! Tests of tasks, sets of them and local ones.
