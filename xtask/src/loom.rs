//! `loom`: the models of core, each in a process of its own.

mod generated;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::checker::{self, Loom};
use crate::{Outcome, cmd};

/// For one model.
const LIMIT: Duration = Duration::from_secs(300);
const LIMIT_DEEP: Duration = Duration::from_secs(3000);

/// The last line of a self-test that found nothing.
const SELF_TEST_OK: &str = "checker self-test: ok";

/// A line of `loom-tests list`.
#[derive(Clone)]
pub struct Model {
    pub name: String,
    threads: String,
    bound: Option<usize>,
    pub expect: String,
}

/// What came of a model; executions of one that is to be red are not counted.
pub struct Row {
    pub name: String,
    pub green: bool,
    pub executions: u64,
    pub verdict: Result<(), String>,
}

pub struct Args {
    pub root: PathBuf,
    pub filter: String,
    pub bless: bool,
    pub deep: bool,
    stock: bool,
    seed: Option<u64>,
}

/// Runs the models whose name holds the word given, or all. `--bless` records how many executions each has explored,
/// `--deep` allows one preemption more, or the bound that `loom-tests/deep.txt` has for a model.
/// `--stock` shows that the self-test of the checker finds the holes of loom as the registry has it.
pub fn run(args: &[String]) -> Outcome {
    let args = parse_args(args)?;
    let start = Instant::now();
    if args.stock {
        return stock(&args.root);
    }
    let (program, logs) = build(&args.root, Loom::Corrected)?;
    self_test(&program, &logs)?;
    let mut models = list(&program, &args.filter)?;
    if args.deep {
        deepen(&mut models, &read(&args.root.join("loom-tests/deep.txt"))?)?;
    }
    let minimums = args.root.join("loom-tests/minimums.txt");
    let recorded = if args.bless { None } else { Some(read(&minimums)?) };
    println!(
        "{:<56} {:>7} {:>5} {:>10} {:>7}  verdict",
        "model", "threads", "bound", "executions", "seconds"
    );
    let rows = run_all(&models, &program, &logs, &args, recorded.as_ref());
    let wrong = |row: &Row| Some(format!("{}: {}", row.name, row.verdict.as_ref().err()?));
    let mut red: Vec<String> = rows.iter().filter_map(wrong).collect();
    if let Some(recorded) = recorded.filter(|_| args.filter.is_empty()) {
        red.extend(vanished(&recorded, &models));
    }
    if args.bless && red.is_empty() {
        bless(&minimums, &rows, args.filter.is_empty())?;
    }
    let executions: u64 = rows.iter().map(|row| row.executions).sum();
    let twins = rows.iter().filter(|row| !row.green && row.verdict.is_ok()).count();
    let seconds = start.elapsed().as_secs_f64();
    let models = rows.len();
    let told = generated(&args, &program, &logs, &mut red)?;
    for reason in &red {
        println!("red: {reason}");
    }
    println!("loom: {twins} of the models are twins and red as they must be, {seconds:.1} s");
    println!("{SELF_TEST_OK}");
    println!("named: {models} models, {executions} executions");
    if let Some(told) = told {
        println!("{told}");
    }
    if red.is_empty() { Ok(()) } else { Err(format!("{} models are not as they must be", red.len())) }
}

/// Runs the generated combinations, all with `--deep`; returns the line that says how many. None with a filter, which
/// picks named models, and none while the package has no generated models.
fn generated(
    args: &Args,
    program: &Path,
    logs: &Path,
    red: &mut Vec<String>,
) -> Result<Option<String>, String> {
    if !args.filter.is_empty() || !args.root.join("loom-tests/src/generated.rs").is_file() {
        return Ok(None);
    }
    let seed = (!args.deep).then(|| generated::seed(args.seed));
    if let Some(seed) = seed {
        println!("generated: drawn by --seed={seed}");
    }
    let start = Instant::now();
    println!("generated: {}", generated::controls(program)?);
    let explored = generated::run(program, logs, seed, if args.deep { LIMIT_DEEP } else { LIMIT })?;
    let least = if args.deep { generated::ALL } else { generated::DRAWN };
    if explored.red.is_empty() && explored.combinations < least {
        red.push(format!("generated: {} combinations, {least} once; what is gone?", explored.combinations));
    }
    red.extend(explored.red);
    println!("generated: {:.1} s", start.elapsed().as_secs_f64());
    Ok(Some(format!("generated: {} combinations, {} executions", explored.combinations, explored.executions)))
}

