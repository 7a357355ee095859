//! `sim`: the tests of the simulation. With `--seeds N` or `--seed S` the suite within it, on all cores; with `--mutants`
//! the same suite with faults that were mended, put back one at a time.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

use crate::suites;

/// The flag of the simulation; `sys.rs` asks for it.
const FLAG: &str = "--cfg netpoll_sim";

/// The program of the tests that run seeds: fast, but with every assertion.
const PROGRAM: &[&str] = &["test", "-p", "netpoll-rt", "--profile", "loom", "--test", "sim"];

/// The tests that run seeds unless another one is named.
const SUITE: &str = "suite::";

/// The test of `--ops`: the generated operations alone.
const OPERATIONS: &str = "small::operations";

/// The seeds that a mutant gets, unless `--seeds` says another number.
const SEEDS_OF_A_MUTANT: u64 = 10_000;

/// The time that a mutant gets.
const LIMIT: Duration = Duration::from_secs(240);

/// The table of the faults.
const MUTANTS: &str = "std-rt/tests/sim/mutants.txt";

/// Runs what the arguments name.
pub fn run(args: &[String]) -> Outcome {
    if !args.iter().any(|arg| ["--seeds", "--seed", "--mutants"].contains(&arg.as_str())) {
        return suites::sim(args);
    }
    let (mutants, args) = cmd::take_flag(args, "--mutants");
    let (operations, args) = cmd::take_flag(&args, "--ops");
    let tests = if operations { OPERATIONS } else { SUITE };
    let (root, mut args) = cmd::take_root(&args)?;
    let seed = take_number(&mut args, "--seed")?;
    let seeds = take_number(&mut args, "--seeds")?;
    match (mutants, seeds, seed, &args[..]) {
        (true, seeds, None, [] | [_]) => {
            run_mutants(&root, args.first().map_or("", String::as_str), seeds.unwrap_or(SEEDS_OF_A_MUTANT))
        }
        (false, Some(seeds), None, []) => run_seeds(&root, tests, seeds),
        (false, None, Some(seed), []) => {
            let mut command = program(&root, &root)?;
            cmd::run(command.args([tests, "--", "--nocapture"]).env("NETPOLL_SIM_SEED", seed.to_string()))
        }
        _ => Err("takes --seeds N or --seed S, either with --ops, --mutants [WORD], --faults N, tokio, compare, poll, replay, or --bless"
            .to_owned()),
    }
}

fn take_number(args: &mut Vec<String>, flag: &str) -> Result<Option<u64>, String> {
    let Some(at) = args.iter().position(|arg| arg == flag) else { return Ok(None) };
    let number = args.get(at + 1).and_then(|text| text.parse().ok());
    let number = number.ok_or(format!("{flag} needs a number"))?;
    args.drain(at..at + 2);
    Ok(Some(number))
}

/// Returns the command that runs the program of a tree.
fn program(root: &Path, tree: &Path) -> Result<Command, String> {
    let mut command = cmd::cargo(tree, PROGRAM);
    command
        .env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join("sim"))
        .env("RUSTFLAGS", format!("{} {FLAG}", cmd::INTERNAL))
        .env_remove("NETPOLL_SIM_SEED");
    Ok(command)
}

/// Runs many seeds, and says how to repeat one that fails.
fn run_seeds(root: &Path, tests: &str, seeds: u64) -> Outcome {
    cmd::run(program(root, root)?.arg("--no-run"))?;
    let start = Instant::now();
    let (status, output) = cmd::stream(
        program(root, root)?.args([tests, "--", "--nocapture"]).env("NETPOLL_SIM_SEEDS", seeds.to_string()),
    )?;
    let seconds = start.elapsed().as_secs_f64();
    match failed(&output) {
        None if status.success() => {
            println!(
                "sim: {seeds} seeds, 0 failed, {seconds:.0} s, {:.0} seeds a second",
                seeds as f64 / seconds
            );
            Ok(())
        }
        None => Err("the suite ended without the name of a seed".to_owned()),
        Some(seed) => {
            let ops = if tests == OPERATIONS { " --ops" } else { "" };
            Err(format!("seed {seed} fails; `cargo xtask sim{ops} --seed {seed}` repeats it"))
        }
    }
}

/// Returns the seed that the suite names as the one that fails.
fn failed(output: &str) -> Option<u64> {
    let (_, rest) = output.split_once("; run this test with NETPOLL_SIM_SEED=")?;
    rest.split(' ').next()?.parse().ok()
}

/// A fault that is put back.
struct Mutant {
    name: String,
    title: String,
    file: PathBuf,
    /// Which of how many places with the text.
    at: (usize, usize),
    text: String,
    weaker: String,
    /// The tests that find it.
    by: String,
    /// The reason why no seed is known that finds it.
    missed: String,
}

