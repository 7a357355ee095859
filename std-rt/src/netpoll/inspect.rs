//! The state of the descriptors that a poller watches, for dumps.
//!
//! Nothing is kept for it but three words of each descriptor: its number, written when it is opened and when it is given
//! back, and for each direction the time of the last parking, which is one store of the clock as it was at the last poll.

use std::os::fd::RawFd;
use std::time::Duration;

use netpoll_core::{Mode, PollKey, When};

use super::{Netpoll, PollDesc, clock, tick};
use crate::sys::{Address, ends_of, is_ready_now};

/// The state of a descriptor that the poller watches.
#[derive(Clone, Debug)]
pub struct DescriptorInfo {
    /// Its number.
    pub fd: RawFd,
    /// Its own address, if it is a socket.
    pub local: Option<Address>,
    /// Its peer's, if it has one.
    pub peer: Option<Address>,
    /// For reading and for writing: for how long a task has been parked there, if one is.
    pub parked: [Option<Duration>; 2],
    /// For reading and for writing: a task is parked there, and the kernel says that it need not be.
    pub ready: [bool; 2],
    /// For reading and for writing: until the deadline; zero if it has passed, none without one.
    pub deadline: [Option<Duration>; 2],
}

impl Netpoll {
    /// Records the number of a descriptor that is registered.
    pub(super) fn set_number(&self, desc: &PollDesc, fd: RawFd) {
        // Numbers begin at 0, which is what a slot without a descriptor has.
        desc.number().set(fd as usize + 1);
    }

    /// Clears the number of a descriptor whose slot is about to be freed.
    pub(super) fn clear_number(&self, desc: &PollDesc) {
        desc.number().set(0);
    }

    /// Returns the state of every descriptor as it is now; what is opened or closed meanwhile may be missing. Two system calls for each, and
    /// one for each task that is parked there.
    pub fn inspect_descriptors(&self) -> Vec<DescriptorInfo> {
        let now = clock::now();
        self.cache.iter().filter_map(|(key, desc)| self.inspect(key, desc, now)).collect()
    }

    fn inspect(&self, key: PollKey, desc: &PollDesc, now: u64) -> Option<DescriptorInfo> {
        let fd = RawFd::try_from(desc.number().get().checked_sub(1)?).ok()?;
        let (local, peer) = ends_of(fd);
        let parked = |mode| desc.is_parked(mode).then(|| ago(desc.since(mode).get(), now));
        let watched = DescriptorInfo {
            fd,
            local,
            peer,
            parked: [parked(Mode::Read), parked(Mode::Write)],
            ready: [Mode::Read, Mode::Write].map(|mode| desc.is_parked(mode) && is_ready_now(fd, mode)),
            deadline: [Mode::Read, Mode::Write].map(|mode| remaining(desc.deadline(mode), now)),
        };
        // Closing is published before the number is closed, and a slot that is given back goes to its next generation. So
        // the number was this descriptor's all the time, or what was found is forgotten.
        let info = desc.info();
        let same = info.fdseq() == key.fdseq && !info.closing() && desc.number().get() == fd as usize + 1;
        same.then_some(watched)
    }
}

/// How long ago the tick of a word was.
fn ago(since: usize, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(tick::to_nanos(since, || now)))
}

fn remaining(deadline: When, now: u64) -> Option<Duration> {
    match deadline {
        When::Never => None,
        When::At(at) => Some(Duration::from_nanos(tick::to_nanos(at, || now).saturating_sub(now))),
        When::Expired => Some(Duration::ZERO),
    }
}
