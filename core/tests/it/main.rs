//! Tests of core in one thread, by file of core, and of callers that break every rule.

mod break_flag;
mod cache;
mod common;
mod deadline;
mod desc;
mod fd_mutex;
mod glist;
mod hostile;
mod idle;
mod info;
mod key;
mod poller_lock;
mod run_queue;
mod sema;
mod short_read;
mod sync;
mod task;
mod translate;

// The wheel has no unsafe code, and too many steps for Miri.
#[cfg(not(miri))]
mod wheel;
