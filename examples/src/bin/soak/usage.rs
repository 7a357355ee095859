//! What a process and its runtime hold: before, after, and memory meanwhile.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use netpoll_rt::Handle;

/// How long what has ended may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// What must be the same before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Open descriptors of the process.
    pub descriptors: usize,
    /// Slots of the poller.
    pub slots: usize,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Timers armed.
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

    /// Blocks until it is as it was before; an error says what is not.
    pub fn settles_at(before: Self, handle: &Handle) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let now = Self::now(handle);
            if now.as_ref().is_ok_and(|now| *now == before) {
                return Ok(());
            }
            // With a limit that is lowered there may be no descriptor for the look either.
            if began.elapsed() > PATIENCE {
                return Err(format!("before it held {before:?}, and {PATIENCE:?} after the end {now:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Resident memory, a sample each second.
#[derive(Default)]
pub struct Memory {
    samples: Vec<u64>,
}

/// Of the samples, the part that is warming up, and the parts that are compared.
const PART: usize = 5;

impl Memory {
    /// Adds what the process has now, in KiB.
    pub fn sample(&mut self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        self.samples.extend(line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()));
    }

    /// The newest sample.
    pub fn last(&self) -> Option<u64> {
        self.samples.last().copied()
    }

    /// The median early on, when all that is kept for reuse is there, and at the end.
    pub fn early_and_late(&self) -> Option<[u64; 2]> {
        let part = self.samples.len() / PART;
        let median = |from: usize| {
            let mut part = self.samples.get(from..from + part)?.to_vec();
            part.sort_unstable();
            part.get(part.len() / 2).copied()
        };
        Some([median(part)?, median(self.samples.len() - part)?])
    }
}
