//! Futures that are forgotten, wakers that panic, and forks whose child drops what the parent keeps. Some of these tests
//! leak on purpose, so the address sanitizer accepts leaks of this program.

mod fork;
mod futurelock;
mod wakers;

use test_support as common;
