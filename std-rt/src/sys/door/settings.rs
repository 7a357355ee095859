//! The table that is in force when none is installed: words in the environment variable `NETPOLL_DOOR`, separated by
//! commas.
//!
//! | word | rules |
//! |---|---|
//! | `seed=N` | what is drawn, 0 without it |
//! | `eintr-once` | every call fails with `EINTR` once before it is made |
//! | `short` | each read and write passes on fewer bytes than it has, one time in two |
//! | `eagain=K` | K times `EAGAIN` before each read, write and accept on a descriptor |
//! | `events` | events are spurious, duplicated, delayed up to 50 ms, in another order, one at a time, stale |

use std::time::Duration;

use rustix::io::Errno;

use super::super::Call;
use super::rules::{Disturbance, Rule, Table};

/// Those that pass bytes.
const BYTES: [Call; 4] = [Call::Recv, Call::Send, Call::Read, Call::Write];

/// Reads the variable; no rules without it.
///
/// # Panics
///
/// If it holds a word that is not in the list: a fault that is not there would go unnoticed.
pub(super) fn from_environment() -> Table {
    let words = std::env::var("NETPOLL_DOOR").unwrap_or_default();
    parse(&words).unwrap_or_else(|word| panic!("NETPOLL_DOOR: there is no `{word}`"))
}

/// The table of some words; those of the list above.
///
/// # Errors
///
/// The word that is not understood.
pub fn parse(words: &str) -> Result<Table, String> {
    let mut table = Table::new(0);
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (name, number) = match word.split_once('=') {
            None => (word, None),
            Some((name, number)) => (name, Some(number.parse::<u32>().map_err(|_| word.to_owned())?)),
        };
        match (name, number) {
            ("seed", Some(seed)) => table.seed = seed.into(),
            ("eintr-once", None) => table.rules.push(Rule::any(Errno::INTR).before_each()),
            ("short", None) => table.rules.extend(BYTES.map(|call| Rule::short(call).chance(0.5))),
            ("eagain", Some(k)) => table.rules.push(Rule::any(Errno::AGAIN).storm(k as usize)),
            ("events", None) => table.rules.extend(disturbed()),
            _ => return Err(word.to_owned()),
        }
    }
    Ok(table)
}

fn disturbed() -> impl Iterator<Item = Rule> {
    let most = Duration::from_millis(50);
    [
        (Disturbance::Spurious, 0.3),
        (Disturbance::Duplicate, 0.3),
        (Disturbance::Both, 0.3),
        (Disturbance::Delay(most), 0.1),
        (Disturbance::Reorder, 0.5),
        (Disturbance::One, 0.5),
        (Disturbance::Stale(most), 0.5),
    ]
    .into_iter()
    .map(|(disturbance, probability)| Rule::events(disturbance).chance(probability))
}
