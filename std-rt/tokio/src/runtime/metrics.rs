//! The metrics of a runtime, as far as they are stable in tokio.

use super::Handle;

/// The metrics of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeMetrics {
    handle: Handle,
}

impl RuntimeMetrics {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Returns the number of worker threads; 1 for a runtime that runs on the thread of `block_on`.
    pub fn num_workers(&self) -> usize {
        self.handle.as_netpoll().metrics().workers
    }

    /// Returns the number of tasks that have not ended.
    pub fn num_alive_tasks(&self) -> usize {
        self.handle.as_netpoll().metrics().tasks
    }
}