/// Allows each model one preemption more, or as many as the table has for it.
pub fn deepen(models: &mut [Model], table: &BTreeMap<String, u64>) -> Outcome {
    for model in &mut *models {
        let listed = table.get(&model.name).and_then(|bound| usize::try_from(*bound).ok());
        model.bound = model.bound.map(|bound| listed.unwrap_or(bound + 1));
        if model.bound.is_none() && listed.is_some() {
            return Err(format!("loom-tests/deep.txt bounds {}, which a push explores whole", model.name));
        }
    }
    Ok(())
}

pub fn parse_args(args: &[String]) -> Result<Args, String> {
    let (root, rest) = cmd::take_root(args)?;
    let (flags, words): (Vec<String>, Vec<String>) = rest.into_iter().partition(|arg| arg.starts_with("--"));
    let mut parsed =
        Args { root, filter: String::new(), bless: false, deep: false, stock: false, seed: None };
    for flag in &flags {
        match flag.as_str() {
            "--bless" => parsed.bless = true,
            "--deep" => parsed.deep = true,
            "--stock" => parsed.stock = true,
            _ => match flag.strip_prefix("--seed=").map(str::parse) {
                Some(Ok(seed)) => parsed.seed = Some(seed),
                _ => {
                    let known = "--bless, --deep, --stock and --seed=N";
                    return Err(format!("does not understand `{flag}`; it knows {known}"));
                }
            },
        }
    }
    if parsed.bless && parsed.deep {
        return Err("--deep explores more than a push does, so it records nothing".to_owned());
    }
    match &words[..] {
        [] => {}
        [filter] => parsed.filter.clone_from(filter),
        _ => return Err("takes one word that the models' names hold".to_owned()),
    }
    Ok(parsed)
}

/// Runs the self-test of the checker. Counts of executions say nothing when it fails.
fn self_test(program: &Path, logs: &Path) -> Outcome {
    let log = logs.join("self-test.log");
    let ended = cmd::limited(Command::new(program).arg("self-test"), LIMIT, &log);
    // A log that cannot be read holds no verdict.
    let output = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    print!("{output}");
    ended.map_err(|reason| format!("the model checker explores less than it must: {reason}"))?;
    match output.lines().last() {
        Some(SELF_TEST_OK) => Ok(()),
        _ => Err(format!("the self-test of the checker has not said `{SELF_TEST_OK}`: {}", log.display())),
    }
}

/// The control of the self-test: with loom as the registry has it, it must fail, by its own verdict.
fn stock(root: &Path) -> Outcome {
    let (program, logs) = build(root, Loom::Stock)?;
    match self_test(&program, &logs) {
        Ok(()) => Err("the self-test of the checker passes with loom as it is, and must not".to_owned()),
        Err(reason) => {
            let output =
                String::from_utf8_lossy(&std::fs::read(logs.join("self-test.log")).unwrap_or_default())
                    .into_owned();
            if !output.contains(" programs are explored in part only") {
                return Err(reason);
            }
            println!("loom: the self-test is red with loom as it is, as it must be");
            Ok(())
        }
    }
}

/// Builds the models in a workspace of their own, against loom with our corrections or as it is. Returns the program
/// and the folder of its logs.
fn build(root: &Path, loom: Loom) -> Result<(PathBuf, PathBuf), String> {
    let place = cmd::target_dir(root)?.join(if loom == Loom::Stock { "loom-stock" } else { "loom" });
    let tree = checker::prepare(root, &place, loom, &|_| None)?;
    let program = checker::build(&tree, &place.join("target"), "")?;
    let logs = place.join("logs");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    Ok((program, logs))
}

pub fn list(program: &Path, filter: &str) -> Result<Vec<Model>, String> {
    let output = cmd::capture(Command::new(program).arg("list"))?;
    let mut models = Vec::new();
    for line in output.lines() {
        let [name, threads, bound, expect] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("not `name threads bound expect`: {line}"));
        };
        if models.iter().any(|model: &Model| model.name == name) {
            return Err(format!("two models are called {name}"));
        }
        // `-` is no number: all preemptions are explored.
        let bound = bound.parse().ok();
        models.push(Model { name: name.into(), threads: threads.into(), bound, expect: expect.into() });
    }
    let all = models.len();
    models.retain(|model| model.name.contains(filter));
    match (all, models.len()) {
        (0, _) => Err("there is no model".to_owned()),
        (_, 0) => Err(format!("no model of {all} has `{filter}` in its name")),
        _ => Ok(models),
    }
}

/// As many at a time as there are processors.
pub fn run_all(
    models: &[Model],
    program: &Path,
    logs: &Path,
    args: &Args,
    recorded: Option<&BTreeMap<String, u64>>,
) -> Vec<Row> {
    let queue = Mutex::new(models.iter());
    let rows = Mutex::new(Vec::new());
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(model) = next(&queue) {
                    let row = run_one(model, program, logs, args.deep, recorded);
                    rows.lock().expect("a lane does not panic here").push(row);
                }
            });
        }
    });
    rows.into_inner().expect("no lane has panicked")
}

