//! The models of a program: listed, run in a process each, held against the recorded counts of executions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

/// The time that one process may take.
pub const LIMIT: Duration = Duration::from_secs(300);
pub const LIMIT_DEEP: Duration = Duration::from_secs(3000);

/// A line of `loom-tests list`.
pub struct Model {
    pub name: String,
    pub threads: usize,
    pub bound: Option<usize>,
    pub expect: String,
}

impl Model {
    /// Returns whether the model must pass. The others are controls: they must fail, for their own reason.
    pub fn is_green(&self) -> bool {
        self.expect == "Green"
    }
}

/// The result of a model. The executions of a control are not counted.
pub struct Row {
    pub name: String,
    pub green: bool,
    pub executions: u64,
    pub verdict: Outcome,
}

/// The arguments of `loom` and `protocols`.
pub struct Args {
    pub root: PathBuf,
    pub filter: String,
    pub bless: bool,
    pub deep: bool,
    pub stock: bool,
    pub seed: Option<u64>,
}

impl Args {
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let (root, rest) = cmd::take_root(args)?;
        let mut parsed =
            Self { root, filter: String::new(), bless: false, deep: false, stock: false, seed: None };
        for arg in rest {
            let seed = arg.strip_prefix("--seed=").and_then(|seed| seed.parse().ok());
            match arg.as_str() {
                "--bless" => parsed.bless = true,
                "--deep" => parsed.deep = true,
                "--stock" => parsed.stock = true,
                _ if seed.is_some() => parsed.seed = seed,
                _ if arg.starts_with("--") => {
                    let known = "--bless, --deep, --stock and --seed=N";
                    return Err(format!("does not understand `{arg}`; it knows {known}"));
                }
                _ if parsed.filter.is_empty() => parsed.filter = arg,
                _ => return Err("takes one word that the names of the models hold".to_owned()),
            }
        }
        if parsed.bless && parsed.deep {
            return Err("--deep explores more than a push does, so it records nothing".to_owned());
        }
        Ok(parsed)
    }

    pub fn limit(&self) -> Duration {
        if self.deep { LIMIT_DEEP } else { LIMIT }
    }
}

/// Reads the models whose name holds the filter.
pub fn list(program: &Path, filter: &str) -> Result<Vec<Model>, String> {
    let output = cmd::capture(Command::new(program).arg("list"))?;
    let mut models: Vec<Model> = Vec::new();
    for line in output.lines() {
        let wrong = || format!("not `name threads bound expect`: {line}");
        let [name, threads, bound, expect] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        if models.iter().any(|model| model.name == name) {
            return Err(format!("two models are called {name}"));
        }
        let threads = threads.parse().map_err(|_| wrong())?;
        // `-` is no number: all preemptions are explored.
        let bound = bound.parse().ok();
        models.push(Model { name: name.into(), threads, bound, expect: expect.into() });
    }
    let all = models.len();
    models.retain(|model| model.name.contains(filter));
    match (all, models.len()) {
        (0, _) => Err("there is no model".to_owned()),
        (_, 0) => Err(format!("no model of {all} has `{filter}` in its name")),
        _ => Ok(models),
    }
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

/// Runs all models and judges them against the recorded counts; `--bless` records the counts of this run instead.
/// Returns the rows and everything that is red.
pub fn run(
    models: &[Model],
    program: &Path,
    logs: &Path,
    args: &Args,
    recorded: &Path,
) -> Result<(Vec<Row>, Vec<String>), String> {
    let minimums = if args.bless { None } else { Some(read(recorded)?) };
    let rows = lanes(models, |model| run_one(model, program, logs, args.limit(), minimums.as_ref()));
    let wrong = |row: &Row| Some(format!("{}: {}", row.name, row.verdict.as_ref().err()?));
    let mut red: Vec<String> = rows.iter().filter_map(wrong).collect();
    if let Some(minimums) = minimums.filter(|_| args.filter.is_empty()) {
        let there = |name: &str| models.iter().any(|model| model.name == name && model.is_green());
        let gone = minimums.keys().filter(|name| !there(name));
        red.extend(gone.map(|name| format!("{name}: is among the recorded minimums and is gone")));
    }
    if args.bless && red.is_empty() {
        bless(recorded, &rows, args.filter.is_empty())?;
    }
    Ok((rows, red))
}

/// Does the work of each item, as many at a time as there are processors.
pub fn lanes<I: Sync, R: Send>(items: &[I], work: impl Fn(&I) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(items.iter());
    let results = Mutex::new(Vec::new());
    let next = || queue.lock().expect("no lane panics while it holds the queue").next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let result = work(item);
                    results.lock().expect("no lane panics while it holds the results").push(result);
                }
            });
        }
    });
    results.into_inner().expect("no lane panics while it holds the results")
}

