//! A dump for who presses Ctrl-\ or sends `SIGQUIT`.
//!
//! It has a thread and a poller of its own, so that it speaks when all workers are stuck.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use netpoll_core::sync::Flag;

use super::{Runtime, Threads};
use crate::dump::Dump;
use crate::sched::Home;
use crate::signal::{Signal, SignalKind, signal};

/// Ends the thread.
#[derive(Default)]
pub(super) struct Stop {
    asked: Flag,
    waker: AtomicWaker,
}

impl Stop {
    pub(super) fn ask(&self) {
        self.asked.set();
        self.waker.wake();
    }
}

/// Starts the thread.
pub(super) fn watch(threads: &mut Threads, sched: &Arc<Home>) -> io::Result<Arc<Stop>> {
    let stop = Arc::new(Stop::default());
    let own = Runtime::builder().workers(1).build()?;
    let quit = own.block_on(async { signal(SignalKind::QUIT) })?;
    let (sched, asked) = (sched.clone(), stop.clone());
    let body = move || {
        // Nobody clears this signal's listeners but a program that wants no dump any more.
        while own.block_on(next(&quit, &asked)).is_some_and(|signal| signal.is_ok()) {
            // To whom could one say that there is nobody to be told?
            let _ = writeln!(io::stderr(), "{}", Dump::of(&sched));
        }
    };
    threads.start("netpoll-dump".to_owned(), body)?;
    Ok(stop)
}

/// The next signal; none if the runtime ends.
async fn next(quit: &Signal, stop: &Stop) -> Option<io::Result<()>> {
    poll_fn(|cx| {
        stop.waker.register(cx.waker());
        if stop.asked.is_set() {
            return Poll::Ready(None);
        }
        quit.poll_recv(cx).map(Some)
    })
    .await
}
