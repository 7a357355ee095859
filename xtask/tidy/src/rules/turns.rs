//! The turn of a test: the tests of one program that open descriptors run one at a time.

use std::collections::{BTreeMap, BTreeSet};

use tidy::source::{Function, Kind, Source};

use super::tables::{OPENS, TAKES_TURN};
use super::{Findings, Looked, Tree};

/// The programs whose tests compare the descriptors of the process, or count its system calls.
const PROGRAMS: [&str; 2] = ["std-rt/tests/it/", "std-rt/tests/features/tests/it/"];

/// The functions of the files of one subject, by name. Functions of the same name count as one.
type Functions<'t> = BTreeMap<&'t str, Vec<(&'t Source, &'t Function)>>;

/// Demands that a test which opens descriptors takes the turn, so that no other test of its program runs meanwhile: the test
/// itself, or a function of its subject that it reaches.
pub fn turns(tree: &Tree, out: &mut Findings) -> Looked {
    let count: usize = PROGRAMS.iter().map(|program| turns_of(tree, program, out)).sum();
    Looked(count, format!("{count} tests of {} programs", PROGRAMS.len()))
}

/// Checks one program; returns the number of its tests.
fn turns_of(tree: &Tree, program: &str, out: &mut Findings) -> usize {
    let mut subjects: BTreeMap<&str, Functions<'_>> = BTreeMap::new();
    for source in tree.under(program) {
        let subject = source.path[program.len()..].split(['/', '.']).next().unwrap_or_default();
        let functions = subjects.entry(subject).or_default();
        for function in &source.functions {
            functions.entry(&function.name).or_default().push((source, function));
        }
    }
    let mut count = 0;
    for functions in subjects.values() {
        for (source, function) in functions.values().flatten().filter(|(source, f)| is_test(source, f)) {
            count += 1;
            let words = reached(functions, &function.name);
            let has = |table: &[&str]| table.iter().any(|word| words.contains(word));
            if has(OPENS) && !has(TAKES_TURN) {
                let message = format!("{} opens descriptors and does not take its turn", function.name);
                out.add(&source.path, source.line(function.tokens.start), message);
            }
        }
    }
    count
}

/// Returns whether `#[test]` is among the attributes of the function.
fn is_test(source: &Source, function: &Function) -> bool {
    let attributes =
        (0..function.tokens.start).rev().take_while(|at| ![";", "}"].contains(&source.word(*at)));
    attributes.into_iter().any(|at| source.stands(at, &["#", "[", "test", "]"]))
}

/// Returns the words of the function and of those functions of its subject that it names, and so on. A method, or a function
/// of a type, is not followed: other types have one of that name.
fn reached<'t>(functions: &Functions<'t>, name: &'t str) -> BTreeSet<&'t str> {
    let (mut words, mut followed, mut left) = (BTreeSet::new(), BTreeSet::from([name]), vec![name]);
    while let Some(name) = left.pop() {
        for (source, function) in functions.get(name).into_iter().flatten() {
            for at in function.tokens.clone().filter(|at| source.tokens[*at].kind == Kind::Word) {
                let word = source.word(at);
                words.insert(word);
                if ![".", ":"].contains(&source.word(at.saturating_sub(1))) && followed.insert(word) {
                    left.push(word);
                }
            }
        }
    }
    words
}
