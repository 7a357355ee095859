//! The state words of a scheduler: the life of a task, a worker's run queue, which workers sleep, which one
//! polls.

pub mod idle;
pub mod poller_lock;
pub mod run_queue;
pub mod task;
