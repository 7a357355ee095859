//! `protocols`: the models of the runtime's locks and park tokens, each in a process of its own. They run the modules of
//! `std-rt/src/protocol` and the like as they stand, with shuttle's locks and threads in place of std's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::loom::{self, Args, Model, Row};
use crate::{Outcome, cmd};

/// How many schedules each model has explored, one a line.
const MINIMUMS: &str = "loom-tests/protocols.txt";

/// Runs the models whose name holds the word given, or all. `--bless` and `--deep` are those of `loom`. A protocol without
/// a model that must pass or without a control that must fail is red.
pub fn run(args: &[String]) -> Outcome {
    let args = loom::parse_args(args)?;
    let start = Instant::now();
    let (program, logs) = build(&args.root)?;
    let mut models = loom::list(&program, &args.filter)?;
    if args.deep {
        loom::deepen(&mut models, &BTreeMap::new())?;
    }
    let minimums = args.root.join(MINIMUMS);
    let recorded = if args.bless { None } else { Some(loom::read(&minimums)?) };
    println!("{:<56} {:>7} {:>5} {:>10} {:>7}  verdict", "model", "threads", "bound", "schedules", "seconds");
    let rows = loom::run_all(&models, &program, &logs, &args, recorded.as_ref());
    let red = red(&args, recorded.as_ref(), &models, &rows);
    if args.bless && red.is_empty() {
        loom::bless(&minimums, &rows, args.filter.is_empty())?;
    }
    for reason in &red {
        println!("red: {reason}");
    }
    let schedules: u64 = rows.iter().map(|row| row.executions).sum();
    let controls = rows.iter().filter(|row| !row.green && row.verdict.is_ok()).count();
    println!("protocols: {:.1} s", start.elapsed().as_secs_f64());
    println!(
        "protocols: {} models, {schedules} schedules, {controls} controls red as they must be",
        rows.len()
    );
    if red.is_empty() { Ok(()) } else { Err(format!("{} models are not as they must be", red.len())) }
}

/// Builds the models in a folder of their own, since the cfg changes every crate. Returns the program and the folder of its
/// logs.
fn build(root: &Path) -> Result<(PathBuf, PathBuf), String> {
    let target = cmd::target_dir(root)?.join("protocols");
    let mut command = cmd::cargo(root, &["build", "--quiet", "-p", "loom-tests", "--profile", "loom"]);
    command.args(["--bin", "protocols", "--target-dir"]).arg(&target);
    cmd::run(command.env("RUSTFLAGS", "--cfg netpoll_shuttle"))?;
    let logs = target.join("loom/logs");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    Ok((logs.with_file_name("protocols"), logs))
}

/// Everything that is not as it must be.
fn red(args: &Args, recorded: Option<&BTreeMap<String, u64>>, models: &[Model], rows: &[Row]) -> Vec<String> {
    let wrong = |row: &Row| Some(format!("{}: {}", row.name, row.verdict.as_ref().err()?));
    let mut red: Vec<String> = rows.iter().filter_map(wrong).collect();
    if args.filter.is_empty() {
        red.extend(recorded.into_iter().flat_map(|recorded| loom::vanished(recorded, models)));
        red.extend(one_sided(models));
    }
    red
}

/// A protocol (what stands before `::`) of which no model must pass, or none must fail.
fn one_sided(models: &[Model]) -> Vec<String> {
    let mut sides: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
    for model in models {
        let (protocol, _) = model.name.split_once("::").unwrap_or((&model.name, ""));
        sides.entry(protocol).or_default()[usize::from(model.expect != "Green")] = true;
    }
    let lacks = |(protocol, [green, control]): (&str, [bool; 2])| match (green, control) {
        (true, true) => None,
        (false, _) => Some(format!("{protocol}: has no model that must pass")),
        (_, false) => Some(format!("{protocol}: has no control that must fail")),
    };
    sides.into_iter().filter_map(lacks).collect()
}
