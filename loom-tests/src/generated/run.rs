//! Runs combinations one after another and prints how many executions each has explored.

use std::io::{BufRead, Write};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::enumerate::{Combination, Enumerated, Kind};
use super::tasks::locked;
use super::{Entry, WORDS};
use crate::harness;

fn combinations() -> impl Iterator<Item = Combination> {
    WORDS.iter().flat_map(|word| (word.enumerate)(None).combinations)
}

/// Carries out `generated-count`: prints the number of combinations by word and kind, and of those skipped by
/// reason.
pub fn count() -> ExitCode {
    let mut total = 0;
    for word in WORDS {
        let Enumerated { roles, combinations, formed, skipped } = (word.enumerate)(None);
        let word = word.name;
        let of = |kind: Kind| combinations.iter().filter(|c| c.kind == kind).count();
        println!("{word}: {} pairs, {} triples of {formed} formed", of(Kind::Pair), of(Kind::Triple));
        for role in roles {
            println!("{word}: role {role}");
        }
        for (reason, n) in skipped {
            println!("{word}: skipped {n}: {reason}");
        }
        total += combinations.len();
    }
    println!("generated: {total} combinations");
    ExitCode::SUCCESS
}

/// Carries out `generated-list [SEED]`: prints a line per combination, `NAME WORD KIND BOUND` between tabs.
/// With a seed, only those that a push explores.
pub fn list(seed: Option<&str>) -> ExitCode {
    let seed: Option<u64> = match seed.map(str::parse).transpose() {
        Ok(seed) => seed,
        Err(e) => {
            eprintln!("loom-tests: the seed of `generated-list` is a number: {e}");
            return ExitCode::from(2);
        }
    };
    for it in combinations().filter(|it| seed.is_none_or(|seed| it.is_drawn(seed))) {
        let bound = it.bound().map_or("-".to_owned(), |n| n.to_string());
        println!("{}\t{}\t{}\t{bound}", it.name, it.word, it.kind.name());
    }
    ExitCode::SUCCESS
}

/// Carries out `generated-run NAME..`, with names from standard input, one a line, if none is given. Prints a
/// combination's name before it runs, so the last line of a log names the combination with the finding.
pub fn run(names: &[&str]) -> ExitCode {
    let names: Vec<String> = if names.is_empty() {
        std::io::stdin().lock().lines().map_while(Result::ok).collect()
    } else {
        names.iter().map(|&name| name.to_owned()).collect()
    };
    let all: std::collections::HashMap<String, Combination> =
        combinations().map(|combination| (combination.name.clone(), combination)).collect();
    if let Some(unknown) = names.iter().find(|name| !all.contains_key(*name)) {
        eprintln!("loom-tests: there is no combination {unknown}; `generated-list` names them");
        return ExitCode::from(2);
    }
    let start = Instant::now();
    let total: u64 = names.iter().map(|name| explore(&all[name])).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("generated combinations={} executions={total} seconds={seconds:.2}", names.len());
    ExitCode::SUCCESS
}

/// Explores one combination within its bound. Returns the number of executions.
fn explore(combination: &Combination) -> u64 {
    print!("{} ", combination.name);
    // A finding may abort the process, so the name is printed first.
    std::io::stdout().flush().expect("the name of the combination can be printed");
    let executions = Arc::new(Mutex::new(0));
    let (counted, body) = (executions.clone(), combination.body.clone());
    harness::explorer(combination.bound()).check(move || {
        *locked(&counted) += 1;
        body();
    });
    let executions = *locked(&executions);
    println!("executions={executions}");
    executions
}

/// Returns every flaw with its word.
fn flaws() -> impl Iterator<Item = (&'static Entry, &'static str)> {
    WORDS.iter().flat_map(|word| word.flaws.iter().map(move |flaw| (word, *flaw)))
}

/// Carries out `generated-controls`: explores each word with each of its flaws until a combination finds the
/// flaw. A finding ends a process, so each flaw has one of its own.
pub fn controls() -> ExitCode {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut missed = 0;
    for (word, flaw) in flaws() {
        let word = word.name;
        let output = Command::new(&program).args(["generated-control", word, flaw]).output();
        let output = output.expect("the program that runs can be started again");
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        let by = log.lines().last().unwrap_or_default().trim().to_owned();
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = reason.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        match reason.filter(|_| !output.status.success()) {
            Some(reason) => println!("control {word} {flaw}: found by {by}: {}", reason.trim()),
            None => {
                missed += 1;
                println!("control {word} {flaw}: MISSED by all combinations");
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Carries out `generated-control WORD FLAW`, which [`controls`] starts.
pub fn control(word: &str, flaw: &str) -> ExitCode {
    let Some((word, flaw)) = flaws().find(|(it, of_word)| (it.name, *of_word) == (word, flaw)) else {
        eprintln!("loom-tests: {word} has no flaw `{flaw}`");
        // The parent process takes a success for a miss.
        return ExitCode::SUCCESS;
    };
    for combination in (word.enumerate)(Some(flaw)).combinations {
        explore(&combination);
    }
    ExitCode::SUCCESS
}
