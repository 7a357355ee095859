//! What is measured: each workload is a row.

use super::figures::Figures;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Net,
    Exec,
    Time,
}

impl Group {
    pub const ALL: [Self; 3] = [Self::Net, Self::Exec, Self::Time];

    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Exec => "exec",
            Self::Time => "time",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Net => "Echo servers",
            Self::Exec => "Tasks",
            Self::Time => "Timers and deadlines",
        }
    }
}

/// What is run.
pub enum Work {
    /// A server with so many threads and a load; how many descriptors each side needs.
    Served { load: &'static str, threads: usize, server: Args, client: Args, descriptors: usize },
    /// A measurement inside of a peer's process, on so many processors.
    Inside { bench: &'static str, args: Args, n: N, processors: usize },
}

pub type Args = &'static [&'static str];

/// Operations in a sample.
pub enum N {
    /// In a sample of full length.
    Scaled(u64),
    /// The number belongs to what is asked.
    Fixed(u64),
}

/// How it is measured. What is counted does not depend on the clock or on the neighbours, so one round will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Timed,
    Syscalls,
    Instructions,
}

pub struct Metric {
    /// Its name in what a peer prints.
    pub key: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
}

pub struct Workload {
    pub group: Group,
    pub name: &'static str,
    pub what: &'static str,
    pub work: Work,
    pub how: How,
    /// The first is the one that the plot shows, a cost: less of it is better.
    pub metrics: &'static [Metric],
}

const fn less(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, more_is_better: false }
}

const fn more(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, more_is_better: true }
}

pub const ECHO: &[Metric] = &[
    less("cpu_ns_per_op", "server CPU, ns/message"),
    more("rate", "messages/s"),
    less("p50_us", "latency p50, us"),
    less("p99_us", "latency p99, us"),
    less("p999_us", "latency p99.9, us"),
];
pub const CHURN: &[Metric] = &[
    less("cpu_ns_per_op", "server CPU, ns/connection"),
    more("rate", "connections/s"),
    less("p99_us", "latency p99, us"),
];
pub const STALL: &[Metric] = &[
    less("p99_us", "latency p99, us"),
    less("p999_us", "latency p99.9, us"),
    less("max_us", "longest, us"),
    more("rate", "messages/s"),
];
pub const MEMORY: &[Metric] = &[
    less("used_bytes", "bytes/connection after an echo"),
    less("idle_bytes", "bytes/connection before the first byte"),
    less("closed_bytes", "bytes/connection kept after the close"),
];
pub const PARKED: &[Metric] = &[less("switches_per_s", "wakes/s"), less("cpu_us_per_s", "server CPU, us/s")];
const SYSCALLS: &[Metric] = &[less("syscalls", "system calls/operation"), less("futex", "of them futex")];
const INSTRUCTIONS: &[Metric] = &[less("instructions", "instructions/operation")];
pub const EACH: &[Metric] = &[less("ns_per_op", "ns/operation")];
pub const FIRE: &[Metric] = &[
    less("p99_us", "late p99, us"),
    less("p50_us", "late p50, us"),
    less("min_us", "late at least, us (below 0: early)"),
    less("cpu_ns_per_timer", "CPU, ns/timer"),
    less("echo_p99_us", "an echo meanwhile, p99, us"),
];
pub const SLEEP: &[Metric] = &[
    less("p50_us", "late p50, us"),
    less("min_us", "late at least, us (below 0: early)"),
    less("p99_us", "late p99, us"),
    less("cpu_ns_per_sleep", "CPU, ns/sleep"),
];
pub const PERIODIC: &[Metric] = &[
    less("cpu_ns_per_tick", "CPU, ns/tick"),
    less("switches_per_s", "wakes/s"),
    less("p50_us", "late p50, us"),
    less("min_us", "late at least, us (below 0: early)"),
];

pub const fn echo(name: &'static str, what: &'static str, threads: usize, client: Args) -> Workload {
    let work = Work::Served { load: "echo", threads, server: &[], client, descriptors: 0 };
    Workload { group: Group::Net, name, what, work, how: How::Timed, metrics: ECHO }
}

