//! The dump on `SIGQUIT` (Ctrl-\).
//!
//! It has a thread and a poller of its own, so that it speaks when all workers are stuck.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use netpoll_core::sync::Flag;

use super::{Runtime, ThreadSet};
use crate::dump::Dump;
use crate::sched::SchedHandle;
use crate::signal::{Signal, SignalKind, signal};

/// The token that ends the thread.
#[derive(Default)]
pub(super) struct StopToken {
    requested: Flag,
    waker: AtomicWaker,
}

impl StopToken {
    pub(super) fn request(&self) {
        self.requested.set();
        self.waker.wake();
    }
}

/// Starts the thread.
pub(super) fn watch(threads: &mut ThreadSet, sched: &Arc<SchedHandle>) -> io::Result<Arc<StopToken>> {
    let stop = Arc::new(StopToken::default());
    let own = Runtime::builder().workers(1).build()?;
    let quit = own.block_on(async { signal(SignalKind::QUIT) })?;
    let (sched, requested) = (sched.clone(), stop.clone());
    let body = move || {
        // Nobody clears this signal's listeners but a program that wants no dump any more.
        while own.block_on(next(&quit, &requested)).is_some_and(|signal| signal.is_ok()) {
            // An error of the standard error output cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "{}", Dump::of(&sched));
        }
    };
    threads.start("netpoll-dump".to_owned(), body)?;
    Ok(stop)
}

/// The next signal; none if the runtime ends.
async fn next(quit: &Signal, stop: &StopToken) -> Option<io::Result<()>> {
    poll_fn(|cx| {
        stop.waker.register(cx.waker());
        if stop.requested.is_set() {
            return Poll::Ready(None);
        }
        quit.poll_recv(cx).map(Some)
    })
    .await
}
