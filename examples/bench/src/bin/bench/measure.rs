//! The measurement of a workload: in each round every peer runs once, in turn.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use netpoll_bench::process::restrict_to;

use crate::figures::{Figure, Figures, median};
use crate::machine::{Counter, Machine};
use crate::pages;
use crate::peers::{self, Peer};
use crate::workloads::{How, N, Work, Workload};

/// The values of one run by their keys.
pub type Values = BTreeMap<String, f64>;

/// The number of operations in the shorter of two counted runs. The longer run makes three times as many, and only the
/// difference counts, so that the start and the end of a program do not.
const FEW_MESSAGES: u64 = 4000;
/// The same for measurements inside a process, where the preparation may be a million timers.
const FEW_INSIDE: u64 = 40_000;

/// The life of every program. Each ends itself after that time, so that no program can hang the benchmark.
pub const LIFE: [&str; 2] = ["--max-secs", "150"];

pub const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

pub struct Bench {
    pub machine: Machine,
    secs: f64,
    loadgen: PathBuf,
    /// The file in which perf or strace leaves its counts.
    pub counts: PathBuf,
    /// Descriptions of the measurements that failed. A peer's failure begins with its name.
    pub failures: Vec<String>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The file exists only if system calls were counted.
        let _ = fs::remove_file(&self.counts);
    }
}

impl Bench {
    pub fn new(machine: Machine, secs: f64) -> Result<Self, String> {
        let loadgen = peers::target_dir()?.join("release/loadgen");
        let counts = std::env::temp_dir().join(format!("netpoll-bench-{}", std::process::id()));
        Ok(Self { machine, secs, loadgen, counts, failures: Vec::new() })
    }

    /// Measures a workload with every peer that can run it, and prints the first metric. A peer that fails once does not
    /// take part in the later rounds.
    pub fn measure(&mut self, workload: &'static Workload, peers: &[Peer], rounds: usize, out: &mut Figures) {
        if let Some(reason) = self.machine.lacks(workload) {
            println!("{}: left out: {reason}", workload.name);
            self.failures.push(format!("left out, {}: {reason}", workload.name));
            return;
        }
        let rounds = if workload.how == How::Timed { rounds } else { 1 };
        let mut running: Vec<_> = peers.iter().filter(|peer| peer.takes_part(workload)).collect();
        for round in 0..rounds {
            running.retain(|peer| match self.once(workload, &peer.program) {
                Ok(values) => {
                    record(workload, peer.name, round, &values, out);
                    true
                }
                Err(reason) => {
                    println!("{}: {}: {reason}", workload.name, peer.name);
                    self.failures.push(format!("{}, {}: {reason}", peer.name, workload.name));
                    false
                }
            });
        }
        show(workload, peers, out);
    }

    fn once(&self, workload: &Workload, program: &Path) -> Result<Values, String> {
        match (workload.how, &workload.work) {
            (How::Timed, Work::Served { .. }) => Ok(self.served(workload, program, None)?.0),
            (How::Timed, Work::Inside { n, .. }) => {
                values(&self.inside(workload, program, operations(*n, self.secs))?)
            }
            _ => self.counted(workload, program),
        }
    }

    /// Divides the difference of two counts by the difference of their operations.
    fn counted(&self, workload: &Workload, program: &Path) -> Result<Values, String> {
        let n = if workload.is_served() { FEW_MESSAGES } else { FEW_INSIDE };
        let (few, many) = (self.counts(workload, program, n)?, self.counts(workload, program, 3 * n)?);
        let each = |(key, few): (String, f64), many: f64| (key, (many - few) / (2 * n) as f64);
        Ok(few.into_iter().zip(many).map(|(few, (_, many))| each(few, many)).collect())
    }

