//! What a table in force has seen so far, and what it decides.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::time::Instant;

use rustix::io::Errno;

use super::super::Call;
use super::rules::{Disturbance, Entry, Fault, Rule, Table, Watcher, When};

/// Calls that have a number below this, all of them.
const CALLS: usize = 64;

thread_local! {
    /// Calls of this thread that a rule `before_each` has stopped once and lets through next.
    static STOPPED: RefCell<[bool; CALLS]> = const { RefCell::new([false; CALLS]) };
}

/// Random numbers of a seed (SplitMix64).
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A rule and its history.
struct Armed {
    rule: Rule,
    /// Calls that it is for, so far.
    seen: usize,
    hits: usize,
    since: Option<Instant>,
    /// How often it has stopped each call that it has not let through since.
    storms: BTreeMap<(RawFd, Call), usize>,
}

impl Armed {
    /// `made`: the call is made all the same, and once.
    fn applies(&mut self, call: Call, fd: RawFd, made: bool, draws: &mut Draws) -> bool {
        self.seen += 1;
        let applies = match self.rule.when {
            When::Always => true,
            When::Nth(n) => self.seen == n,
            When::From(n) => self.seen >= n,
            When::First(n) => self.seen <= n,
            When::Chance(probability) => (draws.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability,
            When::During(time) => self.since.get_or_insert_with(Instant::now).elapsed() < time,
            When::BeforeEach if made => true,
            When::BeforeEach => STOPPED.with_borrow_mut(|stopped| {
                let stopped = &mut stopped[call as usize];
                *stopped = !*stopped;
                *stopped
            }),
            When::Storm(k) => {
                let stopped = self.storms.entry((fd, call)).or_default();
                *stopped = if *stopped < k { *stopped + 1 } else { 0 };
                *stopped > 0
            }
        };
        self.hits += usize::from(applies);
        applies
    }
}

/// A table in force.
pub(super) struct State {
    rules: Vec<Armed>,
    draws: Draws,
    calls: [usize; CALLS],
    log: Option<Vec<Entry>>,
    watcher: Option<Watcher>,
}

impl State {
    pub(super) fn new(table: Table) -> State {
        let armed = |rule| Armed { rule, seen: 0, hits: 0, since: None, storms: BTreeMap::new() };
        State {
            rules: table.rules.into_iter().map(armed).collect(),
            draws: Draws(table.seed),
            calls: [0; CALLS],
            log: table.logs.then(Vec::new),
            watcher: table.watcher,
        }
    }

    pub(super) fn hits(&self) -> Vec<usize> {
        self.rules.iter().map(|armed| armed.hits).collect()
    }

    pub(super) fn calls(&self, call: Call) -> usize {
        self.calls[call as usize]
    }

    pub(super) fn log(&self) -> &[Entry] {
        self.log.as_deref().unwrap_or_default()
    }

    /// What becomes of a call, among the errors that `fits` allows, and whom to tell.
    pub(super) fn judge(
        &mut self,
        call: Call,
        fd: RawFd,
        made: bool,
        fits: impl Fn(Errno) -> bool,
    ) -> (Entry, Option<Watcher>) {
        let draws = &mut self.draws;
        let error = self.rules.iter_mut().find_map(|armed| match armed.rule.fault {
            Fault::Error(errno)
                if is_for(&armed.rule, call, fd) && suits(errno, &armed.rule, call) && fits(errno) =>
            {
                armed.applies(call, fd, made, draws).then_some(errno)
            }
            _ => None,
        });
        let entry = Entry { call, fd, error };
        // What was asked before it was made is counted there.
        let counted = made && error.is_none() && call != Call::Close;
        if counted {
            return (entry, None);
        }
        self.calls[call as usize] += 1;
        if let Some(log) = &mut self.log {
            log.push(entry);
        }
        (entry, self.watcher.clone())
    }

    /// How many of `length` bytes, two or more, a call passes on.
    pub(super) fn cut(&mut self, call: Call, fd: RawFd, length: usize) -> usize {
        for armed in &mut self.rules {
            let Fault::Short(most) = armed.rule.fault else { continue };
            if is_for(&armed.rule, call, fd) && armed.applies(call, fd, false, &mut self.draws) {
                let drawn = 1 + self.draws.next() % (length as u64 - 1);
                return most.unwrap_or(drawn as usize).min(length);
            }
        }
        length
    }

    /// Whether some rule is about events.
    pub(super) fn disturbs(&self) -> bool {
        self.rules.iter().any(|armed| matches!(armed.rule.fault, Fault::Disturb(_)))
    }

    /// Each rule about events that applies to the event of a descriptor, or to a whole wait.
    pub(super) fn disturbances(
        &mut self,
        fd: RawFd,
        wanted: impl Fn(Disturbance) -> bool,
    ) -> Option<Disturbance> {
        let draws = &mut self.draws;
        self.rules.iter_mut().find_map(|armed| match armed.rule.fault {
            Fault::Disturb(disturbance)
                if wanted(disturbance) && armed.rule.fd.is_none_or(|only| only == fd) =>
            {
                armed.applies(Call::PollerWait, fd, true, draws).then_some(disturbance)
            }
            _ => None,
        })
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.draws.next() % end as u64) as usize
    }
}

fn is_for(rule: &Rule, call: Call, fd: RawFd) -> bool {
    rule.call.is_none_or(|only| only == call) && rule.fd.is_none_or(|only| only == fd)
}

/// A rule for any call must not say `EAGAIN` where no readiness can follow.
fn suits(errno: Errno, rule: &Rule, call: Call) -> bool {
    // What a limit on threads says is not about readiness.
    let is_limit = rule.call == Some(Call::StartThread);
    errno != Errno::AGAIN || call.mode().is_some() || call == Call::Break || is_limit
}
