//! One process per row and model, as many at a time as there are processors.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::cmd;

use super::table::{Fate, Row};
use super::{Built, VARIABLE};
use crate::models::{self, LIMIT_DEEP, lanes, logged};

/// The time that one process may take. A model that needs longer has found nothing.
const LIMIT: Duration = Duration::from_secs(120);

/// The end of a run.
#[derive(Clone, PartialEq, Eq)]
pub enum End {
    /// Every execution ended well.
    Survived,
    /// The model failed: its verdict, in a word.
    Killed(&'static str),
    /// A limit, a crash, or a panic of the harness ended it.
    Unclear(String),
}

/// The end of each row, by its number.
pub type Ends = BTreeMap<usize, End>;

/// A model that must pass.
struct Model {
    name: String,
    threads: usize,
    /// Set for a combination of the generator, `word/start/programs`.
    generated: bool,
}

/// A process to be run: the mutant, the model, and the preemption bound if it is not the model's own.
#[derive(Clone)]
struct Job<'r> {
    row: Option<&'r Row>,
    model: String,
    bound: Option<usize>,
}

/// Runs the rows, and the models of the killed ones without a mutant; tells what is not as it must be.
pub fn all(built: &Built, rows: &[&Row], deep: bool) -> Result<(Ends, Vec<String>), String> {
    let models = list(built)?;
    let jobs = jobs(built, rows, &models, deep)?;
    let limit = if deep { LIMIT_DEEP } else { LIMIT };
    let ended = lanes(&jobs, |job| {
        let (end, seconds) = run(built, job, limit);
        if let Some(line) = line(job, &end, seconds) {
            println!("{line}");
        }
        (job.clone(), end)
    });
    Ok(judge(&ended))
}

/// Reads the models that must pass, named and generated.
fn list(built: &Built) -> Result<Vec<Model>, String> {
    let named = models::list(&built.program, "")?.into_iter().filter(models::Model::is_green);
    let named = named.map(|model| Model { name: model.name, threads: model.threads, generated: false });
    let output = cmd::capture(Command::new(&built.program).arg("generated-list"))?;
    let combination = |line: &str| {
        let name = line.split('\t').next().unwrap_or(line).to_owned();
        Model { threads: name.split('+').count(), name, generated: true }
    };
    Ok(named.chain(output.lines().map(combination)).collect())
}

fn jobs<'r>(built: &Built, rows: &[&'r Row], models: &[Model], deep: bool) -> Result<Vec<Job<'r>>, String> {
    let (mut jobs, mut used) = (Vec::new(), BTreeSet::new());
    for row in rows {
        match &row.fate {
            Fate::Killed(name) => {
                if !models.iter().any(|model| model.name == *name) {
                    return Err(format!("[{}] {}: there is no green model {name}", row.place(), row.title));
                }
                used.insert(name.clone());
                jobs.push(Job { row: Some(row), model: name.clone(), bound: None });
            }
            Fate::Equivalent(_) | Fate::Beyond(_) => {
                let of_word = if deep { String::new() } else { sources(built, &row.word)? };
                let asks = |model: &&Model| {
                    !model.generated && (deep || of_word.contains(&format!("\"{}\"", model.name)))
                };
                // A survivor explores everything, so a push asks with few preemptions.
                let job = |model: &Model| Job {
                    row: Some(row),
                    model: model.name.clone(),
                    bound: (!deep).then_some(if model.threads > 2 { 1 } else { 3 }),
                };
                let before = jobs.len();
                jobs.extend(models.iter().filter(asks).map(job));
                if jobs.len() == before {
                    return Err(format!("{} has no model that a surviving row could face", row.word));
                }
            }
        }
    }
    jobs.extend(used.into_iter().map(|model| Job { row: None, model, bound: None }));
    Ok(jobs)
}

/// Files of core without a file of models: those of another word stand for them.
const MODELS_OF: &[(&str, &str)] =
    &[("registration", "desc"), ("free_list", "cache"), ("sync", "break_flag")];

