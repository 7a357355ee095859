//! The doc tests of the front pages. The examples are the programs in `src/bin`; here each block of code of a page
//! is a doc test of one of the modules below.

#[doc = include_str!("../../README.md")]
#[doc(hidden)]
pub mod front_page {}

#[doc = include_str!("../../core/README.md")]
#[doc(hidden)]
pub mod core_page {}
