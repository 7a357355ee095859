//! The resources that a process and its runtime hold.

use std::time::{Duration, Instant};
use std::{fs, io, thread};

use netpoll_rt::Handle;

/// The time within which all resources must be released after the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The resources that must be the same before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Open descriptors of the process.
    pub descriptors: usize,
    /// Slots of the poller.
    pub slots: usize,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Armed timers.
    pub timers: usize,
    /// Tasks parked on a descriptor.
    pub waiters: usize,
}

impl Held {
    pub fn now(handle: &Handle) -> io::Result<Self> {
        let metrics = handle.metrics();
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            slots: metrics.descriptors,
            tasks: metrics.tasks,
            timers: metrics.timers,
            waiters: metrics.waiters,
        })
    }

    /// Blocks until the process holds `before` again. Returns an error if it does not within 10 seconds.
    pub fn settles_at(before: Self, handle: &Handle) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let now = Self::now(handle);
            if now.as_ref().is_ok_and(|now| *now == before) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("before it held {before:?}, and {PATIENCE:?} after the end {now:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The resident memory of this process, sampled once a second.
#[derive(Default)]
pub struct Memory {
    samples: Vec<u64>,
}

/// The samples are divided into five parts. The first is the warm-up; the second is compared with the last.
const PARTS: usize = 5;

impl Memory {
    /// Adds the present value, in KiB.
    pub fn sample(&mut self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        self.samples.extend(line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()));
    }

    /// Returns the newest sample.
    pub fn last(&self) -> Option<u64> {
        self.samples.last().copied()
    }

    /// Returns the medians of the second part and of the last.
    pub fn early_and_late(&self) -> Option<[u64; 2]> {
        let length = self.samples.len() / PARTS;
        let median = |from: usize| {
            let mut part = self.samples.get(from..from + length)?.to_vec();
            part.sort_unstable();
            part.get(part.len() / 2).copied()
        };
        Some([median(length)?, median(self.samples.len() - length)?])
    }
}