/// Returns the text of the models of a word.
fn sources(built: &Built, word: &str) -> Result<String, String> {
    let path = |word: &str| built.models.join(format!("{word}.rs"));
    let named = MODELS_OF.iter().find(|(of, _)| *of == word).map_or(word, |(_, models)| models);
    std::fs::read_to_string(path(named)).map_err(|e| format!("{}: {e}", path(named).display()))
}

fn run(built: &Built, job: &Job<'_>, limit: Duration) -> (End, f64) {
    let number = job.row.map_or(0, |row| row.number);
    let log = built.logs.join(format!("{number}-{}.log", job.model.replace('/', "-")));
    let mut command = Command::new(&built.program);
    let run = if job.model.contains('/') { "generated-run" } else { "run" };
    command.args([run, &job.model]).args(job.bound.map(|bound| bound.to_string()));
    command.env(VARIABLE, number.to_string()).env("RUST_BACKTRACE", "0");
    let start = Instant::now();
    let (ended, output) = logged(&mut command, limit, &log);
    let seconds = start.elapsed().as_secs_f64();
    let end = match ended {
        Ok(_) if output.contains(" executions=") => End::Survived,
        Ok(_) => End::Unclear(format!("printed no count of executions: {}", log.display())),
        Err(reason) => verdict(&output).map_or(End::Unclear(reason), End::Killed),
    };
    (end, seconds)
}

/// Reads the verdict from the first panic, since others may follow from it. Only loom's verdicts and assertions of core and
/// of the models count; loom's limits, or a fault of the harness, do not.
fn verdict(output: &str) -> Option<&'static str> {
    let (_, first) = output.split_once("panicked at ")?;
    let first = first.split_once("panicked at ").map_or(first, |(first, _)| first);
    let asserted = ["core/src/", "loom-tests/src/models/", "loom-tests/src/generated/", "std-rt/src/fd/"];
    let place = first.split(':').next().unwrap_or_default();
    if first.contains("Causality violation") {
        Some("race")
    } else if first.contains("deadlock; threads =") {
        Some("deadlock")
    } else if asserted.iter().any(|folder| place.contains(folder)) {
        Some("assertion")
    } else {
        None
    }
}

/// Returns a line for the terminal, but for a mutant that survives as it must: its row is judged later.
fn line(job: &Job<'_>, end: &End, seconds: f64) -> Option<String> {
    let row = job.row?;
    let told = match (end, &row.fate) {
        (End::Killed(by), Fate::Killed(_)) => format!("killed by {by}"),
        (End::Survived, Fate::Killed(_)) => "SURVIVED".to_owned(),
        (End::Survived, _) => return None,
        (End::Killed(by), _) => format!("KILLED by {by}, and the table says that nothing can"),
        (End::Unclear(reason), _) => format!("UNCLEAR: {reason}"),
    };
    let (number, place, weaker) = (row.number, row.place(), row.weaker.replace('\n', " "));
    Some(format!("{number:>4} {place:<28} {weaker:<44} {:<48} {seconds:>5.1}  {told}", job.model))
}

/// Returns one end per row: of several models, the one that speaks against it.
fn judge(ended: &[(Job<'_>, End)]) -> (Ends, Vec<String>) {
    let (mut ends, mut red) = (Ends::new(), Vec::new());
    for (job, end) in ended {
        let Some(row) = job.row else {
            if *end != End::Survived {
                red.push(format!("{}: is not green without a mutant", job.model));
            }
            continue;
        };
        let kept = ends.entry(row.number).or_insert(End::Survived);
        if *end != End::Survived {
            *kept = end.clone();
        }
        let told = match (end, &row.fate) {
            (End::Killed(_), Fate::Killed(_)) => continue,
            (End::Survived, Fate::Killed(_)) => "survived".to_owned(),
            (End::Survived, _) => continue,
            (End::Killed(by), _) => format!("killed by {by}, and the table says that nothing can"),
            (End::Unclear(reason), _) => reason.clone(),
        };
        let weaker = row.weaker.replace('\n', " ");
        red.push(format!(
            "{} [{}] {}: `{weaker}`: {}: {told}",
            row.number,
            row.place(),
            row.title,
            job.model
        ));
    }
    red.sort();
    (ends, red)
}
