//! The watchdog: compares who is parked with what the kernel says.
//!
//! A task that waits for a descriptor which is ready, or past its deadline, is about to be woken: for a moment. One that
//! stays so, in one and the same wait, while the runtime is at work, has lost its wake-up.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use netpoll_rt::Handle;
use netpoll_rt::dump::{DescriptorDump, DirectionDump};

use crate::tally::Tally;

/// From look to look.
pub const EACH: Duration = Duration::from_millis(500);

/// For so many looks in a row, so for 3 seconds: a busy machine may keep a task from its worker, but not that long.
const LOOKS: u32 = 6;

/// The clock of a wait ticks with the polls and is read to the millisecond.
const UNSHARP: Duration = Duration::from_millis(100);

/// A direction that is parked and need not be.
struct Suspect {
    since: Instant,
    looks: u32,
}

#[derive(Default)]
pub struct Watchdog {
    suspects: HashMap<(RawFd, usize), Suspect>,
}

impl Watchdog {
    /// Looks once; a wake-up that is lost is described.
    pub fn look(&mut self, handle: &Handle, tally: &Tally) -> Result<(), String> {
        let began = Instant::now();
        let dump = handle.dump();
        let now = Instant::now();
        tally.look_us.add((now - began).as_micros() as usize);
        let mut before = std::mem::take(&mut self.suspects);
        tally.looks.inc();
        for descriptor in &dump.descriptors {
            for (index, direction) in [descriptor.read, descriptor.write].into_iter().enumerate() {
                let Some(waiting) = direction.waiting else { continue };
                tally.compared.inc();
                let (key, since) = ((descriptor.fd, index), now.checked_sub(waiting).unwrap_or(now));
                if !is_late(&direction) {
                    continue;
                }
                let known = before.remove(&key).filter(|old| is_same(old.since, since));
                let suspect = known.unwrap_or(Suspect { since, looks: 0 });
                if suspect.looks + 1 == LOOKS {
                    tally.lost.inc();
                    return Err(told(descriptor));
                }
                self.suspects.insert(key, Suspect { looks: suspect.looks + 1, ..suspect });
            }
        }
        Ok(())
    }
}

fn is_late(direction: &DirectionDump) -> bool {
    direction.ready || direction.deadline == Some(Duration::ZERO)
}

fn is_same(a: Instant, b: Instant) -> bool {
    a.max(b).duration_since(a.min(b)) < UNSHARP
}

fn told(descriptor: &DescriptorDump) -> String {
    format!("the watchdog found a lost wake-up: {descriptor}")
}
