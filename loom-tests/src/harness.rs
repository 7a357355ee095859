//! Runs one model, and prints the number of its executions in one line.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// The number of steps after which an execution counts as an endless loop, far more than any model needs.
const MAX_BRANCHES: usize = 10_000;

/// The number of executions so far. The process runs one model. Loom does not see std's lock, which is never
/// contended.
static EXECUTIONS: Mutex<u64> = Mutex::new(0);

/// The result that a model must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Every execution ends well.
    Green,
    /// Loom must find an execution in which every thread sleeps, since the model has a known fault.
    Deadlock,
    /// Loom must find two accesses to a cell that nothing orders, since the model has a known fault.
    Race,
}

/// One race.
#[derive(Clone, Copy)]
pub struct Model {
    /// The name of the race, such as `m02_close_against_park_from_ready`.
    pub name: &'static str,
    /// The number of threads, with the main one.
    pub threads: usize,
    /// The number of preemptions to explore, or `None` for all.
    pub bound: Option<usize>,
    /// The result that it must have.
    pub expect: Expect,
    /// The body, run once per execution.
    pub body: fn(),
}

/// Creates a model whose every execution must end well.
pub const fn green(name: &'static str, threads: usize, bound: Option<usize>, body: fn()) -> Model {
    Model { name, threads, bound, expect: Expect::Green, body }
}

/// Creates a model in which loom must find the fault `expect`.
pub const fn red(
    name: &'static str,
    threads: usize,
    bound: Option<usize>,
    expect: Expect,
    body: fn(),
) -> Model {
    Model { name, threads, bound, expect, body }
}

/// Carries out the command `list` or `run NAME [BOUND]`.
pub fn main(models: &[Model]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            for model in models {
                let bound = model.bound.map_or("-".to_owned(), |n| n.to_string());
                println!("{}\t{}\t{bound}\t{:?}", model.name, model.threads, model.expect);
            }
            ExitCode::SUCCESS
        }
        ["run", name, ref rest @ ..] => match (models.iter().find(|model| model.name == name), rest) {
            (None, _) => usage(&format!("there is no model {name}; `list` names them")),
            (Some(model), []) => run(model, model.bound),
            (Some(model), ["all"]) => run(model, None),
            (Some(model), [bound]) => match bound.parse() {
                Ok(bound) => run(model, Some(bound)),
                Err(e) => usage(&format!("{bound} is no preemption bound: {e}")),
            },
            _ => usage("`run` takes one model and at most a bound"),
        },
        _ => usage("say `list` or `run NAME [BOUND]`"),
    }
}

/// Explores every execution within the bound. A finding ends the process: by a panic, or by an abort if loom
/// finds it during another panic.
fn run(model: &Model, bound: Option<usize>) -> ExitCode {
    let start = Instant::now();
    let body = model.body;
    explorer(bound).check(move || {
        *executions() += 1;
        body();
    });
    println!("{} executions={} seconds={:.2}", model.name, *executions(), start.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// Creates loom's explorer. Sets every option, so that none comes from `LOOM_*` and no limit ends a run
/// early, which loom would count as a success.
pub fn explorer(bound: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_threads = loom::MAX_THREADS;
    builder.max_branches = MAX_BRANCHES;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.preemption_bound = bound;
    builder.checkpoint_file = None;
    builder.checkpoint_interval = usize::MAX;
    builder.expect_explicit_explore = false;
    builder.location = false;
    builder.log = false;
    builder
}

fn executions() -> std::sync::MutexGuard<'static, u64> {
    EXECUTIONS.lock().expect("nothing panics while the count is held")
}

fn usage(message: &str) -> ExitCode {
    eprintln!("loom-tests: {message}");
    ExitCode::from(2)
}
