//! Runs one model, counts its executions, and says so in one line.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// Steps of one execution before it counts as an endless loop. Far above what any model needs.
const MAX_BRANCHES: usize = 10_000;

/// Executions so far. The process runs one model; a lock of std is invisible to loom and never contended.
static EXECUTIONS: Mutex<u64> = Mutex::new(0);

/// What a model must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Every execution ends well.
    Green,
    /// A text that is known to be wrong: loom must find an execution in which everybody sleeps.
    Deadlock,
    /// A text that is known to be wrong: loom must find two accesses to a cell that nothing orders.
    Race,
}

/// One race.
#[derive(Clone, Copy)]
pub struct Model {
    /// The race that it asks about, `m02_close_against_park_from_ready`.
    pub name: &'static str,
    /// Threads, the main one included.
    pub threads: usize,
    /// Preemptions that are explored; all of them if none is given.
    pub bound: Option<usize>,
    /// What must come of it.
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

/// `list` or `run NAME [BOUND]`.
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

/// Explores every execution within the bound. A finding ends the process: by a panic, or by an abort if loom meets
/// it while another panic is under way.
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

/// Every setting is given here: none comes from `LOOM_*`, and nothing ends a run early. (Loom takes a run that was
/// cut short for a success.)
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
