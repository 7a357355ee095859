//! The benchmark: netpoll beside tokio, smol, Go and a bare loop over epoll, all in one run, their rounds interleaved.
//!
//! `workloads.rs` is the table of all measurements; `measure.rs` runs one workload with one peer; `figures.rs` has the
//! medians and ratios; `pages.rs` writes them as a page with a table and a plot.

mod core_ops;
mod figures;
mod machine;
mod measure;
mod pages;
mod peers;
mod scale;
mod workloads;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::str::FromStr;

use lexopt::{Arg, Parser, ValueExt};

use figures::Figures;
use machine::Machine;
use measure::Bench;
use scale::Plan;
use workloads::{WORKLOADS, Workload};

const HELP: &str =
    "cargo xtask bench [net|exec|time|WORKLOAD]... [--rounds N] [--secs S] [--peers A,B] [--out DIR]
  without a word everything; a word takes the workloads of a group, or those whose name holds it
  --rounds N   rounds in which every peer runs once, in turn (default 5)
  --secs S     measured seconds of a load; the other measurements shrink and grow with it (default 1)
  --peers A,B  only these of ours, tokio, smol, go, loop
  --out DIR    where figures, table and plots go; without it into examples/bench/results when whole groups run
               at full length, else below the target folder
cargo xtask bench scale [--workers 1,2,4] [--connections N] [--rounds N] [--secs S] [--peers A,B]
  an echo and a storm of spawned tasks on 1, 2, 4, ... workers up to the number of processors, or on these numbers;
  --connections N  connections for each worker (default 64)
cargo xtask bench --list               the workloads
cargo xtask bench --from DIR           table and plots again from the figures in a folder
cargo xtask bench --core               instructions of the core's operations beside Go's algorithm
cargo xtask bench --harness DIR [...]  DIR/run with our peer as OURS_BIN and the rest of the arguments
";

/// The defaults, and the least with which figures are published.
const ROUNDS: usize = 5;
const SECONDS: f64 = 1.0;

/// The connections of `scale` for each worker.
const CONNECTIONS: usize = 64;

/// This package's folder.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

enum Job {
    Measure,
    Scale,
    Help,
    List,
    Core,
    Harness(PathBuf, Vec<OsString>),
}

struct Options {
    job: Job,
    words: Vec<String>,
    rounds: usize,
    secs: f64,
    /// The numbers of workers of `scale`. If there are none, it chooses.
    workers: Vec<usize>,
    /// The connections of `scale` for each worker.
    connections: usize,
    /// The names of the chosen peers. If there are none, all take part.
    peers: Vec<String>,
    out: Option<PathBuf>,
    from: Option<PathBuf>,
}

impl Options {
    fn parse(mut parser: Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            job: Job::Measure,
            words: Vec::new(),
            rounds: ROUNDS,
            secs: SECONDS,
            workers: Vec::new(),
            connections: CONNECTIONS,
            peers: Vec::new(),
            out: None,
            from: None,
        };
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("help") => options.job = Job::Help,
                Arg::Long("list") => options.job = Job::List,
                Arg::Long("core") => options.job = Job::Core,
                Arg::Long("harness") => {
                    let folder = parser.value()?.into();
                    options.job = Job::Harness(folder, parser.raw_args()?.collect());
                }
                Arg::Long("rounds") => options.rounds = number(&mut parser, "rounds")?,
                Arg::Long("secs") => options.secs = number(&mut parser, "secs")?,
                Arg::Long("workers") => {
                    let list = parser.value()?.string()?;
                    let numbers: Result<_, _> = list.split(',').map(str::parse).collect();
                    options.workers = numbers.map_err(|_| format!("--workers {list}: not numbers"))?;
                }
                Arg::Long("connections") => options.connections = number(&mut parser, "connections")?,
                Arg::Long("peers") => {
                    options.peers = parser.value()?.string()?.split(',').map(str::to_owned).collect();
                }
                Arg::Long("out") => options.out = Some(parser.value()?.into()),
                Arg::Long("from") => options.from = Some(parser.value()?.into()),
                Arg::Value(word) => options.words.push(word.string()?),
                arg => return Err(arg.unexpected()),
            }
        }
        if options.words.iter().any(|word| word == "scale") {
            options.job = Job::Scale;
        }
        if options.rounds == 0 || options.secs <= 0.0 || options.secs > 30.0 {
            return Err("at least one round is needed, and at most 30 seconds".into());
        }
        let is_scale = matches!(options.job, Job::Scale);
        match is_scale
            && (options.words.len() > 1 || options.connections == 0 || options.workers.contains(&0))
        {
            true => Err("scale stands alone, with at least one worker and one connection".into()),
            false => Ok(options),
        }
    }

    /// Returns whether whole groups are measured at full length, so that the figures may be published.
    fn is_full(&self) -> bool {
        let groups = self.words.iter().all(|word| ["net", "exec", "time", "all"].contains(&word.as_str()));
        groups && self.peers.is_empty() && self.rounds >= ROUNDS && self.secs >= SECONDS
    }
}

