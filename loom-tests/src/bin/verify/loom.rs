//! `loom`: the models of core. First the self-test of the checker, then the named models, then the generated ones.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use xtask::{Outcome, cmd};

use crate::checker::{self, Loom};
use crate::models::{self, Args, LIMIT, lanes, logged};

/// The last line of a self-test that found nothing.
const SELF_TEST_OK: &str = "checker self-test: ok";

/// The number of generated combinations that one process runs. Its log names the combination that failed last.
const CHUNK: usize = 50;

/// The number of combinations when this was written, and a little less than a seed draws.
const ALL: u64 = 18_888;
const DRAWN: u64 = 4_700;

/// Runs the models whose name holds the word given, or all. `--bless` records how many executions each has explored,
/// `--deep` allows one preemption more, or the bound that `loom-tests/deep.txt` has for a model, and runs all generated
/// combinations instead of those that `--seed=N` draws. `--stock` shows that the self-test finds the holes of loom as the
/// registry has it.
pub fn run(args: &[String]) -> Outcome {
    let args = Args::parse(args)?;
    let start = Instant::now();
    if args.stock {
        return stock(&args.root);
    }
    let (program, logs) = build(&args.root, Loom::Corrected)?;
    self_test(&program, &logs)?;
    let mut models = models::list(&program, &args.filter)?;
    if args.deep {
        models::deepen(&mut models, &models::read(&args.root.join("loom-tests/deep.txt"))?)?;
    }
    println!(
        "{:<56} {:>7} {:>5} {:>10} {:>7}  verdict",
        "model", "threads", "bound", "executions", "seconds"
    );
    let minimums = args.root.join("loom-tests/minimums.txt");
    let (rows, mut red) = models::run(&models, &program, &logs, &args, &minimums)?;
    let seconds = start.elapsed().as_secs_f64();
    // A filter picks named models.
    let generated = if args.filter.is_empty() && args.root.join("loom-tests/src/generated.rs").is_file() {
        Some(generated(&args, &program, &logs, &mut red)?)
    } else {
        None
    };
    for reason in &red {
        println!("red: {reason}");
    }
    let twins = rows.iter().filter(|row| !row.green && row.verdict.is_ok()).count();
    println!("loom: {twins} of the models are twins and red as they must be, {seconds:.1} s");
    println!("{SELF_TEST_OK}");
    let executions: u64 = rows.iter().map(|row| row.executions).sum();
    println!("named: {} models, {executions} executions", rows.len());
    if let Some(line) = generated {
        println!("{line}");
    }
    if red.is_empty() { Ok(()) } else { Err(format!("{} models are not as they must be", red.len())) }
}

/// Builds the models in a workspace of their own, against loom with our corrections or as it is. Returns the program
/// and the folder of its logs.
fn build(root: &Path, loom: Loom) -> Result<(PathBuf, PathBuf), String> {
    let place = cmd::target_dir(root)?.join(if loom == Loom::Stock { "loom-stock" } else { "loom" });
    let tree = checker::prepare(root, &place, loom, &|_| None)?;
    let program = checker::build(&tree, &place.join("target"), "")?;
    Ok((program, checker::logs(&place)?))
}

/// Runs the self-test of the checker. Counts of executions say nothing when it fails.
fn self_test(program: &Path, logs: &Path) -> Outcome {
    let log = logs.join("self-test.log");
    let (ended, output) = logged(Command::new(program).arg("self-test"), LIMIT, &log);
    print!("{output}");
    ended.map_err(|reason| format!("the model checker explores less than it must: {reason}"))?;
    match output.lines().last() {
        Some(SELF_TEST_OK) => Ok(()),
        _ => Err(format!("the self-test of the checker did not print `{SELF_TEST_OK}`: {}", log.display())),
    }
}

/// Runs the control of the self-test: with loom as the registry has it, it must fail, by its own verdict.
fn stock(root: &Path) -> Outcome {
    let (program, logs) = build(root, Loom::Stock)?;
    let Err(reason) = self_test(&program, &logs) else {
        return Err("the self-test of the checker passes with loom as it is, and must not".to_owned());
    };
    // A log that cannot be read holds no verdict.
    let output = std::fs::read_to_string(logs.join("self-test.log")).unwrap_or_default();
    if !output.contains(" programs are explored in part only") {
        return Err(reason);
    }
    println!("loom: the self-test is red with loom as it is, as it must be");
    Ok(())
}

/// Runs the generated combinations and the controls of the generator. Returns the line that counts them.
fn generated(args: &Args, program: &Path, logs: &Path, red: &mut Vec<String>) -> Result<String, String> {
    let controls = cmd::capture(Command::new(program).arg("generated-controls"))?;
    match controls.lines().filter(|line| line.starts_with("control ")).count() {
        0 => return Err("generated-controls printed nothing".to_owned()),
        count => println!("generated: {count} controls red as they must be"),
    }
    // A clock before 1970 draws what 1970 does.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = (!args.deep).then(|| args.seed.unwrap_or(now.as_secs()));
    if let Some(seed) = seed {
        println!("generated: drawn by --seed={seed}");
    }
    let start = Instant::now();
    let mut command = Command::new(program);
    command.arg("generated-list").args(seed.map(|seed| seed.to_string()));
    let listed = cmd::capture(&mut command)?;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').next()).collect();
    let chunks: Vec<(usize, &[&str])> = names.chunks(CHUNK).enumerate().collect();
    let ended = lanes(&chunks, |(number, names)| {
        let log = logs.join(format!("generated-{number}.log"));
        chunk(program, &log, names, args.limit()).map(|executions| (names.len() as u64, executions))
    });
    let (mut combinations, mut executions, mut failed) = (0, 0, false);
    for chunk in ended {
        match chunk {
            Ok((some, explored)) => {
                combinations += some;
                executions += explored;
            }
            Err(reason) => {
                failed = true;
                red.push(reason);
            }
        }
    }
    let least = if args.deep { ALL } else { DRAWN };
    if !failed && combinations < least {
        red.push(format!("generated: {combinations} combinations; {least} are recorded"));
    }
    println!("generated: {:.1} s", start.elapsed().as_secs_f64());
    Ok(format!("generated: {combinations} combinations, {executions} executions"))
}

/// Runs some combinations in one process; returns the number of their executions.
fn chunk(program: &Path, log: &Path, names: &[&str], limit: Duration) -> Result<u64, String> {
    let (ended, output) = logged(Command::new(program).arg("generated-run").args(names), limit, log);
    let begun = |line: &&str| {
        names.iter().any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))
    };
    let last = output.lines().rfind(begun).unwrap_or("no combination");
    // The error's own text names every combination of the chunk.
    ended.map_err(|_| format!("generated: in `{last}`: {}", log.display()))?;
    let total = format!("generated combinations={} executions=", names.len());
    let line = output.lines().find_map(|line| line.strip_prefix(total.as_str()));
    let executions = line.and_then(|line| line.split(' ').next()?.parse().ok());
    executions.ok_or(format!("generated: no count of executions in {}", log.display()))
}
