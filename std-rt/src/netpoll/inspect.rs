//! The state of the descriptors that a poller watches, for dumps.
//!
//! Each descriptor keeps three words for it: its number, written when it is registered and when its slot is freed, and for
//! each direction the time of the last parking, which is a store of the tick of the last poll.

use std::os::fd::RawFd;
use std::time::Duration;

use netpoll_core::{Mode, PollKey, When};

use super::{Netpoll, PollDesc, clock};
use crate::sys::{Address, ends_of, is_ready_now};

/// The state of a descriptor that the poller watches. Arrays have the read side and the write side.
#[derive(Clone, Debug)]
pub struct DescriptorInfo {
    /// Its number.
    pub fd: RawFd,
    /// Its own address, if it is a socket.
    pub local: Option<Address>,
    /// The address of its peer, if it has one.
    pub peer: Option<Address>,
    /// The time for which a task has been parked, if one is.
    pub parked: [Option<Duration>; 2],
    /// True if a task is parked although the kernel reports readiness.
    pub ready: [bool; 2],
    /// The time until the deadline, if there is one; zero if it has passed.
    pub deadline: [Option<Duration>; 2],
}

impl Netpoll {
    /// Returns the state of every descriptor. One that is opened or closed meanwhile may be missing. Makes two system calls
    /// for each descriptor, and one for each task that is parked.
    pub fn inspect_descriptors(&self) -> Vec<DescriptorInfo> {
        let now = self.now();
        self.cache.iter().filter_map(|(key, desc)| inspect(key, desc, now)).collect()
    }
}

fn inspect(key: PollKey, desc: &PollDesc, now: u64) -> Option<DescriptorInfo> {
    const MODES: [Mode; 2] = [Mode::Read, Mode::Write];
    let fd = RawFd::try_from(desc.number().get().checked_sub(1)?).ok()?;
    let (local, peer) = ends_of(fd);
    let found = DescriptorInfo {
        fd,
        local,
        peer,
        parked: MODES.map(|mode| desc.is_parked(mode).then(|| ago(desc.since(mode).get(), now))),
        ready: MODES.map(|mode| desc.is_parked(mode) && is_ready_now(fd, mode)),
        deadline: MODES.map(|mode| remaining(desc.deadline(mode), now)),
    };
    // The closing is published before the number is closed, and a slot that is freed gets its next generation. So either the
    // number was this descriptor's all the time, or the result is discarded.
    let info = desc.info();
    let same = info.fdseq() == key.fdseq && !info.closing() && desc.number().get() == fd as usize + 1;
    same.then_some(found)
}

/// Returns the time since the tick of a word.
fn ago(since: usize, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(clock::to_nanos(since, || now)))
}

fn remaining(deadline: When, now: u64) -> Option<Duration> {
    match deadline {
        When::Never => None,
        When::At(at) => Some(Duration::from_nanos(clock::to_nanos(at, || now).saturating_sub(now))),
        When::Expired => Some(Duration::ZERO),
    }
}
