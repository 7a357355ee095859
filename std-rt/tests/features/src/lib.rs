//! The examples of the features of netpoll-rt, compiled and run.
#![doc = include_str!("../../../src/features.md")]
