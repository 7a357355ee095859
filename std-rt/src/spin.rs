//! The policy by which an idle worker spins for a while before it sleeps.
//!
//! To sleep and be woken takes tens of microseconds where the processor enters a power state meanwhile. If work arrives
//! sooner than that, a worker that spins is faster and not even more expensive. If work arrives later, spinning only burns
//! the processor. So the last waits decide:
//!
//! | the worker | event | consequence |
//! |---|---|---|
//! | sleeps | the wait was short | after `wanted` such waits in a row it spins |
//! | sleeps | the wait was long, or more than 4 tasks came at once | the count starts again |
//! | spins | it finds work: a hit | it spins next time too; `wanted` hits halve `wanted`, down to 8 |
//! | spins | it finds more than 4 tasks at once | as after a miss: the cost of a wake-up is shared by many tasks |
//! | spins | the mean wait is more than half as long as the mean sleep | as after a miss: a wake-up costs less than spinning |
//! | spins | its time is over: a miss | it sleeps, and `wanted` doubles, up to 8,192 |
//!
//! A wait that a timer ended is not counted: its end was known, and a sleep until then is exact.
//!
//! So a miss, which costs `limit`, is paid for by as many short waits as there have been misses. Where spinning never
//! succeeds, because others need the processor, it soon stops.

/// The number of short waits in a row that make a worker spin, at first and at least.
const MIN_WANTED: u32 = 8;

/// The largest such number.
const MAX_WANTED: u32 = 8192;

/// The most tasks of one poll for which spinning is worth it. In a busy runtime a wake-up costs each of more tasks little,
/// and a thread that shares the processors gets more of their time if it sleeps.
const FEW: usize = 4;

/// The number of hits in a row before their cost is compared.
const TRIAL: u32 = 16;

/// The policy of one worker. It reads no clock: the caller passes the length of each wait, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    limit: u64,
    wanted: u32,
    streak: u32,
    /// The number of hits since it slept.
    hits: u32,
    /// The mean length of short waits while it sleeps, with the time to wake up.
    asleep: Mean,
    /// The mean length of waits while it spins.
    awake: Mean,
}

/// A moving mean of about eight values.
#[derive(Clone, Copy, Debug)]
struct Mean(u64);

impl Mean {
    fn add(&mut self, nanoseconds: u64) {
        self.0 = if self.0 == 0 { nanoseconds } else { self.0 - self.0 / 8 + nanoseconds / 8 };
    }
}

impl Spin {
    /// Creates the policy of a worker that spins for at most `limit` nanoseconds; 0 is never.
    pub const fn new(limit: u64) -> Self {
        Self { limit, wanted: MIN_WANTED, streak: 0, hits: 0, asleep: Mean(0), awake: Mean(0) }
    }

    /// Returns how long to spin before the next sleep, if at all.
    #[inline]
    pub fn patience(&self) -> Option<u64> {
        (self.limit > 0 && self.streak >= self.wanted).then_some(self.limit)
    }

    /// Records that the worker spun and found work after `nanoseconds`, when a poll made `ready` tasks ready.
    #[inline]
    pub fn hit(&mut self, nanoseconds: u64, ready: usize) {
        self.awake.add(nanoseconds);
        self.hits = self.hits.saturating_add(1);
        // The difference is the cost of a wake-up, which is the most that spinning may cost.
        let dear = self.hits >= TRIAL && self.awake.0 > self.asleep.0 / 2;
        if dear || ready > FEW {
            return self.missed();
        }
        self.streak += 1;
        if self.streak >= 2 * self.wanted {
            self.wanted = (self.wanted / 2).max(MIN_WANTED);
            self.streak = self.wanted;
        }
    }

    /// Records that the worker spun and found nothing.
    pub fn missed(&mut self) {
        self.wanted = (self.wanted * 2).min(MAX_WANTED);
        self.streak = 0;
        self.hits = 0;
    }

    /// Records that the worker slept and got work after `nanoseconds`, when a poll made `ready` tasks ready. Twice the limit
    /// still counts as short, since the wait includes the time to wake up, which is about the limit.
    #[inline]
    pub fn slept(&mut self, nanoseconds: u64, ready: usize) {
        let short = nanoseconds < self.limit.saturating_mul(2) && ready <= FEW;
        self.hits = 0;
        if short {
            self.streak = self.streak.saturating_add(1);
            self.asleep.add(nanoseconds);
        } else {
            self.streak = 0;
        }
    }
}
