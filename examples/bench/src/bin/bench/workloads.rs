//! The table of all measurements. A new measurement is a new row.

use crate::figures::Figures;

/// A page of results.
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

pub type Args = &'static [&'static str];

/// The programs that run.
#[derive(Clone, Copy)]
pub enum Work {
    /// The peer's echo server under a load of the load generator, which gets these options.
    Served { load: &'static str, options: Args },
    /// A measurement inside the peer's process, with this number of operations in a sample.
    Inside { bench: &'static str, n: N },
}

/// The number of operations in a sample.
#[derive(Clone, Copy)]
pub enum N {
    /// A number for a sample of full length. A shorter one has fewer.
    Scaled(u64),
    /// A number that is the same in every sample, because it is part of the question.
    Fixed(u64),
}

/// The way in which a workload is measured. Counts do not depend on the clock or on other processes, so that they need
/// only one round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Timed,
    Syscalls,
    Instructions,
}

pub struct Metric {
    /// The name of the metric in the output of a peer or of the load generator.
    pub key: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
}

pub struct Workload {
    pub group: Group,
    pub name: &'static str,
    pub what: &'static str,
    pub work: Work,
    /// The number of processors, which is the number of a server's threads too.
    pub processors: usize,
    /// The options of the peer.
    pub args: Args,
    /// The number of descriptors that each side needs.
    pub descriptors: u64,
    pub how: How,
    /// The metrics. The plot shows the first, of which less is better.
    pub metrics: &'static [Metric],
}

const fn less(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, more_is_better: false }
}

const fn more(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, more_is_better: true }
}

const ECHO: &[Metric] = &[
    less("cpu_ns_per_op", "server CPU, ns/message"),
    more("rate", "messages/s"),
    less("p50_us", "latency p50, us"),
    less("p99_us", "latency p99, us"),
    less("p999_us", "latency p99.9, us"),
];
const CHURN: &[Metric] = &[
    less("cpu_ns_per_op", "server CPU, ns/connection"),
    more("rate", "connections/s"),
    less("p99_us", "latency p99, us"),
];
const STALL: &[Metric] = &[
    less("p99_us", "latency p99, us"),
    less("p999_us", "latency p99.9, us"),
    less("max_us", "longest, us"),
    more("rate", "messages/s"),
];
const MEMORY: &[Metric] = &[
    less("used_bytes", "bytes/connection after an echo"),
    less("idle_bytes", "bytes/connection before the first byte"),
    less("closed_bytes", "bytes/connection kept after the close"),
];
const PARKED: &[Metric] = &[less("switches_per_s", "wakes/s"), less("cpu_us_per_s", "server CPU, us/s")];
const SYSCALLS: &[Metric] = &[less("syscalls", "system calls/operation"), less("futex", "of them futex")];
const INSTRUCTIONS: &[Metric] = &[less("instructions", "instructions/operation")];
const EACH: &[Metric] = &[less("ns_per_op", "ns/operation")];
const FIRE: &[Metric] = &[
    less("p99_us", "late p99, us"),
    less("p50_us", "late p50, us"),
    less("min_us", "late at least, us (below 0: early)"),
    less("cpu_ns_per_timer", "CPU, ns/timer"),
    less("echo_p99_us", "an echo meanwhile, p99, us"),
];
const SLEEP: &[Metric] = &[
    less("p50_us", "late p50, us"),
    less("min_us", "late at least, us (below 0: early)"),
    less("p99_us", "late p99, us"),
    less("cpu_ns_per_sleep", "CPU, ns/sleep"),
];
const PERIODIC: &[Metric] = &[
    less("cpu_ns_per_tick", "CPU, ns/tick"),
    less("switches_per_s", "wakes/s"),
    less("p50_us", "late p50, us"),
    less("min_us", "late at least, us (below 0: early)"),
];
const SPREAD: &[Metric] = &[
    less("cpu_ms", "CPU, ms"),
    less("cpu_ms_arming", "of it until all are armed, ms"),
    less("switches_per_s", "wakes/s"),
    less("p50_us", "late p50, us"),
];
const KEPT: &[Metric] =
    &[less("kept_bytes", "bytes/task kept afterwards"), less("armed_bytes", "bytes/task asleep")];