fn next<'m>(queue: &Mutex<std::slice::Iter<'m, Model>>) -> Option<&'m Model> {
    queue.lock().expect("a lane does not panic here").next()
}

fn run_one(
    model: &Model,
    program: &Path,
    logs: &Path,
    deep: bool,
    recorded: Option<&BTreeMap<String, u64>>,
) -> Row {
    let bound = model.bound;
    let log = logs.join(format!("{}.log", model.name));
    let mut command = Command::new(program);
    command.args(["run", &model.name]).args(bound.map(|bound| bound.to_string()));
    let start = Instant::now();
    let ended = cmd::limited(&mut command, if deep { LIMIT_DEEP } else { LIMIT }, &log);
    let seconds = start.elapsed().as_secs_f64();
    // A log that cannot be read holds no executions and no finding, and either is missed below.
    let output = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    let green = model.expect == "Green";
    let executions = if green { counted(&output, &model.name) } else { 0 };
    let verdict = if green {
        passed(ended, executions, recorded.map(|recorded| recorded.get(&model.name).copied()))
    } else {
        found(ended, &output, &model.expect)
    };
    let shown = if green { executions.to_string() } else { "-".to_owned() };
    let told = match &verdict {
        Ok(()) if green => "green".to_owned(),
        Ok(()) => format!("red, as it must be: {}", model.expect.to_lowercase()),
        Err(_) => "RED".to_owned(),
    };
    let bound = bound.map_or("all".to_owned(), |bound| bound.to_string());
    println!("{:<56} {:>7} {bound:>5} {shown:>10} {seconds:>7.1}  {told}", model.name, model.threads);
    Row { name: model.name.clone(), green, executions, verdict }
}

/// The number in the line that a model prints when it has explored everything.
fn counted(output: &str, name: &str) -> u64 {
    let line = output.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(" executions="));
    line.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// The verdict on a model that must pass. `minimum` is missing when there is nothing to compare with, and holds nothing
/// when there ought to be.
fn passed(ended: Result<f64, String>, executions: u64, minimum: Option<Option<u64>>) -> Result<(), String> {
    ended?;
    match minimum {
        _ if executions == 0 => Err("said nothing about its executions".to_owned()),
        Some(None) => Err("is not among the recorded minimums; --bless records it".to_owned()),
        Some(Some(recorded)) if executions * 5 < recorded * 4 => {
            Err(format!("explored {executions} executions, {recorded} once; what is gone?"))
        }
        _ => Ok(()),
    }
}

/// The verdict on a model that must fail, and for its own reason.
fn found(ended: Result<f64, String>, output: &str, expect: &str) -> Result<(), String> {
    if ended.is_ok() {
        return Err("passed, and must not: its race is not asked about any more".to_owned());
    }
    let has = |text: &str| output.contains(text);
    let reason = match expect {
        "Deadlock" => has("deadlock; threads =") || has("deadlock! blocked tasks:"),
        "Assertion" => has("model:"),
        "Race" => has("Causality violation"),
        _ => has("deadlock; threads =") || has("Causality violation") || has("model:"),
    };
    if reason { Ok(()) } else { Err(format!("failed, but not by {}", expect.to_lowercase())) }
}

pub fn read(minimums: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = std::fs::read_to_string(minimums).map_err(|e| format!("{}: {e}", minimums.display()))?;
    let line = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    let wrong = |text: &str| format!("{}: not `name count`: {text}", minimums.display());
    text.lines().map(|text| line(text).ok_or_else(|| wrong(text))).collect()
}

/// A model that was there once and is no more.
pub fn vanished(recorded: &BTreeMap<String, u64>, models: &[Model]) -> Vec<String> {
    let there = |name: &str| models.iter().any(|model| model.name == name && model.expect == "Green");
    let gone = recorded.keys().filter(|name| !there(name));
    gone.map(|name| format!("{name}: is among the recorded minimums and is gone")).collect()
}

/// Writes the counts of this run; the lines of models that did not run stay, unless all ran.
pub fn bless(minimums: &Path, rows: &[Row], all: bool) -> Outcome {
    // The first blessing finds no file.
    let mut lines = if all || !minimums.exists() { BTreeMap::new() } else { read(minimums)? };
    lines.extend(rows.iter().filter(|row| row.green).map(|row| (row.name.clone(), row.executions)));
    let text: String = lines.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
    std::fs::write(minimums, text).map_err(|e| format!("{}: {e}", minimums.display()))?;
    println!("recorded: {} models", lines.len());
    Ok(())
}
