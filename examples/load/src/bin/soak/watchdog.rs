//! The watchdog, which finds lost wakeups: it compares the parked tasks with the kernel's view of their descriptors.
//!
//! A task that waits for a descriptor which is ready, or past its deadline, is about to be woken. If it stays so in one
//! and the same wait while the runtime runs, its wakeup is lost.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use netpoll_rt::Handle;
use netpoll_rt::dump::{DescriptorDump, DirectionDump};

use crate::tally::Tally;

/// The time between two checks.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// The number of checks in a row, together 3 seconds, after which a suspect counts as lost. A busy machine may keep a
/// task from its worker, but not for so long.
const CHECKS: u32 = 6;

/// The most by which two readings of the beginning of one wait differ. The clock of a wait ticks with the polls.
const UNCERTAINTY: Duration = Duration::from_millis(100);

/// A direction that is parked and should not be.
struct Suspect {
    since: Instant,
    checks: u32,
}

#[derive(Default)]
pub struct Watchdog {
    suspects: HashMap<(RawFd, usize), Suspect>,
}

impl Watchdog {
    /// Checks once. Returns an error that describes the descriptor if a wakeup is lost.
    pub fn check(&mut self, handle: &Handle, tally: &Tally) -> Result<(), String> {
        let began = Instant::now();
        let dump = handle.dump();
        let now = Instant::now();
        tally.check_us.add((now - began).as_micros() as usize);
        tally.checks.inc();
        let mut before = std::mem::take(&mut self.suspects);
        for descriptor in &dump.descriptors {
            for (index, direction) in [descriptor.read, descriptor.write].into_iter().enumerate() {
                let Some(waiting) = direction.waiting else { continue };
                tally.compared.inc();
                if !is_late(&direction) {
                    continue;
                }
                let (key, since) = ((descriptor.fd, index), now.checked_sub(waiting).unwrap_or(now));
                let known = before.remove(&key).filter(|old| is_same_wait(old.since, since));
                let suspect = known.unwrap_or(Suspect { since, checks: 0 });
                if suspect.checks + 1 == CHECKS {
                    tally.lost.inc();
                    return Err(describe(descriptor));
                }
                self.suspects.insert(key, Suspect { checks: suspect.checks + 1, ..suspect });
            }
        }
        Ok(())
    }
}

fn is_late(direction: &DirectionDump) -> bool {
    direction.ready || direction.deadline == Some(Duration::ZERO)
}

fn is_same_wait(a: Instant, b: Instant) -> bool {
    a.max(b).duration_since(a.min(b)) < UNCERTAINTY
}

fn describe(descriptor: &DescriptorDump) -> String {
    format!("the watchdog found a lost wakeup: {descriptor}")
}
