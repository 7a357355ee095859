//! The doc tests of the front page of core. The examples are the programs in `src/bin`; here each block of code of the page is
//! a doc test. Those of the other pages need the features of netpoll-rt, and are in `std-rt/tests/features`.

#[doc = include_str!("../../core/README.md")]
#[doc(hidden)]
pub mod core_page {}