/// Runs a program with its output in a log; returns the seconds it took and the output.
pub fn logged(command: &mut Command, limit: Duration, log: &Path) -> (Result<f64, String>, String) {
    let ended = cmd::limited(command, limit, log);
    // A log that cannot be read holds no verdict, and a missing verdict is red.
    (ended, String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned())
}

fn run_one(
    model: &Model,
    program: &Path,
    logs: &Path,
    limit: Duration,
    minimums: Option<&BTreeMap<String, u64>>,
) -> Row {
    let mut command = Command::new(program);
    command.args(["run", &model.name]).args(model.bound.map(|bound| bound.to_string()));
    let start = Instant::now();
    let (ended, output) = logged(&mut command, limit, &logs.join(format!("{}.log", model.name)));
    let seconds = start.elapsed().as_secs_f64();
    let green = model.is_green();
    let executions = if green { counted(&output, &model.name) } else { 0 };
    let verdict = if green {
        passed(ended, executions, minimums.map(|minimums| minimums.get(&model.name).copied()))
    } else {
        failed(&ended, &output, &model.expect)
    };
    let shown = if green { executions.to_string() } else { "-".to_owned() };
    let verdict_shown = match &verdict {
        Ok(()) if green => "green".to_owned(),
        Ok(()) => format!("red, as it must be: {}", model.expect.to_lowercase()),
        Err(_) => "RED".to_owned(),
    };
    let bound = model.bound.map_or("all".to_owned(), |bound| bound.to_string());
    println!(
        "{:<56} {:>7} {bound:>5} {shown:>10} {seconds:>7.1}  {verdict_shown}",
        model.name, model.threads
    );
    Row { name: model.name.clone(), green, executions, verdict }
}

/// Reads the number in the line that a model prints when it has explored everything.
fn counted(output: &str, name: &str) -> u64 {
    let line = output.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(" executions="));
    line.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Judges a model that must pass. `minimum` is missing when there is nothing to compare with, and holds nothing when
/// there ought to be.
fn passed(ended: Result<f64, String>, executions: u64, minimum: Option<Option<u64>>) -> Outcome {
    ended?;
    match minimum {
        _ if executions == 0 => Err("printed no count of executions".to_owned()),
        Some(None) => Err("is not among the recorded minimums; --bless records it".to_owned()),
        Some(Some(recorded)) if executions * 5 < recorded * 4 => {
            Err(format!("explored {executions} executions; {recorded} are recorded"))
        }
        _ => Ok(()),
    }
}

/// Judges a model that must fail, and for its own reason.
fn failed(ended: &Result<f64, String>, output: &str, expect: &str) -> Outcome {
    if ended.is_ok() {
        return Err("passed, and must not: the model no longer has its race".to_owned());
    }
    let has = |text: &str| output.contains(text);
    let deadlock = has("deadlock; threads =") || has("deadlock! blocked tasks:");
    let reason = match expect {
        "Deadlock" => deadlock,
        "Assertion" => has("model:"),
        "Race" => has("Causality violation"),
        _ => deadlock || has("Causality violation") || has("model:"),
    };
    if reason { Ok(()) } else { Err(format!("failed, but not by {}", expect.to_lowercase())) }
}

/// Reads lines of `name count`.
pub fn read(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let line = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    let wrong = |text: &str| format!("{}: not `name count`: {text}", path.display());
    text.lines().map(|text| line(text).ok_or_else(|| wrong(text))).collect()
}

/// Writes the counts of this run. The lines of models that did not run stay, unless all ran.
fn bless(recorded: &Path, rows: &[Row], all: bool) -> Outcome {
    // There may be no file yet.
    let mut lines = if all || !recorded.exists() { BTreeMap::new() } else { read(recorded)? };
    lines.extend(rows.iter().filter(|row| row.green).map(|row| (row.name.clone(), row.executions)));
    let text: String = lines.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
    std::fs::write(recorded, text).map_err(|e| format!("{}: {e}", recorded.display()))?;
    println!("recorded: {} models", lines.len());
    Ok(())
}
