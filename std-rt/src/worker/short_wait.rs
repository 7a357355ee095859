//! The short waits of a worker that would park: it spins, or it naps. [`Spin`] and [`Moderation`](crate::moderation::Moderation)
//! have the policies.

use std::thread;

use netpoll_core::sync::Flag;

use super::{PollOutcome, Worker};
use crate::moderation::NAP;
use crate::netpoll::clock;
use crate::spin::Spin;

/// The number of processor pauses between two looks at the queues while another thread polls: a microsecond or less.
const PAUSES: u32 = 16;

impl Worker {
    /// Spins for a while before the worker parks, if waits have been short of late. Returns true if there is
    /// something to do now. The worker counts as searching, so a thread that puts work meanwhile wakes no worker: it is seen
    /// here, or in the second look of [`Worker::prepare_park`].
    pub(super) fn spin_before_park(&self, began: u64, stop: Option<&Flag>) -> bool {
        let Some(patience) = self
            .spin
            .borrow()
            .patience()
            .filter(|_| !self.netpoll().is_paused() && !crate::sys::is_simulated())
        else {
            return false;
        };
        if self.sched.workers() - self.sched.idle().num_parked() > self.config.crowd {
            return false;
        }
        self.stats().take_running();
        self.start_searching();
        loop {
            let PollOutcome { at, ready, .. } = match self.netpoll().try_lock_of(self.next_turn(), self.index)
            {
                Some(guard) => self.poll(|buffer| guard.poll(buffer)),
                // Another thread polls; the tasks that it finds come by the queues.
                None => {
                    (0..PAUSES).for_each(|_| std::hint::spin_loop());
                    PollOutcome { at: clock::now(), ready: 0, by_event: false }
                }
            };
            if self.should_stop(stop) || self.sched.has_work() {
                self.sched.counts().spin_hits.inc();
                self.with_spin(|spin| spin.hit(at.saturating_sub(began), ready));
                return true;
            }
            if at.saturating_sub(began) >= patience {
                self.sched.counts().spin_misses.inc();
                self.stop_searching();
                self.with_spin(Spin::missed);
                return false;
            }
        }
    }

    pub(super) fn with_spin(&self, told: impl FnOnce(&mut Spin)) {
        told(&mut self.spin.borrow_mut());
    }

    /// Records that another thread has woken the worker, which has slept for that time.
    pub(super) fn record_wait(&self, nanoseconds: u64) {
        let mut moderation = self.moderation.get();
        moderation.slept(nanoseconds);
        self.moderation.set(moderation);
    }

    /// Naps, if that is due and no other worker searches. Returns whether it did.
    ///
    /// The worker counts as searching, so a thread that puts work meanwhile wakes no worker: it is seen by the next look at the
    /// queues, or in the second look of [`Worker::prepare_park`]. It naps in a poller if no other thread polls that. Without a
    /// monitor it does not nap, since other pollers that are unlocked meanwhile would wait too. A thread that ends the worker's
    /// wait ends the nap by the same token, or by a break.
    pub(super) fn nap(&self, stop: Option<&Flag>) -> bool {
        let mut moderation = self.moderation.get();
        if !moderation.is_nap_due() {
            // After a nap for few tasks.
            if self.in_stream.replace(false) {
                self.sched.wake_rule().set_stream(false);
            }
            return false;
        }
        // Another worker that naps takes the tasks of the stream.
        if !self.config.monitored || self.netpoll().is_paused() || !self.start_searching() {
            return false;
        }
        self.in_stream.set(true);
        self.sched.wake_rule().set_stream(true);
        self.stats().take_running();
        match self.netpoll().try_lock_of(self.next_turn(), self.index) {
            Some(guard) => {
                let until = clock::now() + NAP.as_nanos() as u64;
                self.poll(|buffer| guard.block_until(Some(until), buffer, || !self.should_stop(stop)));
            }
            None => {
                thread::park_timeout(NAP);
                self.polled.set((clock::now(), self.stats().tick()));
            }
        }
        moderation.napped(self.sched.global_len());
        self.moderation.set(moderation);
        true
    }
}
