//! The listeners of one signal in one runtime: a task that receives the signal, and a channel to all of them.
//!
//! So a listener costs no descriptor beyond the first of its kind. A program that makes one again and again, as a loop
//! around `select!` and [`ctrl_c`](super::ctrl_c) does, loses no signal between two of them: a signal that the task receives
//! while there is no listener is kept for the next one.

use std::io;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use netpoll_rt::Handle;
use netpoll_rt::signal::{self, SignalKind};
use upstream::sync::watch;

/// The channels of all runtimes. The drop of a [`Relay`], at the latest at the end of its runtime, removes its entry.
static CHANNELS: Mutex<Vec<Channel>> = Mutex::new(Vec::new());

fn channels() -> MutexGuard<'static, Vec<Channel>> {
    // No foreign code runs under the lock.
    CHANNELS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end of a relay.
struct Channel {
    kind: SignalKind,
    runtime: Handle,
    sender: watch::Sender<()>,
    /// Set if the last signal came while there was no receiver.
    is_kept: bool,
}

impl Channel {
    fn subscribe(&mut self) -> watch::Receiver<()> {
        let mut receiver = self.sender.subscribe();
        if mem::take(&mut self.is_kept) {
            receiver.mark_changed();
        }
        receiver
    }
}

/// Returns the receiving end of the current runtime's relay, which is started if there is none.
///
/// # Errors
///
/// Returns the errors of [`signal::signal`].
pub(super) fn subscribe(runtime: Handle, kind: SignalKind) -> io::Result<watch::Receiver<()>> {
    let is_ours = |channel: &&mut Channel| channel.kind == kind && channel.runtime.is_current();
    if let Some(channel) = channels().iter_mut().find(is_ours) {
        return Ok(channel.subscribe());
    }
    // Another thread may start one as well; both work.
    let listener = signal::signal(kind)?;
    let (sender, receiver) = watch::channel(());
    let relay = Relay { listener, sender: sender.clone() };
    channels().push(Channel { kind, runtime: runtime.clone(), sender, is_kept: false });
    // A runtime that has ended drops the task at once.
    drop(runtime.spawn(relay.run()));
    Ok(receiver)
}

/// The task that receives a signal.
struct Relay {
    listener: signal::Signal,
    sender: watch::Sender<()>,
}

impl Relay {
    async fn run(self) {
        // The error is that of a runtime that has ended, or of a listener that other code has removed.
        while self.listener.recv().await.is_ok() {
            if !self.keeps() {
                self.sender.send_replace(());
            }
        }
    }

    /// Keeps a signal for the next receiver if there is none, and returns whether it does. Receivers come under the same lock.
    fn keeps(&self) -> bool {
        let mut channels = channels();
        let own = channels.iter_mut().find(|channel| channel.sender.same_channel(&self.sender));
        own.is_some_and(|own| {
            own.is_kept = own.sender.receiver_count() == 0;
            own.is_kept
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A signal that has come and was not received yet.
        if let Poll::Ready(Ok(())) = self.listener.poll_recv(&mut Context::from_waker(Waker::noop())) {
            self.sender.send_replace(());
        }
        let mut channels = channels();
        let own = channels.iter().position(|channel| channel.sender.same_channel(&self.sender));
        let removed = own.map(|own| channels.swap_remove(own));
        drop(channels);
        drop(removed);
    }
}
