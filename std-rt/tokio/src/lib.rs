#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub use upstream::macros;
#[cfg(feature = "macros")]
pub use upstream::{join, main, select, test, try_join};
pub use upstream::{pin, task_local};

mod blocking;
pub mod fs;
pub mod io;
pub mod net;
pub mod process;
pub mod runtime;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;

pub use task::spawn;