/// Describes an echo server on this number of threads, and the options of its load.
const fn echo(name: &'static str, what: &'static str, threads: usize, options: Args) -> Workload {
    let work = Work::Served { load: "echo", options };
    let (group, how) = (Group::Net, How::Timed);
    Workload { group, name, what, work, processors: threads, args: &[], descriptors: 0, how, metrics: ECHO }
}

/// Describes a measurement inside a peer's process.
const fn inside(name: &'static str, what: &'static str, bench: &'static str, processors: usize) -> Workload {
    let work = Work::Inside { bench, n: N::Scaled(1_000_000) };
    let (group, how) = (Group::Exec, How::Timed);
    Workload { group, name, what, work, processors, args: &[], descriptors: 0, how, metrics: EACH }
}

impl Workload {
    /// Returns whether it is a server under a load.
    pub fn is_served(&self) -> bool {
        matches!(self.work, Work::Served { .. })
    }

    const fn loaded_by(self, load: &'static str, args: Args, descriptors: u64) -> Self {
        match self.work {
            Work::Served { options, .. } => {
                Self { work: Work::Served { load, options }, args, descriptors, ..self }
            }
            Work::Inside { .. } => self,
        }
    }

    const fn times(self, n: N) -> Self {
        match self.work {
            Work::Inside { bench, .. } => Self { work: Work::Inside { bench, n }, ..self },
            Work::Served { .. } => self,
        }
    }

    const fn with(self, args: Args) -> Self {
        Self { args, ..self }
    }

    const fn metrics(self, metrics: &'static [Metric]) -> Self {
        Self { metrics, ..self }
    }

    /// Moves the workload to the page of timers and deadlines.
    const fn timers(self, metrics: &'static [Metric]) -> Self {
        Self { group: Group::Time, metrics, ..self }
    }

    const fn counted(self, how: How) -> Self {
        let metrics = match how {
            How::Syscalls => SYSCALLS,
            How::Instructions => INSTRUCTIONS,
            How::Timed => self.metrics,
        };
        Self { how, metrics, ..self }
    }
}

const C1: Args = &["--connections", "1"];
const C16: Args = &["--connections", "16"];
const C64: Args = &["--connections", "64"];
const C100: Args = &["--connections", "100"];
const C500: Args = &["--connections", "500"];
const C1000: Args = &["--connections", "1000"];
const C8000: Args = &["--connections", "8000", "--warmup", "800"];
const C10000: Args = &["--connections", "10000"];
/// Events that happen once a second, or never, take some seconds to measure.
const IDLE: Args = &["--connections", "10000", "--secs", "3"];
const LARGE: Args = &["--connections", "64", "--size", "4096"];
const DEEP: Args = &["--connections", "64", "--pipeline", "16"];
const BLOCKED: Args = &["--connections", "64", "--secs", "4"];
const HALF_MINUTE: Args = &["--deadline", "30000"];
const HOUR: Args = &["--deadline", "3600000"];
/// Starts a task that blocks its worker for a second, again and again, with a pause of a tenth of a second.
const BLOCK: Args = &["--block", "1000"];
const PINGED: Args = &["--connections", "1", "--pause", "1000", "--secs", "4"];
/// Starts tasks that write 1 MiB again and again, to a thread that reads 1 MiB of each and pauses for 100 ms.
const WRITERS: Args = &["--writers", "500"];
const HOG: Args = &["--hog", "5"];
const FLOOD: Args = &["--floods", "1"];
const LAZY: Args = &["--buf", "lazy"];

