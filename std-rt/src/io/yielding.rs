//! A copy whose source and sink are always ready never waits. So it counts against the budget of its task's turn, by its
//! bytes; and where there is no budget it lets the others go before it now and then, the other direction of the same task
//! among them.

use std::future::poll_fn;
use std::task::Poll;

use crate::coop;

/// The number of pieces after which a copy yields: 4 MiB, where no budget ends its turn sooner.
const PIECES: usize = 16;

/// The cooperative budget of a copy (tokio's coop).
#[derive(Debug)]
pub(super) struct Coop {
    left: usize,
}

impl Coop {
    pub(super) fn new() -> Self {
        Coop { left: PIECES }
    }

    /// Counts a piece. At the end of the budget it yields, so that all other tasks come first.
    pub(super) async fn tick(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            return coop::proceed().await;
        }
        self.left = PIECES;
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
