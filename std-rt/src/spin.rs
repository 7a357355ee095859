//! Whether a worker that has nothing to do keeps looking for a little while before it sleeps.
//!
//! To sleep and be woken takes tens of microseconds where the processor goes to rest meanwhile. Who is asked again after
//! less than that answers sooner if it stays awake, and need not even pay more for it; everybody else only burns the
//! processor. So it is decided by how long the last waits were:
//!
//! | | event | what follows |
//! |---|---|---|
//! | asleep | the wait was short | after `wanted` such waits in a row it keeps looking |
//! | asleep | the wait was long, or more than 4 tasks came at once | they are counted anew |
//! | looking | it finds something: a hit | it goes on so; `wanted` hits halve `wanted`, down to 8 |
//! | looking | it finds more than 4 tasks at once | as after a miss: a wake-up costs each of many little |
//! | looking | of late it took more than half as long as asleep | as after a miss: a wake-up costs less than to look |
//! | looking | its time is over: a miss | it sleeps, and `wanted` doubles, up to 8,192 |
//!
//! A wait that a timer ended counts for nothing: its end was known, and sleeping until then is exact.
//!
//! So a miss, which costs `limit`, is paid for by as many short waits as there have been misses; where looking is in vain
//! (the others need this processor themselves) it comes to nothing soon.

/// Short waits in a row that make a worker look, at first.
const LEAST: u32 = 8;

/// And at most.
const MOST: u32 = 8192;

/// More tasks at once are a crowd: in a busy runtime a wake-up costs each of them little, and who shares the processors
/// has more of them if it sleeps.
const FEW: usize = 4;

/// Hits in a row before it is asked whether they are worth it.
const TRIAL: u32 = 16;

/// The policy of one worker. It knows no clock: it is told how long the waits were, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    limit: u64,
    wanted: u32,
    streak: u32,
    /// Hits since it slept.
    hits: u32,
    /// How long a short wait takes of late, with the time to wake up.
    asleep: Mean,
    /// And while it looks.
    awake: Mean,
}

/// Of the last eight or so.
#[derive(Clone, Copy, Debug)]
struct Mean(u64);

impl Mean {
    fn add(&mut self, nanoseconds: u64) {
        self.0 = if self.0 == 0 { nanoseconds } else { self.0 - self.0 / 8 + nanoseconds / 8 };
    }
}

impl Spin {
    /// Looks for at most `limit` nanoseconds; 0 for never.
    pub const fn new(limit: u64) -> Self {
        Self { limit, wanted: LEAST, streak: 0, hits: 0, asleep: Mean(0), awake: Mean(0) }
    }

    /// For how long to look before the next sleep, if at all.
    #[inline]
    pub fn patience(&self) -> Option<u64> {
        (self.limit > 0 && self.streak >= self.wanted).then_some(self.limit)
    }

    /// It looked, and found something after so long; a poll made so many tasks ready.
    #[inline]
    pub fn hit(&mut self, nanoseconds: u64, ready: usize) {
        self.awake.add(nanoseconds);
        self.hits = self.hits.saturating_add(1);
        // The difference is what a wake-up costs, and more than that is not to be spent.
        let dear = self.hits >= TRIAL && self.awake.0 > self.asleep.0 / 2;
        if dear || ready > FEW {
            return self.missed();
        }
        self.streak += 1;
        if self.streak >= 2 * self.wanted {
            self.wanted = (self.wanted / 2).max(LEAST);
            self.streak = self.wanted;
        }
    }

    /// It looked, and found nothing.
    pub fn missed(&mut self) {
        self.wanted = (self.wanted * 2).min(MOST);
        self.streak = 0;
        self.hits = 0;
    }

    /// It did not look, and something came after so long; a poll made so many tasks ready. Twice the limit still counts as
    /// short, since that wait holds the time to wake up, which is about the limit.
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