pub const fn inside(
    name: &'static str,
    what: &'static str,
    bench: &'static str,
    processors: usize,
) -> Workload {
    let work = Work::Inside { bench, args: &[], n: N::Scaled(1_000_000), processors };
    Workload { group: Group::Exec, name, what, work, how: How::Timed, metrics: EACH }
}

impl Workload {
    pub const fn serving(self, load: &'static str, server: Args, descriptors: usize) -> Self {
        let work = match self.work {
            Work::Served { threads, client, .. } => {
                Work::Served { load, threads, server, client, descriptors }
            }
            other => other,
        };
        Self { work, ..self }
    }

    pub const fn times(self, n: N) -> Self {
        let work = match self.work {
            Work::Inside { bench, args, processors, .. } => Work::Inside { bench, args, n, processors },
            other => other,
        };
        Self { work, ..self }
    }

    pub const fn with(self, args: Args) -> Self {
        let work = match self.work {
            Work::Inside { bench, n, processors, .. } => Work::Inside { bench, args, n, processors },
            other => other,
        };
        Self { work, ..self }
    }

    pub const fn told(self, group: Group, metrics: &'static [Metric]) -> Self {
        Self { group, metrics, ..self }
    }

    pub const fn counted(self, how: How) -> Self {
        let metrics = match how {
            How::Syscalls => SYSCALLS,
            How::Instructions => INSTRUCTIONS,
            How::Timed => self.metrics,
        };
        Self { how, metrics, ..self }
    }

    /// For the time's table.
    pub const fn timers(self, metrics: &'static [Metric]) -> Self {
        self.told(Group::Time, metrics)
    }
}

pub const C1: Args = &["--connections", "1"];
pub const C16: Args = &["--connections", "16"];
pub const C64: Args = &["--connections", "64"];
pub const C1000: Args = &["--connections", "1000"];
pub const C8000: Args = &["--connections", "8000", "--warmup", "800"];
pub const C10000: Args = &["--connections", "10000"];
/// What happens once a second, or never, takes some seconds to be seen.
pub const IDLE: Args = &["--connections", "10000", "--secs", "3"];
pub const LARGE: Args = &["--connections", "64", "--size", "4096"];
pub const DEEP: Args = &["--connections", "64", "--pipeline", "16"];
pub const HALF_MINUTE: Args = &["--deadline", "30000"];
pub const HOUR: Args = &["--deadline", "3600000"];
/// A task that blocks its worker for a second, with a pause of a tenth of it in between.
pub const BLOCK: Args = &["--block", "1000"];
pub const BLOCKED: Args = &["--connections", "64", "--secs", "4"];
pub const LAZY: Args = &["--buf", "lazy"];

pub use super::rows::{DERIVED, WORKLOADS};

/// What follows from two workloads of one peer.
pub struct Derived {
    pub group: Group,
    pub what: &'static str,
    pub of: [&'static str; 2],
    pub metric: &'static str,
    pub join: fn(f64, f64) -> f64,
}

impl Derived {
    pub fn value(&self, figures: &Figures, peer: &str) -> Option<f64> {
        figures.joined(self.of, self.metric, [peer; 2], self.join)
    }
}

/// The workloads that the words mean: a group, `all`, or a part of a name. No word: all.
pub fn chosen(words: &[String]) -> Result<Vec<&'static Workload>, String> {
    let means = |word: &str, workload: &Workload| match word {
        "all" => true,
        "net" | "exec" | "time" => workload.group.name() == word,
        _ => workload.name.contains(word),
    };
    if let Some(word) = words.iter().find(|word| !WORKLOADS.iter().any(|workload| means(word, workload))) {
        return Err(format!("no workload has `{word}` in its name; --list names them"));
    }
    let wanted = |workload: &&Workload| words.is_empty() || words.iter().any(|word| means(word, workload));
    Ok(WORKLOADS.iter().filter(wanted).collect())
}

pub fn by_name(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}
