//! `protocols`: the models of the runtime's locks and park tokens. They run the modules of `std-rt/src/protocol` as they
//! stand, with shuttle's locks and threads in place of std's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use xtask::{Outcome, cmd};

use crate::checker;
use crate::models::{self, Args, Model};

/// Runs the models whose name holds the word given, or all; `--bless` and `--deep` are those of `loom`. A protocol without
/// a model that must pass or without a control that must fail is red.
pub fn run(args: &[String]) -> Outcome {
    let args = Args::parse(args)?;
    let start = Instant::now();
    let (program, logs) = build(&args.root)?;
    let mut models = models::list(&program, &args.filter)?;
    if args.deep {
        models::deepen(&mut models, &BTreeMap::new())?;
    }
    println!("{:<56} {:>7} {:>5} {:>10} {:>7}  verdict", "model", "threads", "bound", "schedules", "seconds");
    let recorded = args.root.join("loom-tests/protocols.txt");
    let (rows, mut red) = models::run(&models, &program, &logs, &args, &recorded)?;
    if args.filter.is_empty() {
        red.extend(one_sided(&models));
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

/// Builds the models in a folder of their own, since the cfg changes every crate. Returns the program and the folder of
/// its logs.
fn build(root: &Path) -> Result<(PathBuf, PathBuf), String> {
    let target = cmd::target_dir(root)?.join("protocols");
    let mut command = cmd::cargo(root, &["build", "--quiet", "-p", "loom-tests", "--profile", "loom"]);
    command.args(["--bin", "protocols", "--target-dir"]).arg(&target);
    cmd::run(command.env("RUSTFLAGS", format!("--cfg netpoll_shuttle {}", cmd::INTERNAL)))?;
    Ok((target.join("loom/protocols"), checker::logs(&target)?))
}

/// Finds the protocols (the part of a name before `::`) without a model that must pass, or without one that must fail.
fn one_sided(models: &[Model]) -> Vec<String> {
    let mut sides: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
    for model in models {
        let (protocol, _) = model.name.split_once("::").unwrap_or((&model.name, ""));
        sides.entry(protocol).or_default()[usize::from(!model.is_green())] = true;
    }
    let lacks = |(protocol, [green, control]): (&str, [bool; 2])| match (green, control) {
        (true, true) => None,
        (false, _) => Some(format!("{protocol}: has no model that must pass")),
        (_, false) => Some(format!("{protocol}: has no control that must fail")),
    };
    sides.into_iter().filter_map(lacks).collect()
}