    fn counts(&self, workload: &Workload, program: &Path, operations: u64) -> Result<Values, String> {
        let output = match workload.work {
            Work::Served { .. } => {
                let (_, output) = self.served(workload, program, Some(operations))?;
                output.ok_or("the server was not counted")?
            }
            Work::Inside { .. } => self.inside(workload, program, operations)?,
        };
        // A peer that does not support the measurement says so, and its start and end are no result.
        if !workload.is_served() && values(&output)?.is_empty() {
            return Ok(Values::new());
        }
        let found = match (workload.how, self.machine.syscalls) {
            (How::Instructions, _) => {
                vec![("instructions", instructions(&String::from_utf8_lossy(&output.stderr)))]
            }
            (_, counter) => {
                let text =
                    fs::read_to_string(&self.counts).map_err(|error| format!("the counts: {error}"))?;
                let (all, futex) = match counter {
                    Some(Counter::Perf) => {
                        (perf(&text, "raw_syscalls:sys_enter"), perf(&text, "syscalls:sys_enter_futex"))
                    }
                    _ => (strace(&text, "total"), strace(&text, "futex").or(Some(0.0))),
                };
                vec![("syscalls", all), ("futex", futex)]
            }
        };
        let count = |(key, count): (&str, Option<f64>)| Some((key.to_owned(), count?));
        found.into_iter().map(count).collect::<Option<_>>().ok_or("nothing was counted".to_owned())
    }

    /// Runs a measurement inside the peer's process.
    fn inside(&self, workload: &Workload, program: &Path, n: u64) -> Result<Output, String> {
        let Work::Inside { bench, .. } = workload.work else { return Err("it has a server".to_owned()) };
        let mut command = self.command(workload.how, program);
        command.args(["micro", "--bench", bench, "--n", &n.to_string(), "--secs", &self.secs.to_string()]);
        if workload.how != How::Timed {
            command.args(["--samples", "1"]);
        }
        // The workload's own options come later: of two options with the same name the second counts.
        command.args(workload.args).args(LIFE);
        finish(self.start(command, self.machine.server_side(workload.processors))?)
    }

    /// Runs a server under a load. With `count`, the load ends after that many operations, and the output of the server is
    /// returned too.
    fn served(
        &self,
        workload: &Workload,
        program: &Path,
        count: Option<u64>,
    ) -> Result<(Values, Option<Output>), String> {
        let Work::Served { load, options } = workload.work else { return Err("it has no server".to_owned()) };
        let threads = workload.processors;
        let mut server = self.command(workload.how, program);
        server.args(["echo", "--threads", &threads.to_string()]).args(workload.args);
        let mut client = self.load(load);
        client.args(options);
        if let Some(count) = count {
            client.args(["--count", &count.to_string()]);
        }
        let sides = [self.machine.server_side(threads), self.machine.client_side(threads)];
        self.session([server, client], sides, count.is_some())
    }

    /// Returns a command of the load generator.
    pub fn load(&self, name: &str) -> Command {
        let mut command = Command::new(&self.loadgen);
        command.args([name, "--secs", &self.secs.to_string()]);
        command
    }

    /// Runs a server under a load, each on its processors. With `to_its_end`, the server's output is returned too.
    pub fn session(
        &self,
        [mut server, mut load]: [Command; 2],
        [server_side, client_side]: [&[usize]; 2],
        to_its_end: bool,
    ) -> Result<(Values, Option<Output>), String> {
        server.args(["--addr", "127.0.0.1:0", "--until-eof", "1"]).args(LIFE);
        let mut server = Server(Some(self.start(server, server_side)?));
        let (id, address) = server.listening()?;
        load.args(["--addr", &address, "--pid", &id]).args(LIFE);
        let found = finish(self.start(load, client_side)?);
        let found = found.and_then(|output| values(&output)).map_err(|reason| server.failure(reason))?;
        let output = to_its_end.then(|| server.finish()).transpose()?;
        Ok((found, output))
    }

    /// Returns a command of the program, under the one that counts for this workload.
    fn command(&self, how: How, program: &Path) -> Command {
        let perf =
            ["perf", "stat", "-x;", "-e", "raw_syscalls:sys_enter", "-e", "syscalls:sys_enter_futex", "-o"];
        let around: &[&str] = match (how, self.machine.syscalls) {
            (How::Timed, _) | (How::Syscalls, None) => return Command::new(program),
            (How::Instructions, _) => &CALLGRIND,
            (How::Syscalls, Some(Counter::Perf)) => &perf,
            (How::Syscalls, Some(Counter::Strace)) => &["strace", "-c", "-f", "-o"],
        };
        let mut command = Command::new(around[0]);
        command.args(&around[1..]);
        if how == How::Syscalls {
            command.arg(&self.counts);
        }
        command.arg(program);
        command
    }

