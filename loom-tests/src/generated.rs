//! Generated models: named ones ask what their authors thought of, these ask the rest.
//!
//! Each word has one alphabet of operations, one world and one oracle ([`word::Word`]). The combinations of operations
//! are enumerated ([`enumerate`]) and explored one after another in one process ([`run`]). A word's world can also be
//! made with a deliberate fault, which the combinations must find: so the oracle itself is tested.

use std::process::ExitCode;

use self::enumerate::{Enumerated, enumerate};
use self::word::Word;

mod cache;
mod desc;
mod enumerate;
mod fd_mutex;
mod idle;
mod poller_lock;
mod pool;
mod run;
mod run_queue;
mod task;
mod tasks;
mod word;

/// A word, as the commands see it.
struct Entry {
    name: &'static str,
    flaws: &'static [&'static str],
    /// With one of its flaws or none.
    enumerate: fn(Option<&'static str>) -> Enumerated,
}

impl Entry {
    const fn of<W: Word>() -> Self {
        Self { name: W::NAME, flaws: W::FLAWS, enumerate: enumerate::<W> }
    }
}

const WORDS: &[Entry] = &[
    Entry::of::<desc::Desc>(),
    Entry::of::<cache::Slots>(),
    Entry::of::<fd_mutex::Locks>(),
    Entry::of::<run_queue::Bench>(),
    Entry::of::<idle::Sched>(),
    Entry::of::<poller_lock::Driver>(),
    Entry::of::<task::Cell>(),
];

/// Runs one of the commands below; none if it is another.
///
/// | command | prints |
/// |---|---|
/// | `generated-count` | combinations by word and kind, and how many were skipped for which reason |
/// | `generated-list [SEED]` | `NAME WORD KIND BOUND` of every combination, or of those that a push with this seed explores |
/// | `generated-run [NAME..]` | `NAME executions=N` of each named, or of each line of standard input, and a total |
/// | `generated-controls` | which combination has found each flaw; fails if one was missed |
pub fn main(args: &[&str]) -> Option<ExitCode> {
    match *args {
        ["generated-count"] => Some(run::count()),
        ["generated-list"] => Some(run::list(None)),
        ["generated-list", seed] => Some(run::list(Some(seed))),
        ["generated-run", ref names @ ..] => Some(run::run(names)),
        ["generated-controls"] => Some(run::controls()),
        ["generated-control", word, flaw] => Some(run::control(word, flaw)),
        _ => None,
    }
}
