//! Growing numbers of workers: an echo under a load from other processors, and a storm of spawned tasks.
//!
//! A number of workers below that of the processors leaves the others to the load. A larger number shares all processors
//! with the load. Times come from interleaved rounds, counts from one more run under perf.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::figures::median;
use crate::machine::{self, Machine};
use crate::measure::{Bench, LIFE, Values, finish, perf, values};
use crate::pages::{MarkdownTable, number, two_decimals};
use crate::peers::{self, OURS, Peer};

/// The parameters of `scale`.
pub struct Plan<'a> {
    /// The numbers of workers. If there are none, the powers of two up to the number of processors, and that number.
    pub workers: &'a [usize],
    /// The connections for each worker.
    pub connections: usize,
    pub rounds: usize,
    pub secs: f64,
    pub peers: &'a [String],
}

/// The peer that the ratios are relative to.
const BASE: &str = "tokio";

/// The spawned tasks of a storm.
const SPAWNED: u64 = 1_000_000;

/// Events of perf, each a load that was served from a line in the cache of another core: Intel from 2021, from 2015 and from
/// 2013, then AMD's Zen 3 and Zen 4, which count the other complexes of the same socket only. The first that works is used.
const SHARED_LINES: &[&str] = &[
    "mem_load_l3_hit_retired.xsnp_fwd",
    "mem_load_l3_hit_retired.xsnp_hitm",
    "mem_load_uops_l3_hit_retired.xsnp_hitm",
    "ls_dmnd_fills_from_sys.ext_cache_local",
    "ls_dmnd_fills_from_sys.near_cache",
];

const SYSCALLS: &str = "raw_syscalls:sys_enter";
const FUTEX: &str = "syscalls:sys_enter_futex";
const SWITCHES: &str = "context-switches";

/// A column of a table: its title, the key of its value, and the number by which the value is divided.
type Column = (&'static str, &'static str, f64);

/// Runs a peer once, under the command if there is one.
type Session<'a> = dyn Fn(&Peer, Option<Command>) -> Result<Values, String> + 'a;

pub fn run(plan: &Plan<'_>) -> Result<(), String> {
    let machine = Machine::inspect()?;
    let mut peers = peers::build(plan.peers)?;
    // A bare loop has one thread.
    peers.retain(|peer| peer.name != "loop");
    let header = machine.header(&peers, plan.rounds, plan.secs);
    let shown = ["date", "machine", "compiler", "profile", "commit", "peers", "rounds", "load before"];
    for (name, value) in header.iter().filter(|(name, _)| shown.contains(&name.as_str())) {
        println!("- {name}: {value}");
    }
    let (counters, reason) = counters();
    println!("- shared-line misses: {reason}");
    let workers = match plan.workers {
        [] => up_to(machine.allowed.len()),
        chosen => chosen.to_vec(),
    };
    let scale = Scale { bench: Bench::new(machine, plan.secs)?, peers, plan, counters };
    // Each program needs about half a second to start, to connect and to warm up.
    let sessions = (2 * workers.len() * scale.peers.len() * (plan.rounds + 1)) as f64;
    println!("- this takes about {:.0} s\n", sessions * (plan.secs + 0.5));
    let mut failures = Vec::new();
    let mut figures = 0;
    for &workers in &workers {
        figures += scale.echo(workers, &mut failures);
        figures += scale.storm(workers, &mut failures);
    }
    println!("- load afterwards: {}", machine::load());
    failures.iter().for_each(|failure| println!("- no figure: {failure}"));
    println!(
        "bench: {figures} figures for {} numbers of workers, {} failures",
        workers.len(),
        failures.len()
    );
    match failures.iter().find(|failure| failure.starts_with(OURS)) {
        Some(failure) => Err(failure.clone()),
        None if figures == 0 => Err("nothing was measured".to_owned()),
        None => Ok(()),
    }
}

/// Returns 1, 2, 4, ... and the number itself.
fn up_to(processors: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> =
        (0..usize::BITS).map(|bit| 1 << bit).take_while(|&n| n < processors).collect();
    numbers.push(processors);
    numbers
}

/// Returns the events that perf counts here, and a line about misses on shared lines.
fn counters() -> (Vec<&'static str>, String) {
    let counts = |event: &str| {
        let mut command = Command::new("perf");
        command.args(["stat", "-x;", "-e", event, "--", "ls", "/"]).stdin(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success());
        output.is_some_and(|output| {
            // An event that cannot be counted has a text in place of a number.
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .any(|line| line.split(';').next().is_some_and(|count| count.parse::<u64>().is_ok()))
        })
    };
    let events = [SYSCALLS, FUTEX, SWITCHES].into_iter().filter(|event| counts(event));
    let mut events: Vec<_> = events.collect();
    if events.is_empty() {
        return (events, "not counted, as nothing is: perf is missing, or may not count here".to_owned());
    }
    match SHARED_LINES.iter().find(|event| counts(event)) {
        Some(event) => {
            events.push(event);
            (events, format!("counted as `{event}`"))
        }
        None => (events, "not counted: perf knows no event for them on this processor".to_owned()),
    }
}

