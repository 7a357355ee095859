//! The generated combinations: all of them in the night, and on a push those that a printed seed draws.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::cmd;

/// Combinations of one process. A finding ends the process, and its log then names the combination last.
const CHUNK: usize = 50;

/// As many as there were when this was written, and a little less than a seed draws.
pub const ALL: u64 = 18_888;
pub const DRAWN: u64 = 4_700;

/// Runs the generator's own controls, worlds with a fault that a combination must find; returns how many were found.
pub fn controls(program: &Path) -> Result<String, String> {
    let output = cmd::capture(Command::new(program).arg("generated-controls"))?;
    match output.lines().filter(|line| line.starts_with("control ")).count() {
        0 => Err("generated-controls printed nothing".to_owned()),
        n => Ok(format!("{n} controls red as they must be")),
    }
}

/// What was explored.
#[derive(Default)]
pub struct Explored {
    pub combinations: u64,
    pub executions: u64,
    pub red: Vec<String>,
}

/// Takes the seed of a push from the clock, unless one is given.
pub fn seed(given: Option<u64>) -> u64 {
    // A clock before 1970 draws what 1970 does.
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    given.unwrap_or_else(|| now().as_secs())
}

/// Runs the combinations that the seed draws, or all; as many processes at a time as there are processors.
pub fn run(program: &Path, logs: &Path, seed: Option<u64>, limit: Duration) -> Result<Explored, String> {
    let mut command = Command::new(program);
    command.arg("generated-list").args(seed.map(|seed| seed.to_string()));
    let listed = cmd::capture(&mut command)?;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').next()).collect();
    if names.is_empty() {
        return Err("there is no generated combination".to_owned());
    }
    let queue = Mutex::new(names.chunks(CHUNK).enumerate());
    let explored = Mutex::new(Explored::default());
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    let next = || queue.lock().expect("a lane does not panic here").next();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some((number, names)) = next() {
                    let ended = chunk(program, &logs.join(format!("generated-{number}.log")), names, limit);
                    let mut explored = explored.lock().expect("a lane does not panic here");
                    match ended {
                        Ok(executions) => {
                            explored.combinations += names.len() as u64;
                            explored.executions += executions;
                        }
                        Err(reason) => explored.red.push(reason),
                    }
                }
            });
        }
    });
    Ok(explored.into_inner().expect("no lane has panicked"))
}

/// Runs some combinations in one process; the number of their executions.
fn chunk(program: &Path, log: &Path, names: &[&str], limit: Duration) -> Result<u64, String> {
    let ended = cmd::limited(Command::new(program).arg("generated-run").args(names), limit, log);
    // A log that cannot be read says nothing about its executions, and that is red below.
    let output = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let begun = |line: &&str| {
        names.iter().any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))
    };
    let last = output.lines().rfind(begun).unwrap_or("no combination");
    // The command itself names every combination of the chunk.
    ended.map_err(|_| format!("generated: in `{last}`: {}", log.display()))?;
    let total = format!("generated combinations={} executions=", names.len());
    let line = output.lines().find_map(|line| line.strip_prefix(total.as_str()));
    let executions = line.and_then(|line| line.split(' ').next()?.parse().ok());
    executions.ok_or(format!("generated: said nothing about its executions: {}", log.display()))
}
