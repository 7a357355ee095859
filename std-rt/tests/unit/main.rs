//! Parts of the crate that need neither a runtime nor a descriptor, and the list of cases that the tests cover.

mod cases;
mod coalescer;
#[cfg(target_pointer_width = "64")]
mod future_sizes;
mod tick;