pub const WORKLOADS: &[Workload] = &[
    echo("echo-1", "one connection, one worker, 64 bytes", 1, C1),
    echo("echo-64", "64 connections, one worker", 1, C64),
    echo("echo-1000", "1,000 connections, one worker", 1, C1000),
    echo("echo-8000", "8,000 connections, one worker", 1, C8000).loaded_by("echo", &[], 8000),
    echo("echo-1-2w", "one connection, two workers", 2, C1),
    echo("echo-64-2w", "64 connections, two workers", 2, C64),
    echo("echo-1000-2w", "1,000 connections, two workers", 2, C1000),
    echo("echo-8000-2w", "8,000 connections, two workers", 2, C8000).loaded_by("echo", &[], 8000),
    echo("echo-4k", "64 connections, messages of 4 KiB", 1, LARGE),
    echo("echo-pipe16", "64 connections, 16 messages in flight on each", 1, DEEP),
    echo("churn", "connect, one echo, close; 16 at a time", 1, C16).loaded_by("churn", &[], 0).metrics(CHURN),
    echo("churn-2w", "the same, two workers", 2, C16).loaded_by("churn", &[], 0).metrics(CHURN),
    echo(
        "blocked-worker",
        "64 connections, two workers, a task blocks one for a second at a time",
        2,
        BLOCKED,
    )
    .loaded_by("echo", BLOCK, 0)
    .metrics(STALL),
    echo(
        "beside-writers",
        "one connection beside 500 tasks that write 1 MiB at a time, two workers",
        2,
        PINGED,
    )
    .loaded_by("echo", WRITERS, 1000)
    .metrics(STALL),
    echo("beside-hog", "100 connections beside a task that computes 5 ms in each turn, two workers", 2, C100)
        .loaded_by("echo", HOG, 0)
        .metrics(STALL),
    echo("beside-flood", "500 connections beside one that is always ready, two workers", 2, C500)
        .loaded_by("echo", FLOOD, 0)
        .metrics(STALL),
    echo("memory", "10,000 connections, a buffer of 16 KiB each", 1, C10000)
        .loaded_by("memory", &[], 10_000)
        .metrics(MEMORY),
    echo("memory-lazy", "10,000 connections, a buffer only while there are data", 1, C10000)
        .loaded_by("memory", LAZY, 10_000)
        .metrics(MEMORY),
    echo("echo-1-syscalls", "one connection", 1, C1).counted(How::Syscalls),
    echo("echo-64-syscalls", "64 connections", 1, C64).counted(How::Syscalls),
    echo("echo-1000-2w-syscalls", "1,000 connections, two workers", 2, C1000).counted(How::Syscalls),
    echo("churn-syscalls", "connect, one echo, close", 1, C16)
        .loaded_by("churn", &[], 0)
        .counted(How::Syscalls),
    echo("echo-16-instructions", "16 connections", 1, C16).counted(How::Instructions),
    inside("spawn-one", "spawn an empty task and await it, one at a time", "spawn_seq", 1),
    inside("spawn-batch", "the same in batches of 1,000", "spawn_batch", 1),
    inside("yield", "200 tasks take turns", "yield_many", 1),
    inside("ping-pong", "round trip of two tasks that wake one another", "pingpong_baton", 1),
    inside("spawn-2w", "a task spawns 10,000, two workers", "mt_spawn_many", 2),
    inside("yield-2w", "200 tasks take turns, two workers", "mt_yield_many", 2),
    inside("ping-pong-2w", "1,000 pairs ask and answer once, two workers", "mt_ping_pong", 2)
        .times(N::Scaled(200_000)),
    inside("chain-2w", "each task spawns the next, two workers", "mt_chained_spawn", 2),
    inside("cross-wake", "round trip of two runtimes on two processors", "cross_wake", 2)
        .times(N::Scaled(20_000)),
    inside("block-on-yield", "the future of `block_on` yields", "block_on_yield", 1),
    inside("blocking", "10,000 closures that block for 1 ms, queued at once", "blocking", 2)
        .with(&["--us", "1000"])
        .times(N::Fixed(10_000)),
    inside("spawn-one-instructions", "spawn and await", "spawn_seq", 1).counted(How::Instructions),
    inside("spawn-batch-instructions", "in batches of 1,000", "spawn_batch", 1).counted(How::Instructions),
    inside("yield-instructions", "200 tasks take turns", "yield_many", 1).counted(How::Instructions),
    inside("ping-pong-instructions", "round trip of two tasks", "pingpong_baton", 1)
        .counted(How::Instructions),
    inside("timer-churn", "arm one, cancel one, 100,000 outstanding", "timer_churn", 1).timers(EACH),
    inside("timer-churn-1k", "the same, 1,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000"])
        .timers(EACH),
    inside("timer-churn-1m", "the same, 1,000,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000000"])
        .timers(EACH),
    inside("timer-fire", "100,000 tasks asleep until one instant", "timer_fire", 2)
        .times(N::Fixed(100_000))
        .timers(FIRE),
    inside("sleep-50us", "one task sleeps 50 us", "sleep", 1).times(N::Scaled(2000)).timers(SLEEP),
    inside("periodic", "1,000 timers of 100 ms, 1 us apart: in one millisecond", "periodic", 1)
        .with(&["--secs", "1", "--apart", "1"])
        .times(N::Fixed(1000))
        .timers(PERIODIC),
    inside("periodic-100ms", "the same, 100 us apart: over the whole period", "periodic", 1)
        .with(&["--secs", "1", "--apart", "100"])
        .times(N::Fixed(1000))
        .timers(PERIODIC),
    inside("timer-spread", "100,000 timers over 10 s, every second one dropped", "timer_spread", 1)
        .with(&["--secs", "10"])
        .times(N::Fixed(100_000))
        .timers(SPREAD),
    inside("timer-memory", "1,000,000 tasks that sleep are cancelled", "timer_memory", 1)
        .times(N::Fixed(1_000_000))
        .timers(KEPT),
    inside("deadline-moved-at", "a fresh read deadline, given as an instant", "deadline_at", 1).timers(EACH),
    inside("deadline-moved-after", "the same, given as a duration", "deadline_after", 1).timers(EACH),
    echo("deadline-none", "echo, 64 connections, no deadline", 1, C64).timers(ECHO),
    echo("deadline-each", "the same, a fresh deadline before each read", 1, C64)
        .loaded_by("echo", HALF_MINUTE, 0)
        .timers(ECHO),
    echo("deadline-parked", "10,000 readers wait, their deadlines an hour away", 1, IDLE)
        .loaded_by("parked", HOUR, 10_000)
        .timers(PARKED),
    echo("deadline-none-syscalls", "without", 1, C64).timers(ECHO).counted(How::Syscalls),
    echo("deadline-each-syscalls", "with a fresh deadline before each read", 1, C64)
        .loaded_by("echo", HALF_MINUTE, 0)
        .timers(ECHO)
        .counted(How::Syscalls),
    echo("deadline-none-instructions", "16 connections, without", 1, C16)
        .timers(ECHO)
        .counted(How::Instructions),
    echo("deadline-each-instructions", "16 connections, with a fresh deadline before each read", 1, C16)
        .loaded_by("echo", HALF_MINUTE, 0)
        .timers(ECHO)
        .counted(How::Instructions),
    inside("timer-churn-1k-instructions", "1,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000"])
        .timers(EACH)
        .counted(How::Instructions),
    inside("timer-churn-100k-instructions", "100,000 outstanding", "timer_churn", 1)
        .timers(EACH)
        .counted(How::Instructions),
    inside("timer-churn-1m-instructions", "1,000,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000000"])
        .timers(EACH)
        .counted(How::Instructions),
];