/// Builds all faults into one program, of which a variable selects one, and runs seeds until each was found.
fn run_mutants(root: &Path, word: &str, seeds: u64) -> Outcome {
    let mutants = read(&root.join(MUTANTS))?;
    let tree = plant(root, &mutants)?;
    cmd::run(program(root, &tree)?.arg("--no-run"))?;
    let log = tree.with_file_name("log");
    let (mut found_count, mut missed) = (0, Vec::new());
    for (number, mutant) in (1..).zip(&mutants).filter(|(_, mutant)| mutant.name.contains(word)) {
        if word.is_empty() && !mutant.missed.is_empty() {
            println!("{:<24} not run ({}): {}", mutant.name, mutant.missed, mutant.title);
            continue;
        }
        let mut command = program(root, &tree)?;
        command
            .arg(&mutant.by)
            .env("NETPOLL_SIM_SEEDS", seeds.to_string())
            .env("NETPOLL_SIM_FAULT", number.to_string());
        let ended = cmd::limited(&mut command, LIMIT, &log);
        let output = std::fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let found = match (ended, failed(&output)) {
            (_, Some(seed)) => {
                found_count += 1;
                format!("found by seed {seed}")
            }
            (ended, None) => {
                missed.push(mutant.name.clone());
                ended.map_or_else(
                    |_| format!("not found in {LIMIT:?}"),
                    |_| format!("not found in {seeds} seeds"),
                )
            }
        };
        println!("{:<24} {found}: {}", mutant.name, mutant.title);
    }
    println!("sim: {found_count} of {} faults found", mutants.len());
    match &missed[..] {
        [] if found_count == 0 => Err(format!("no fault has `{word}` in its name")),
        [] => Ok(()),
        missed => Err(format!("not found: {}", missed.join(", "))),
    }
}

/// Reads the table.
fn read(path: &Path) -> Result<Vec<Mutant>, String> {
    let table = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut mutants = Vec::new();
    let mut key = "";
    for line in table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if let Some((name, title)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            let (name, title) = (name.to_owned(), title.to_owned());
            let (file, text, weaker) = (PathBuf::new(), String::new(), String::new());
            let (by, missed) = (SUITE.to_owned(), String::new());
            mutants.push(Mutant { name, title, file, at: (1, 1), text, weaker, by, missed });
            continue;
        }
        let mutant = mutants.last_mut().ok_or(format!("{line}: no mutant has begun"))?;
        let value = if line.starts_with(' ') {
            line
        } else {
            let (name, value) = line.split_once(": ").ok_or(format!("{line}: needs a key"))?;
            key = name;
            value
        };
        match key {
            "file" => mutant.file.push(value),
            "at" => {
                let parsed =
                    value.split_once(" of ").and_then(|(at, of)| Some((at.parse().ok()?, of.parse().ok()?)));
                mutant.at = parsed.ok_or(format!("{line}: needs `1 of 2`"))?;
            }
            "text" => mutant.text += &format!("{value}\n"),
            "weaker" => mutant.weaker += &format!("{value}\n"),
            "by" => mutant.by = value.to_owned(),
            "missed" => mutant.missed += value,
            _ => return Err(format!("{line}: the key is not known")),
        }
    }
    Ok(mutants)
}

/// The function of the choices, which is added to the copy of core.
const CHOICE: &str = r#"
extern crate std;
/// Returns whether the variable selects this fault.
pub fn planted(number: usize) -> bool {
    static NUMBER: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let read = || std::env::var("NETPOLL_SIM_FAULT").map_or(0, |n| n.parse().expect("a number"));
    *NUMBER.get_or_init(read) == number
}
"#;

/// Copies the workspace, and makes the text of each fault a choice.
fn plant(root: &Path, mutants: &[Mutant]) -> Result<PathBuf, String> {
    let tree = cmd::target_dir(root)?.join("sim-mutants/tree");
    let skip = |path: &Path| path.ends_with("target") || path.ends_with(".git") || path.ends_with(".cargo");
    let mut paths = Vec::new();
    cmd::files_under(root, &skip, &mut paths)?;
    for path in paths {
        let name = path.strip_prefix(root).map_err(|e| e.to_string())?;
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => blend(text, name, mutants)?.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        let to = tree.join(name);
        if std::fs::read(&to).is_ok_and(|present| present == bytes) {
            continue;
        }
        let written =
            std::fs::create_dir_all(to.parent().unwrap_or(&tree)).and_then(|()| std::fs::write(&to, bytes));
        written.map_err(|e| format!("{}: {e}", to.display()))?;
    }
    Ok(tree)
}

fn blend(mut text: String, name: &Path, mutants: &[Mutant]) -> Result<String, String> {
    for (number, mutant) in (1..).zip(mutants).filter(|(_, mutant)| mutant.file == name) {
        let site = find(&text, mutant)
            .ok_or(format!("{}: its text is not there as often as it says", mutant.name))?;
        let path = if name.starts_with("core") { "crate" } else { "netpoll_core" };
        let (weaker, present) = (&mutant.weaker, &text[site.clone()]);
        let choice = format!("{{ if {path}::sync::planted({number}) {{ {weaker} }} else {{ {present} }} }}");
        text.replace_range(site, &choice);
    }
    if name == Path::new("core/src/sync.rs") {
        text += CHOICE;
    }
    Ok(text)
}

/// Returns the place of a fault's text, compared without spaces.
fn find(text: &str, mutant: &Mutant) -> Option<Range<usize>> {
    let visible = |text: &str| -> Vec<(usize, char)> {
        text.char_indices().filter(|(_, letter)| !letter.is_whitespace()).collect()
    };
    let (all, part) = (visible(text), visible(&mutant.text));
    let stands = |window: &&[(usize, char)]| window.iter().zip(&part).all(|((_, a), (_, b))| a == b);
    let found: Vec<_> = all.windows(part.len().max(1)).filter(stands).collect();
    let (at, of) = mutant.at;
    let (first, last) = found.get(at - 1).and_then(|window| Some((window.first()?, window.last()?)))?;
    (found.len() == of).then_some(first.0..last.0 + last.1.len_utf8())
}
