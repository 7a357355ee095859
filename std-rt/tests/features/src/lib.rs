//! The examples of the guides, the features and the READMEs of netpoll-rt, compiled and run.

#[doc = include_str!("../../../README.md")]
pub mod readme {}

#[doc = include_str!("../../../../README.md")]
pub mod project {}

#[doc = include_str!("../../../src/features.md")]
pub mod features {}

#[path = "../../../src/guide.rs"]
pub mod guide;
