//! Rules, tables of rules, and the guard of the table in force: the part of fault injection that tests use.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::super::Call;
use super::state::TableState;

/// A fault of a call, or of the events of a wait.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Fault {
    Error(Errno),
    /// The call passes on at most this many bytes. `None` draws a number below the length.
    Short(Option<usize>),
    Events(EventFault),
}

/// A change to the events of a wait.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum EventFault {
    /// A wait reports one of the poller's descriptors as ready in both directions, beside the kernel's
    /// events.
    Spurious,
    /// An event is reported twice.
    Duplicate,
    /// An event reports both directions.
    Both,
    /// An event is reported later, by at most this time.
    Delay(Duration),
    /// The events of a wait are reported in random order.
    Reorder,
    /// A wait returns one event; the next waits return the others.
    One,
    /// An event with the old key is reported after its descriptor was closed, at most this much later.
    Stale(Duration),
}

/// The condition under which a rule applies to the calls that match it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Trigger {
    Always,
    /// Applies to the n-th call, counted from 1.
    Nth(usize),
    /// Applies to the n-th call and all later ones.
    From(usize),
    /// Applies to the first n calls.
    First(usize),
    /// Applies to each call with this probability.
    Chance(f64),
    /// Applies for this long, from the first call on.
    During(Duration),
    /// Applies once before each call that a thread makes.
    BeforeEach,
    /// Applies this many times before each call on a descriptor.
    Repeat(usize),
}

/// One fault and its condition: always, unless a method sets another.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The call that it applies to; `None`: any.
    pub(super) call: Option<Call>,
    /// The descriptor that it applies to; `None`: any.
    pub(super) fd: Option<RawFd>,
    pub(super) fault: Fault,
    pub(super) when: Trigger,
}

impl Rule {
    fn of(call: Option<Call>, fault: Fault) -> Rule {
        Rule { call, fd: None, fault, when: Trigger::Always }
    }

    /// Creates a rule that makes the call fail.
    pub fn error(call: Call, errno: Errno) -> Rule {
        Rule::of(Some(call), Fault::Error(errno))
    }

    /// Creates a rule that makes any call fail.
    pub fn any(errno: Errno) -> Rule {
        Rule::of(None, Fault::Error(errno))
    }

    /// Creates a rule that shortens the call by a random number of bytes.
    pub fn short(call: Call) -> Rule {
        Rule::of(Some(call), Fault::Short(None))
    }

    /// Creates a rule that limits the call to `most` bytes.
    pub fn short_to(call: Call, most: usize) -> Rule {
        Rule::of(Some(call), Fault::Short(Some(most.max(1))))
    }

    /// Creates a rule that alters events.
    pub fn events(fault: EventFault) -> Rule {
        Rule::of(None, Fault::Events(fault))
    }

    /// Limits the rule to calls on this descriptor.
    pub fn on(mut self, fd: RawFd) -> Rule {
        self.fd = Some(fd);
        self
    }

    fn when(mut self, when: Trigger) -> Rule {
        self.when = when;
        self
    }

    /// Limits the rule to the n-th call, counted from 1.
    pub fn nth(self, n: usize) -> Rule {
        self.when(Trigger::Nth(n))
    }

    /// Limits the rule to the n-th call and every later one.
    pub fn from(self, n: usize) -> Rule {
        self.when(Trigger::From(n))
    }

    /// Limits the rule to the first `n` calls.
    pub fn first(self, n: usize) -> Rule {
        self.when(Trigger::First(n))
    }

    /// Applies the rule to each call with this probability, from 0 to 1.
    pub fn chance(self, probability: f64) -> Rule {
        self.when(Trigger::Chance(probability))
    }

    /// Limits the rule to this period, which begins with the first call.
    pub fn during(self, time: Duration) -> Rule {
        self.when(Trigger::During(time))
    }

    /// Applies the rule once before every call that a thread makes; the call after it succeeds.
    pub fn before_each(self) -> Rule {
        self.when(Trigger::BeforeEach)
    }

    /// Applies the rule `k` times before every call on a descriptor; the call after that succeeds.
    pub fn repeat(self, k: usize) -> Rule {
        self.when(Trigger::Repeat(k))
    }
}

/// The log entry of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The call.
    pub call: Call,
    /// The descriptor; -1 for a call that has none.
    pub fd: RawFd,
    /// The injected error. Without one the call was made; an error injected by [`after`](super::after)
    /// follows a call that was made too.
    pub error: Option<Errno>,
}

pub(super) type Watcher = Arc<dyn Fn(&Entry) + Send + Sync>;

/// A seed and the rules that draw from it. The first rule that applies to a call decides.
#[derive(Clone)]
pub struct Table {
    pub(super) seed: u64,
    pub(super) rules: Vec<Rule>,
    pub(super) logs: bool,
    pub(super) watcher: Option<Watcher>,
}

impl Table {
    /// Creates a table without rules. `seed` and the order of the calls determine all random choices.
    pub fn new(seed: u64) -> Table {
        Table { seed, rules: Vec::new(), logs: false, watcher: None }
    }

    /// Adds a rule; rules are numbered from 0.
    pub fn rule(mut self, rule: Rule) -> Table {
        self.rules.push(rule);
        self
    }

    /// Keeps a log of all calls.
    pub fn log(mut self) -> Table {
        self.logs = true;
        self
    }

    /// Calls `watcher` for each call, on the thread that makes it and at that moment.
    pub fn watch(mut self, watcher: impl Fn(&Entry) + Send + Sync + 'static) -> Table {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Puts the table in force for the whole process, in place of the previous one, until the guard is
    /// dropped.
    pub fn install(self) -> Installed {
        Installed { before: super::state().replace(TableState::new(self)) }
    }
}

/// The guard of a table in force. Dropping it restores the previous table, and panics if one of its rules was
/// never hit: a test whose fault did not occur has shown nothing.
#[must_use = "the table is in force as long as this lives"]
pub struct Installed {
    before: Option<TableState>,
}

impl Installed {
    /// Returns how often the rule of this number was hit.
    pub fn hits(&self, rule: usize) -> usize {
        super::with(|state| state.hits()[rule])
    }

    /// Returns how often the call was made, or made to fail, since the table is in force.
    pub fn calls(&self, call: Call) -> usize {
        super::with(|state| state.calls(call))
    }

    /// Returns the log so far.
    pub fn log(&self) -> Vec<Entry> {
        super::with(|state| state.log().to_vec())
    }

    /// Ends the table as a drop does, and returns the hits of each rule instead of asserting that there were
    /// some.
    pub fn end(mut self) -> Vec<usize> {
        let hits = self.restore();
        std::mem::forget(self);
        hits
    }

    /// Ends the table as a drop does, and returns the log.
    pub fn end_with_log(self) -> Vec<Entry> {
        self.log()
    }

    /// Restores the previous table and returns the hits of this one.
    fn restore(&mut self) -> Vec<usize> {
        let ended = std::mem::replace(&mut *super::state(), self.before.take());
        ended.map_or_else(Vec::new, |state| state.hits())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let hits = self.restore();
        let idle = hits.iter().position(|hits| *hits == 0);
        assert!(
            std::thread::panicking() || idle.is_none(),
            "rule {idle:?} of the table of faults was never hit"
        );
    }
}