struct Scale<'a> {
    bench: Bench,
    peers: Vec<Peer>,
    plan: &'a Plan<'a>,
    counters: Vec<&'static str>,
}

impl Scale<'_> {
    /// Measures an echo, prints the table, and returns the number of its figures.
    fn echo(&self, workers: usize, failures: &mut Vec<String>) -> usize {
        let connections = workers * self.plan.connections;
        let Sides { server, client, threads } = Sides::of(&self.bench.machine.allowed, workers);
        let place = |processors: &[usize]| match processors {
            [one] => format!("processor {one}"),
            processors => format!("{} processors", processors.len()),
        };
        let shares = if client == server { ", the same as the load's" } else { "" };
        println!(
            "## Echo of 64 bytes: {workers} workers on {}{shares}; {connections} connections; load threads: {threads}, on {}\n",
            place(server),
            place(client)
        );
        let needed = connections as u64 + 100;
        if needed > self.bench.machine.descriptors {
            let limit = self.bench.machine.descriptors;
            failures.push(format!(
                "left out, echo with {workers} workers: {needed} descriptors, the limit is {limit}"
            ));
            return 0;
        }
        let [ctl, ack] = self.pipes();
        let session = |peer: &Peer, mut around: Option<Command>| {
            let counted = around.is_some();
            if let Some(perf) = &mut around {
                // Perf counts only while the load generator tells it to.
                let control = format!("fifo:{},{}", ctl.display(), ack.display());
                perf.args(["--delay", "-1", "--control", &control]);
            }
            let mut server = under(around, peer);
            server.args(["echo", "--threads", &workers.to_string()]);
            let mut load = self.bench.load("echo");
            load.args(["--connections", &connections.to_string(), "--threads", &threads.to_string()]);
            if counted {
                load.arg("--perf").arg(&self.bench.counts);
            }
            let sides = Sides::of(&self.bench.machine.allowed, workers);
            self.bench.session([server, load], [sides.server, sides.client], counted).map(|(found, _)| found)
        };
        let columns: &[Column] = &[
            ("messages/s", "rate", 1.0),
            ("per worker", "rate", workers as f64),
            ("CPU ns/message", "cpu_ns_per_op", 1.0),
            ("p99 us", "p99_us", 1.0),
        ];
        self.table("echo", workers, columns, ["cpu_ns_per_op", "rate"], &session, failures)
    }

    /// Measures a storm: the future of `block_on` spawns tasks and then awaits them.
    fn storm(&self, workers: usize, failures: &mut Vec<String>) -> usize {
        println!("## {} tasks spawned by `block_on`: {workers} workers\n", number(SPAWNED as f64));
        let session = |peer: &Peer, around: Option<Command>| {
            let mut command = under(around, peer);
            command.args(["micro", "--bench", "storm", "--samples", "1", "--n", &SPAWNED.to_string()]);
            command.args(["--threads", &workers.to_string()]).args(LIFE);
            let output = finish(self.bench.start(command, &self.bench.machine.allowed)?)?;
            values(&output)
        };
        let columns: &[Column] = &[("ns/task", "ns_per_op", 1.0), ("CPU ns/task", "cpu_ns_per_op", 1.0)];
        self.table("storm", workers, columns, ["cpu_ns_per_op", "ns_per_op"], &session, failures)
    }

    /// Runs every peer in each round, each second round in reverse order, and once more under perf. A peer that fails once
    /// does not take part in the later rounds. Prints a row for each peer, and returns the number of figures.
    fn table(
        &self,
        name: &str,
        workers: usize,
        columns: &[Column],
        ratios: [&str; 2],
        session: &Session<'_>,
        failures: &mut Vec<String>,
    ) -> usize {
        let mut found: Vec<Vec<Values>> = self.peers.iter().map(|_| Vec::new()).collect();
        let mut counts: Vec<Values> = vec![Values::new(); self.peers.len()];
        let mut has_failed = vec![false; self.peers.len()];
        for round in 0..=self.plan.rounds {
            let turns = 0..self.peers.len();
            let turns: Vec<usize> = if round % 2 == 0 { turns.collect() } else { turns.rev().collect() };
            for at in turns {
                let peer = &self.peers[at];
                let outcome = match round {
                    _ if has_failed[at] => continue,
                    counting if counting == self.plan.rounds => {
                        self.counted(peer, session).map(|values| counts[at] = values)
                    }
                    _ => session(peer, None).map(|values| found[at].push(values)),
                };
                if let Err(reason) = outcome {
                    has_failed[at] = true;
                    failures.push(format!("{}, {name} with {workers} workers: {reason}", peer.name));
                }
            }
        }
        self.print(columns, ratios, &found, &counts)
    }

    /// Returns the pipes by which the load generator tells perf when to count.
    fn pipes(&self) -> [PathBuf; 2] {
        ["ctl", "ack"].map(|ending| self.bench.counts.with_extension(ending))
    }

    /// Runs a session under perf. Returns its counts for each operation.
    fn counted(&self, peer: &Peer, session: &Session<'_>) -> Result<Values, String> {
        if self.counters.is_empty() {
            return Ok(Values::new());
        }
        let pipes = self.pipes();
        let made = Command::new("mkfifo").args(&pipes).status();
        let counts = if made.is_ok_and(|status: ExitStatus| status.success()) {
            let mut command = Command::new("perf");
            command.args(["stat", "-x;", "-o"]).arg(&self.bench.counts);
            self.counters.iter().for_each(|event| {
                command.args(["-e", event]);
            });
            session(peer, Some(command)).and_then(|values| {
                let text =
                    fs::read_to_string(&self.bench.counts).map_err(|error| format!("the counts: {error}"))?;
                let operations = values.get("ops").ok_or("it told no number of operations")?;
                let each = |event: &&str| Some(((*event).to_owned(), perf(&text, event)? / operations));
                Ok(self.counters.iter().filter_map(each).collect())
            })
        } else {
            Err("cannot make the pipes to perf".to_owned())
        };
        // A pipe that cannot be removed stays in the system's temporary folder.
        pipes.iter().for_each(|pipe| drop(fs::remove_file(pipe)));
        counts
    }

    fn print(
        &self,
        columns: &[Column],
        ratios: [&str; 2],
        found: &[Vec<Values>],
        counts: &[Values],
    ) -> usize {
        let titles = ["peer"].into_iter().chain(columns.iter().map(|column| column.0)).map(str::to_owned);
        let titles = titles.chain([format!("CPU x {BASE}"), format!("speed x {BASE}")]);
        let counted = ["system calls", "futex", "switches", "shared-line misses"].map(str::to_owned);
        let mut table = MarkdownTable::new(titles.chain(counted), 1);
        let base = self.peers.iter().position(|peer| peer.name == BASE).map(|at| &found[at]);
        let mut figures = 0;
        for (at, peer) in self.peers.iter().enumerate() {
            let of = |values: &Values, key: &str| values.get(key).copied();
            let value = |column: &Column| {
                median(found[at].iter().filter_map(|values| of(values, column.1)))
                    .map(|value| value / column.2)
            };
            let ratio = |key: &str| {
                let rounds = found[at].iter().zip(base?);
                let ratio = median(rounds.filter_map(|(own, base)| Some(of(own, key)? / of(base, key)?)))?;
                Some(if key == "ns_per_op" { 1.0 / ratio } else { ratio })
            };
            let count = |event: &str| of(&counts[at], event);
            let shared = SHARED_LINES.iter().find_map(|event| count(event));
            let cells: Vec<_> = columns.iter().map(|column| value(column).map(number)).collect();
            let cells = cells.into_iter().chain(ratios.map(|key| ratio(key).map(two_decimals)));
            let counted =
                [count(SYSCALLS), count(FUTEX), count(SWITCHES), shared].map(|count| count.map(number));
            let cells: Vec<_> = cells.chain(counted).collect();
            figures += cells.iter().flatten().count();
            table.row([peer.name.to_owned()], cells.into_iter());
        }
        println!("{}", table.to_text());
        figures
    }
}

/// The processors of a server and of its load, and the threads of the load.
struct Sides<'a> {
    server: &'a [usize],
    client: &'a [usize],
    threads: usize,
}

impl<'a> Sides<'a> {
    fn of(processors: &'a [usize], workers: usize) -> Self {
        let (server, client) = match workers < processors.len() {
            true => processors.split_at(workers),
            false => (processors, processors),
        };
        Self { server, client, threads: workers.min(client.len()) }
    }
}

/// Returns a command of a peer, under the one that counts if there is one.
fn under(around: Option<Command>, peer: &Peer) -> Command {
    match around {
        None => Command::new(&peer.program),
        Some(mut around) => {
            around.arg("--").arg(&peer.program);
            around
        }
    }
}
