//! `tidy`: the rules of the house that a compiler cannot check. Sources are read as text.

mod files;
mod floors;
mod leftovers;
mod orderings;
mod promises;
mod rooms;
mod safety;
mod size;
pub mod source;
mod tables;

use self::files::{Files, Finding};
use xtask::{Outcome, cmd};

/// What a rule looked at: a count that must not be 0, and the count in words.
struct Looked(usize, String);

type Rule = fn(&Files, &mut Vec<Finding>) -> Looked;

/// A new rule is a new line here.
const RULES: &[(&str, Rule)] = &[
    ("floors", floors::floors),
    ("unsafe-rooms", rooms::unsafe_rooms),
    ("cfg-rooms", rooms::cfg_rooms),
    ("loom-rooms", rooms::loom_rooms),
    ("sizes", size::sizes),
    ("orderings", orderings::orderings),
    ("safety", safety::safety),
    ("leftovers", leftovers::leftovers),
    ("changelog", promises::changelog),
    ("dropped", promises::dropped),
];

/// Applies every rule; a rule that had nothing to look at is a finding too.
pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    let files = Files::load(&root)?;
    let mut total = 0;
    for (name, rule) in RULES {
        let mut found = Vec::new();
        let Looked(count, told) = rule(&files, &mut found);
        if count == 0 {
            found.push(Finding { path: ".".to_owned(), line: 0, message: "looked at nothing".to_owned() });
        }
        println!("{name:<13} {} findings in {told}", found.len());
        for Finding { path, line, message } in &found {
            println!("{path}:{line}: {name}: {message}");
        }
        total += found.len();
    }
    println!("tidy: {} rules, {} Rust files, {total} findings", RULES.len(), files.rust.len());
    if total == 0 { Ok(()) } else { Err(String::new()) }
}
