//! How many operations a task may make in one turn (tokio's coop).
//!
//! A socket that always has something to give never makes its task wait, and without a bound the task would keep its
//! worker for ever. So each operation that goes to the kernel at once takes one from the thread's budget; one that has
//! waited has left the others their turns and takes none. Once the budget is spent, the next operation sends its task to
//! the end of the queue before it goes to the kernel. A worker fills the budget up before each turn. A thread that is
//! no worker has no bound: its executor has rules of its own.

use std::cell::Cell;
use std::task::{Context, Poll};

/// More than any turn can spend.
pub const UNLIMITED: u64 = u64::MAX;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(UNLIMITED) };
    static REFUSED: Cell<u32> = const { Cell::new(0) };
}

/// While it lives the thread has another budget; then what was left of the one before.
#[must_use]
pub struct Around(u64);

/// Gives the thread another budget for a while.
pub fn around(operations: u64) -> Around {
    Around(LEFT.replace(operations))
}

impl Drop for Around {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// A turn begins: so many operations may be made in it.
#[inline]
pub fn set(operations: u64) {
    LEFT.set(operations);
}

/// True if the turn's operations have all been made.
#[inline]
pub fn is_spent() -> bool {
    LEFT.get() == 0
}

/// Before an operation that has not waited: takes one; pending, and woken already, if the turn is over.
///
/// Not inlined: the operations are generic and so compiled elsewhere, where the thread's variable is far away.
pub fn poll_take(cx: &Context<'_>) -> Poll<()> {
    match LEFT.get() {
        0 => give_way(cx),
        left => {
            LEFT.set(left - 1);
            Poll::Ready(())
        }
    }
}

/// A turn that never ends is one of an executor within a task, whose `block_on` polls again and again: after so many
/// refusals it gets on.
const REFUSALS: u32 = 1024;

/// What it gets.
const AGAIN: u64 = 128;

#[cold]
fn give_way(cx: &Context<'_>) -> Poll<()> {
    // Never set back: it is enough that few turns get on.
    let refused = REFUSED.get() + 1;
    REFUSED.set(refused % REFUSALS);
    if refused == REFUSALS {
        set(AGAIN - 1);
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
