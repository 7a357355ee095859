//! Children whose handle was dropped before they ended. Each of them is reaped when it ends, so that none stays a zombie.
//!
//! While its runtime lives, a task of it waits for the child. The runtime's end drops the task; then the child's number is
//! left in a list, and reaped when this process starts another child.

use std::mem;
use std::panic::Location;
use std::sync::Arc;

use super::exit::Process;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::sys::PerProcess;
use crate::sys::child::{self as sys, Pid};

/// The children of this process that no runtime reaps.
static LEFT: PerProcess<Mutex<Vec<Pid>>> = PerProcess::new();

fn left() -> MutexGuard<'static, Vec<Pid>> {
    // No foreign code runs under the lock.
    lock(LEFT.get())
}

/// A child without a handle.
struct Orphan {
    process: Arc<Process>,
}

impl Orphan {
    async fn reap(self) {
        // After an error, such as that of a runtime that has ended, the drop decides.
        let _ended = self.process.wait().await;
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(pid) = self.process.id().filter(|_| !self.process.is_over()) {
            left().push(pid);
        }
    }
}

/// Reaps a child when it ends. `process` is the last handle of a `Child`.
#[track_caller]
pub fn adopt(process: Arc<Process>) {
    // In a forked process the child is not this process's.
    if !process.sched().netpoll().is_owner_process() || process.is_over() {
        return;
    }
    let sched = process.sched().clone();
    // A runtime that has ended drops the future at once.
    drop(sched.spawn(Location::caller(), Orphan { process }.reap()));
}

/// Kills a child that cannot be watched.
pub fn give_up(pid: Pid) {
    if matches!(sys::reap(pid), Ok(None)) {
        // The only error is that of a child of another user, which ends when it likes.
        let _ = sys::kill(pid, sys::KILL);
        left().push(pid);
    }
}

/// Reaps those that have ended of the children that no runtime reaps.
pub fn reap_left() {
    let before = mem::take(&mut *left());
    if !before.is_empty() {
        let running: Vec<_> = before.into_iter().filter(|pid| matches!(sys::reap(*pid), Ok(None))).collect();
        left().extend(running);
    }
}