    /// Starts a program on these processors, which it inherits from this thread.
    pub fn start(&self, mut command: Command, processors: &[usize]) -> Result<Child, String> {
        let restrict = |processors| restrict_to(processors).map_err(|error| format!("processors: {error}"));
        restrict(processors)?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        restrict(&self.machine.allowed)?;
        child.map_err(|error| format!("{}: {error}", command.get_program().display()))
    }
}

/// A server, killed when it is dropped.
struct Server(Option<Child>);

impl Server {
    /// Waits until the server listens. Returns its process ID and its address.
    fn listening(&mut self) -> Result<(String, String), String> {
        let child = self.0.as_mut().ok_or("the server has ended")?;
        let (mut line, id) = (String::new(), child.id().to_string());
        if let Some(output) = &mut child.stdout {
            BufReader::new(output).read_line(&mut line).map_err(|error| format!("the server: {error}"))?;
        }
        match line.trim().strip_prefix("LISTENING ") {
            Some(address) => Ok((id, address.to_owned())),
            None => Err(self.failure(format!("the server printed no address: {line}"))),
        }
    }

    /// Closes the server's input, which ends it, and returns its output.
    fn finish(&mut self) -> Result<Output, String> {
        finish(self.0.take().ok_or("the server has ended")?)
    }

    /// Returns the reason for which the server has ended, or `reason` if it runs.
    fn failure(&mut self, reason: String) -> String {
        let has_ended = self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
        match has_ended.then(|| self.finish()) {
            Some(Err(reason)) => format!("the server ended: {reason}"),
            _ => reason,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both calls fail only if the server has ended and was waited for.
            let _ = child.kill().and_then(|()| child.wait().map(drop));
        }
    }
}

/// Closes the program's input and waits for its end. Returns an error, with its last words, if it failed.
pub fn finish(child: Child) -> Result<Output, String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(last.map_or_else(|| output.status.to_string(), str::to_owned))
}

/// Returns the number of operations of a sample, in whole groups of tasks, of which the largest has 10,000.
fn operations(n: N, secs: f64) -> u64 {
    match n {
        N::Fixed(n) => n,
        N::Scaled(most) => {
            let n = (most as f64 * secs) as u64;
            let n = if n >= 10_000 { n / 10_000 * 10_000 } else { n };
            n.max(if most >= 100_000 { 20_000 } else { 100 })
        }
    }
}

/// Returns the median of each field over the lines of a program's output, which are flat JSON objects. There is no field
/// if the program does not support the measurement.
pub fn values(output: &Output) -> Result<Values, String> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.starts_with('{')) {
        for field in line.trim_matches(['{', '}']).split(',') {
            let (name, value) = field.split_once(':').ok_or_else(|| format!("this is no result: {line}"))?;
            if let Ok(value) = value.parse() {
                all.entry(name.trim_matches('"').to_owned()).or_default().push(value);
            }
        }
    }
    match all.contains_key("unsupported") {
        true => Ok(Values::new()),
        false if all.is_empty() => Err("it printed no result".to_owned()),
        false => Ok(all
            .into_iter()
            .filter_map(|(name, values)| Some((name, median(values.into_iter())?)))
            .collect()),
    }
}

/// Finds callgrind's count in its output.
pub fn instructions(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Finds a count of perf, whose lines are `12345;;NAME;...`.
pub fn perf(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split(';').nth(2) == Some(name))?;
    line.split(';').next()?.parse().ok()
}

/// Finds a count of strace, whose lines are share, seconds, microseconds per call, calls, errors if any, name.
fn strace(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split_whitespace().last() == Some(name))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn record(workload: &'static Workload, peer: &str, round: usize, values: &Values, out: &mut Figures) {
    for metric in workload.metrics {
        if let Some(&value) = values.get(metric.key) {
            let (metric, peer) = (metric.key.to_owned(), peer.to_owned());
            out.0.push(Figure { workload, metric, peer, round, value });
        }
    }
}

/// Prints the first metric of a workload.
fn show(workload: &Workload, peers: &[Peer], figures: &Figures) {
    let metric = &workload.metrics[0];
    let values = peers.iter().filter_map(|peer| {
        let value = figures.median(workload.name, metric.key, peer.name)?;
        Some(format!("{} {}", peer.name, pages::number(value)))
    });
    let values: Vec<String> = values.collect();
    let values = if values.is_empty() { "no peer has it".to_owned() } else { values.join(", ") };
    println!("{:<30} {}: {values}", workload.name, metric.unit);
}
