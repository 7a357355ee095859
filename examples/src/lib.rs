//! The examples are the programs in `src/bin`. This library only compiles the code that the project's front pages show:
//! each block of theirs is a doc test of a module below.

#[doc = include_str!("../../README.md")]
#[doc(hidden)]
pub mod front_page {}

#[doc = include_str!("../../core/README.md")]
#[doc(hidden)]
pub mod core_page {}
