//! What a test writes down: rules, tables of them, and the guard of the one in force.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::super::Call;
use super::state::State;

/// What is done to a call, or to the events of a wait.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Fault {
    Error(Errno),
    /// The call passes on at most so many bytes; at most one less than it has, drawn at random, if it is none.
    Short(Option<usize>),
    Disturb(Disturbance),
}

/// What becomes of the events of a wait.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Disturbance {
    /// One of the poller's descriptors is said to be ready in both directions beside the kernel's events.
    Spurious,
    /// An event comes twice.
    Duplicate,
    /// An event says both directions.
    Both,
    /// An event comes later, by a time up to this one.
    Delay(Duration),
    /// The events of a wait come in another order.
    Reorder,
    /// A wait hands up one event, the others come with the next ones.
    One,
    /// An event under the old key comes after its descriptor is closed, up to so much later.
    Stale(Duration),
}

/// Which of the calls that a rule is for it applies to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum When {
    Always,
    /// The n-th, counted from 1.
    Nth(usize),
    /// The n-th and all after it.
    From(usize),
    /// The first n.
    First(usize),
    /// Each with this probability.
    Chance(f64),
    /// From the first one on, for so long.
    During(Duration),
    /// Once before each call of a thread is made.
    BeforeEach,
    /// So many times before each call on a descriptor is made.
    Storm(usize),
}

/// One fault and when it happens: always, unless one of the methods says otherwise.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `None`: any.
    pub(super) call: Option<Call>,
    /// `None`: any.
    pub(super) fd: Option<RawFd>,
    pub(super) fault: Fault,
    pub(super) when: When,
}

impl Rule {
    fn of(call: Option<Call>, fault: Fault) -> Rule {
        Rule { call, fd: None, fault, when: When::Always }
    }

    /// The call fails.
    pub fn error(call: Call, errno: Errno) -> Rule {
        Rule::of(Some(call), Fault::Error(errno))
    }

    /// Any call fails.
    pub fn any(errno: Errno) -> Rule {
        Rule::of(None, Fault::Error(errno))
    }

    /// The call passes on fewer bytes than it was given, drawn at random.
    pub fn short(call: Call) -> Rule {
        Rule::of(Some(call), Fault::Short(None))
    }

    /// The call passes on at most `most` bytes.
    pub fn short_to(call: Call, most: usize) -> Rule {
        Rule::of(Some(call), Fault::Short(Some(most.max(1))))
    }

    /// Events are disturbed.
    pub fn events(disturbance: Disturbance) -> Rule {
        Rule::of(None, Fault::Disturb(disturbance))
    }

    /// Only calls on this descriptor.
    pub fn on(mut self, fd: RawFd) -> Rule {
        self.fd = Some(fd);
        self
    }

    fn when(mut self, when: When) -> Rule {
        self.when = when;
        self
    }

    /// The n-th call only, counted from 1.
    pub fn nth(self, n: usize) -> Rule {
        self.when(When::Nth(n))
    }

    /// The n-th call and every later one.
    pub fn from(self, n: usize) -> Rule {
        self.when(When::From(n))
    }

    /// The first `n` calls.
    pub fn first(self, n: usize) -> Rule {
        self.when(When::First(n))
    }

    /// Each call with this probability, from 0 to 1.
    pub fn chance(self, probability: f64) -> Rule {
        self.when(When::Chance(probability))
    }

    /// Every call for this long, beginning with the first.
    pub fn during(self, time: Duration) -> Rule {
        self.when(When::During(time))
    }

    /// Once before every call that a thread makes; the call that follows goes through.
    pub fn before_each(self) -> Rule {
        self.when(When::BeforeEach)
    }

    /// `k` times before every call on a descriptor; the call that follows goes through.
    pub fn storm(self, k: usize) -> Rule {
        self.when(When::Storm(k))
    }
}

/// One call, as it went through the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which.
    pub call: Call,
    /// On which descriptor; -1 for a call that has none.
    pub fd: RawFd,
    /// The error that was injected. The kernel was asked if there is none (for what the door is told afterwards:
    /// always).
    pub error: Option<Errno>,
}

pub(super) type Watcher = Arc<dyn Fn(&Entry) + Send + Sync>;

/// A seed and the rules that are drawn with it. The first rule that applies to a call decides.
#[derive(Clone)]
pub struct Table {
    pub(super) seed: u64,
    pub(super) rules: Vec<Rule>,
    pub(super) logs: bool,
    pub(super) watcher: Option<Watcher>,
}

impl Table {
    /// No rules. What they will draw is decided by `seed` and by the order of the calls.
    pub fn new(seed: u64) -> Table {
        Table { seed, rules: Vec::new(), logs: false, watcher: None }
    }

    /// One rule more; they are numbered from 0.
    pub fn rule(mut self, rule: Rule) -> Table {
        self.rules.push(rule);
        self
    }

    /// Keeps a log of all calls.
    pub fn log(mut self) -> Table {
        self.logs = true;
        self
    }

    /// Shows each call to `watcher`, on the thread that makes it and at that moment.
    pub fn watch(mut self, watcher: impl Fn(&Entry) + Send + Sync + 'static) -> Table {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Puts the table in force for the whole process, in place of the one before, until the guard is dropped.
    pub fn install(self) -> Installed {
        Installed { before: super::state().replace(State::new(self)) }
    }
}

/// A table in force. Dropping it puts the one before back, and panics if one of its rules was never hit: a test that
/// did not meet its fault has shown nothing.
#[must_use = "the table is in force as long as this lives"]
pub struct Installed {
    before: Option<State>,
}

impl Installed {
    /// How often the rule of this number was hit.
    pub fn hits(&self, rule: usize) -> usize {
        super::with(|state| state.hits()[rule])
    }

    /// How often the call was made or was to be made since the table is in force.
    pub fn calls(&self, call: Call) -> usize {
        super::with(|state| state.calls(call))
    }

    /// The log so far.
    pub fn log(&self) -> Vec<Entry> {
        super::with(|state| state.log().to_vec())
    }

    /// Ends it like a drop, but gives the hits of each rule instead of asserting that there were some.
    pub fn end(mut self) -> Vec<usize> {
        let hits = self.restore();
        std::mem::forget(self);
        hits
    }

    /// Ends it like a drop, and gives the log.
    pub fn end_with_log(self) -> Vec<Entry> {
        self.log()
    }

    /// The table before, back in force; the hits of this one.
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
            "rule {idle:?} of the door's table was never hit"
        );
    }
}
