//! What a process has cost so far, as the system tells.

use std::fs;
use std::time::Duration;

/// Of all threads that live now; nothing where the system does not say.
#[derive(Clone, Copy)]
pub struct Usage {
    pub processor: Duration,
    /// How often a thread gave its processor away or lost it.
    pub switches: u64,
}

impl Usage {
    /// Of a process by its number, or of `self`.
    pub fn of(process: &str) -> Self {
        let (mut processor, mut switches) = (0, 0);
        // A thread that ends while we look has nothing left to tell.
        for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let told = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let first = told("schedstat").split_whitespace().next().and_then(|word| word.parse().ok());
            processor += first.unwrap_or(0_u64);
            let status = told("status");
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            let numbers =
                counts.filter_map(|line| line.rsplit(char::is_whitespace).next()?.parse::<u64>().ok());
            switches += numbers.sum::<u64>();
        }
        Self { processor: Duration::from_nanos(processor), switches }
    }

    /// What was added since `before`. A thread that has ended since takes what it used with it.
    pub fn since(self, before: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(before.processor),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}