pub const DERIVED: &[Derived] = &[
    Derived {
        group: Group::Time,
        what: "messages/s, a deadline before each read : none",
        of: ["deadline-each", "deadline-none"],
        metric: "rate",
        join: |with, without| with / without,
    },
    Derived {
        group: Group::Time,
        what: "system calls/message that the deadline adds",
        of: ["deadline-each-syscalls", "deadline-none-syscalls"],
        metric: "syscalls",
        join: |with, without| with - without,
    },
    Derived {
        group: Group::Time,
        what: "instructions/message that the deadline adds",
        of: ["deadline-each-instructions", "deadline-none-instructions"],
        metric: "instructions",
        join: |with, without| with - without,
    },
    Derived {
        group: Group::Time,
        what: "instructions of arm and cancel, 1,000,000 outstanding : 1,000",
        of: ["timer-churn-1m-instructions", "timer-churn-1k-instructions"],
        metric: "instructions",
        join: |many, few| many / few,
    },
    Derived {
        group: Group::Time,
        what: "time of arm and cancel, 1,000,000 outstanding : 1,000",
        of: ["timer-churn-1m", "timer-churn-1k"],
        metric: "ns_per_op",
        join: |many, few| many / few,
    },
];

/// A value that follows from two workloads of one peer.
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

/// Returns the workloads that the words choose. A word is a group, `all`, or a part of a name. No word chooses all.
pub fn chosen(words: &[String]) -> Result<Vec<&'static Workload>, String> {
    let chooses = |word: &str, workload: &Workload| match word {
        "all" => true,
        "net" | "exec" | "time" => workload.group.name() == word,
        _ => workload.name.contains(word),
    };
    if let Some(word) = words.iter().find(|word| !WORKLOADS.iter().any(|workload| chooses(word, workload))) {
        return Err(format!("no workload has `{word}` in its name; --list shows them"));
    }
    let is_wanted =
        |workload: &&Workload| words.is_empty() || words.iter().any(|word| chooses(word, workload));
    Ok(WORKLOADS.iter().filter(is_wanted).collect())
}