/// Reads the value of the option `name`, which was parsed last, as a number.
fn number<T: FromStr>(parser: &mut Parser, name: &str) -> Result<T, lexopt::Error> {
    let value = parser.value()?.string()?;
    value.parse().map_err(|_| format!("--{name} {value}: not a number").into())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let options =
        Options::parse(Parser::from_env()).map_err(|error| format!("{error}; see --help and --list"))?;
    match &options.job {
        Job::Measure => {}
        Job::Help => {
            print!("{HELP}");
            return Ok(());
        }
        Job::List => {
            for Workload { group, name, what, .. } in WORKLOADS {
                println!("{:<5} {name:<30} {what}", group.name());
            }
            println!("bench: {} workloads", WORKLOADS.len());
            return Ok(());
        }
        Job::Scale => {
            let Options { workers, connections, rounds, secs, peers, .. } = &options;
            return scale::run(&Plan {
                workers,
                connections: *connections,
                rounds: *rounds,
                secs: *secs,
                peers,
            });
        }
        Job::Core => return core_ops::run(),
        Job::Harness(folder, arguments) => return run_harness(folder, arguments),
    }
    match &options.from {
        Some(folder) => pages::write_again(folder, options.out.as_deref().unwrap_or(folder)),
        None => measure_all(&options),
    }
}

fn measure_all(options: &Options) -> Result<(), String> {
    let chosen = workloads::chosen(&options.words)?;
    let peers = peers::build(&options.peers)?;
    let machine = Machine::inspect()?;
    let mut header = machine.header(&peers, options.rounds, options.secs);
    let mut bench = Bench::new(machine, options.secs)?;
    let mut figures = Figures::default();
    for workload in &chosen {
        bench.measure(workload, &peers, options.rounds, &mut figures);
    }
    header.push(("load afterwards".to_owned(), machine::load()));
    header.extend(bench.failures.iter().map(|failure| ("no figure".to_owned(), failure.clone())));
    let folder = match &options.out {
        Some(out) => out.clone(),
        None if options.is_full() => Path::new(PACKAGE).join("results"),
        None => peers::target_dir()?.join("results"),
    };
    let groups = pages::write(&folder, &header, &figures)?;
    println!(
        "bench: {} figures of {} workloads, {groups} groups in {}",
        figures.0.len(),
        chosen.len(),
        folder.display()
    );
    match bench.failures.iter().find(|failure| failure.starts_with(peers::OURS)) {
        Some(failure) => Err(format!("{failure} ({} failures)", bench.failures.len())),
        None if figures.0.is_empty() => Err("nothing was measured".to_owned()),
        None => Ok(()),
    }
}

/// Runs another project's harness, which gets the path of our peer.
fn run_harness(folder: &Path, arguments: &[OsString]) -> Result<(), String> {
    let program = folder.join("run");
    if !program.is_file() {
        return Err(format!("--harness {}: it has no program `run`", folder.display()));
    }
    let ours = peers::build_programs(&["ours_peer"])?.join("ours_peer");
    let status = Command::new(&program).args(arguments).env("OURS_BIN", ours).status();
    match status.map_err(|error| format!("{}: {error}", program.display()))? {
        status if status.success() => Ok(()),
        status => Err(format!("{}: {status}", program.display())),
    }
}
