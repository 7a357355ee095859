//! Runs one model, counts its schedules, and says so in one line.

use std::process::ExitCode;
use std::time::Instant;

use shuttle::scheduler::{RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use crate::search::Search;

/// Steps of one schedule before it counts as an endless loop. Far above the need of any model.
const MAX_STEPS: usize = 10_000;

/// Schedules drawn at random after the exhaustive search, without its bounds.
const RANDOM: usize = 2_000;
const SEED: u64 = 0x6e65_7470_6f6c_6c21;

/// The result that a model must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Every schedule ends well.
    Green,
    /// A control, a text that is known to be wrong: there is a schedule in which every thread waits.
    Deadlock,
    /// A control: there is a schedule that fails an assertion whose message begins with `model:`.
    Assertion,
}

/// One question about one protocol.
#[derive(Clone, Copy)]
pub struct Model {
    /// The protocol and the race that it asks about, `driver::slot_is_released_while_foreign_code_parks`. A protocol has at
    /// least one model that is green and one control.
    pub name: &'static str,
    /// Threads, the main one included.
    pub threads: usize,
    /// Preemptions that are explored exhaustively; all of them if none is given.
    pub bound: Option<usize>,
    /// The result that it must have.
    pub expect: Expect,
    /// The body, run once per schedule.
    pub body: fn(),
}

/// Obeys `list` or `run NAME [BOUND]`.
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
            (Some(model), [bound]) => match bound.parse() {
                Ok(bound) => run(model, Some(bound)),
                Err(e) => usage(&format!("{bound} is no preemption bound: {e}")),
            },
            _ => usage("`run` takes one model and at most a bound"),
        },
        _ => usage("say `list` or `run NAME [BOUND]`"),
    }
}

/// Explores every schedule within the bound and then some at random. A finding ends the process by a panic.
fn run(model: &Model, bound: Option<usize>) -> ExitCode {
    let start = Instant::now();
    let searched = explore(Search::new(bound), model.body);
    let drawn = explore(RandomScheduler::new_from_seed(SEED, RANDOM), model.body);
    println!("{} executions={} seconds={:.2}", model.name, searched + drawn, start.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn explore(scheduler: impl Scheduler + 'static, body: fn()) -> usize {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    Runner::new(scheduler, config).run(body)
}

fn usage(message: &str) -> ExitCode {
    eprintln!("protocols: {message}");
    ExitCode::from(2)
}
