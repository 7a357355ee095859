//! One workload with one peer, once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::count::{Around, Counts};
use super::figures::median;
use super::machine::Machine;
use super::peers::Peer;
use super::process::{LIMIT, Program, Running};
use super::table::{Args, How, N, Work, Workload};

/// A figure by its key.
pub type Found = BTreeMap<String, f64>;

/// Operations of the shorter of two counted runs; the longer makes three times as many, and the difference is what
/// counts, so that start and end of a program do not.
const FEW_MESSAGES: u64 = 4000;
/// More, since what stands before the first of them may be a million timers.
const FEW_INSIDE: u64 = 40_000;

pub struct Bench<'b> {
    pub machine: &'b Machine,
    /// The program that makes the load.
    pub loadgen: String,
}

impl Bench<'_> {
    pub fn once(&self, workload: &Workload, peer: &Peer) -> Result<Found, String> {
        match (workload.how, &workload.work) {
            (How::Timed, Work::Served { .. }) => {
                let (found, _) = self.served(workload, peer, None)?;
                Ok(found)
            }
            (How::Timed, Work::Inside { bench, args, n, processors }) => {
                let n = match n {
                    // Whole groups of tasks, of which the largest has 10,000.
                    N::Scaled(most) if *most >= 100_000 => scaled(*most, self.machine.secs).max(20_000),
                    N::Scaled(most) => scaled(*most, self.machine.secs).max(100),
                    N::Fixed(n) => *n,
                };
                let words = self.inside(peer, bench, args, n);
                let program = Program {
                    machine: self.machine,
                    processors: self.machine.server_side(*processors),
                    words,
                };
                medians(&program.finish()?.lines)
            }
            _ => self.counted(workload, peer),
        }
    }

    /// The difference of two runs by its operations.
    fn counted(&self, workload: &Workload, peer: &Peer) -> Result<Found, String> {
        let n = if matches!(workload.work, Work::Served { .. }) { FEW_MESSAGES } else { FEW_INSIDE };
        let (few, many) = (self.counts(workload, peer, n)?, self.counts(workload, peer, 3 * n)?);
        let each = |(key, few): (&str, f64), many: f64| (key.to_owned(), (many - few) / (2 * n) as f64);
        Ok(few.into_iter().zip(many).map(|(few, (_, many))| each(few, many)).collect())
    }

    fn counts(&self, workload: &Workload, peer: &Peer, operations: u64) -> Result<Counts, String> {
        let around = Around::new(workload.how, self.machine);
        match &workload.work {
            Work::Served { .. } => {
                let (_, told) = self.served(workload, peer, Some((&around, operations)))?;
                around.counts(&told)
            }
            Work::Inside { bench, args, processors, .. } => {
                let mut words = around.words();
                words.extend(self.inside(peer, bench, args, operations));
                words.extend(["--samples", "1"].map(str::to_owned));
                let program = Program {
                    machine: self.machine,
                    processors: self.machine.server_side(*processors),
                    words,
                };
                let ended = program.finish()?;
                // A peer that lacks it says so, and its start and end are no figure.
                medians(&ended.lines)?;
                around.counts(&ended.told)
            }
        }
    }

    fn inside(&self, peer: &Peer, bench: &str, args: Args, n: u64) -> Vec<String> {
        let mut words = vec![peer.program.to_string_lossy().into_owned()];
        words.extend(["micro", "--bench", bench, "--n"].map(str::to_owned));
        words.push(n.to_string());
        // The row's own arguments come later, and what is said last holds.
        words.extend(["--secs".to_owned(), self.machine.secs.to_string()]);
        words.extend(args.iter().map(|&word| word.to_owned()));
        words.extend(lifetime());
        words
    }

    /// A server and a load. With `counted` the load ends after so many operations, and then what the server wrote to its
    /// error output is told too.
    fn served(
        &self,
        workload: &Workload,
        peer: &Peer,
        counted: Option<(&Around, u64)>,
    ) -> Result<(Found, String), String> {
        let Work::Served { load, threads, server, client, .. } = &workload.work else {
            return Err("it has no server".to_owned());
        };
        let mut words = counted.map(|(around, _)| around.words()).unwrap_or_default();
        words.push(peer.program.to_string_lossy().into_owned());
        words.extend(["echo", "--addr", "127.0.0.1:0", "--until-eof", "1", "--threads"].map(str::to_owned));
        words.push(threads.to_string());
        words.extend(server.iter().map(|&word| word.to_owned()));
        words.extend(lifetime());
        let program =
            Program { machine: self.machine, processors: self.machine.server_side(*threads), words };
        let mut running = program.start()?;
        let found =
            self.load(load, &mut running, *threads, client, counted.map(|(_, operations)| operations));
        let found = found.map_err(|reason| running.last_words().unwrap_or(reason))?;
        let told = if counted.is_some() { running.end(LIMIT)?.told } else { String::new() };
        Ok((found, told))
    }

    fn load(
        &self,
        load: &str,
        server: &mut Running,
        threads: usize,
        client: Args,
        count: Option<u64>,
    ) -> Result<Found, String> {
        let line = server.line(Duration::from_secs(30))?;
        let address = line.strip_prefix("LISTENING ").ok_or(format!("this is not its address: {line}"))?;
        let (pid, seconds) = (server.id().to_string(), self.machine.secs.to_string());
        let mut words = vec![self.loadgen.clone(), load.to_owned()];
        words.extend(["--addr", address, "--pid", &pid, "--secs", &seconds].map(str::to_owned));
        words.extend(client.iter().map(|&word| word.to_owned()));
        words.extend(count.into_iter().flat_map(|count| ["--count".to_owned(), count.to_string()]));
        words.extend(lifetime());
        let program = Program { machine: self.machine, processors: self.machine.client_side(threads), words };
        medians(&program.finish()?.lines)
    }
}

/// A part of `most`, in whole thousands where there are such.
fn scaled(most: u64, secs: f64) -> u64 {
    let n = (most as f64 * secs) as u64;
    if n >= 10_000 { n / 10_000 * 10_000 } else { n }
}

fn lifetime() -> [String; 2] {
    ["--max-secs".to_owned(), LIMIT.as_secs().to_string()]
}

/// The median of each field over the lines, which are flat objects of numbers.
fn medians(lines: &[String]) -> Result<Found, String> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.starts_with('{')) {
        for field in line.trim_matches(['{', '}']).split(',') {
            let (name, value) = field.split_once(':').ok_or_else(|| format!("this is no result: {line}"))?;
            if let Ok(value) = value.parse() {
                all.entry(name.trim_matches('"').to_owned()).or_default().push(value);
            }
        }
    }
    match all.contains_key("unsupported") {
        true => Ok(Found::new()),
        false if all.is_empty() => Err("it printed no result".to_owned()),
        false => Ok(all.into_iter().filter_map(|(name, values)| Some((name, median(values)?))).collect()),
    }
}
