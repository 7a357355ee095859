//! Foreign code that uses a thread's park token, as std's channels do.

use std::sync::Arc;

use netpoll_rt::internal::sync::thread::{self, Thread};
use netpoll_rt::internal::sync::{Mutex, lock};

/// A channel for one message as std has it: the receiver parks until the message is there.
#[derive(Default)]
pub struct Channel {
    state: Mutex<(bool, Option<Thread>)>,
}

impl Channel {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn send(&self) {
        let mut state = lock(&self.state);
        state.0 = true;
        let receiver = state.1.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.unpark();
        }
    }

    /// Consumes the token of the thread, no matter which thread gave it.
    pub fn recv(&self) {
        loop {
            let mut state = lock(&self.state);
            if state.0 {
                return;
            }
            state.1 = Some(thread::current());
            drop(state);
            thread::park();
        }
    }
}
