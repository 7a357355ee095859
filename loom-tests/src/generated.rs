//! Generated models: every combination of operations, also those that no author of a named model thought of.
//!
//! Each word has its operations, its surroundings and one oracle ([`word::Word`]). The combinations of
//! operations are enumerated ([`enumerate`]) and explored one after another in one process ([`run`]). A word
//! can also be created with a deliberate fault, which the combinations must find: which tests the oracle
//! itself.

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

/// The commands' access to a word.
struct Entry {
    name: &'static str,
    flaws: &'static [&'static str],
    /// Enumerates its combinations, with one of its flaws or none.
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

/// Runs one of the commands below. Returns `None` if it is another command.
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
