//! What the kernels' bits mean, as pure functions of plain numbers.
//!
//! All three are compiled on every host, so that every table is tested on any of them. The numbers are chosen once, in
//! the form of one kernel, which each file names; a backend puts its own kernel's into that form.

pub mod epoll;
pub mod kqueue;
pub mod poll;
