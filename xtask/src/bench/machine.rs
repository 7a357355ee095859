//! The machine: what may be used of it, and what is said about it beside the figures.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::options::Options;
use super::peers::{PROFILE_TOLD, Peer};
use super::table::{How, Work, Workload};

pub struct Machine {
    /// The first two processors that this process may use, or the one.
    pub processors: Vec<String>,
    /// Whether a process can be tied to one.
    pub ties: bool,
    /// What a process may hold at most.
    pub descriptors: usize,
    /// Seconds of a load; the rest in proportion.
    pub secs: f64,
    /// What counts system calls, if anything does.
    pub syscalls: Option<Counter>,
    pub callgrind: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Trace points of the kernel: at full speed.
    Perf,
    /// Slow, so that a server finds more at each wait than it would.
    Strace,
}

impl Machine {
    pub fn look(secs: &f64) -> Self {
        let works = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let limit = said("sh", &["-c", "ulimit -Hn"]);
        let perf = works("perf", &["stat", "-e", "raw_syscalls:sys_enter", "true"]);
        let strace = works("strace", &["-c", "-f", "-o", "/dev/null", "true"]);
        Self {
            processors: allowed(),
            ties: works("taskset", &["--version"]),
            descriptors: limit.parse().unwrap_or(if limit == "unlimited" { usize::MAX } else { 1024 }),
            secs: *secs,
            syscalls: if perf { Some(Counter::Perf) } else { strace.then_some(Counter::Strace) },
            callgrind: works("valgrind", &["--version"]),
        }
    }

    /// The processors for something that runs so many threads; the one who loads it takes the other.
    pub fn server_side(&self, threads: usize) -> String {
        self.processors[..threads.clamp(1, self.processors.len())].join(",")
    }

    pub fn client_side(&self, threads: usize) -> String {
        if threads > 1 { self.server_side(2) } else { self.processors[self.processors.len() - 1].clone() }
    }

    /// What this machine lacks for a workload, if anything.
    pub fn lacks(&self, workload: &Workload) -> Option<String> {
        let wanted = match &workload.work {
            // Beside its connections a process has a few of its own.
            Work::Served { descriptors, .. } => descriptors + 100,
            Work::Inside { .. } => 0,
        };
        match workload.how {
            How::Syscalls if self.syscalls.is_none() => Some("neither perf nor strace works here".to_owned()),
            How::Instructions if !self.callgrind => Some("valgrind is not installed".to_owned()),
            _ if wanted > self.descriptors => {
                Some(format!("it needs {wanted} descriptors, the limit is {}", self.descriptors))
            }
            _ => None,
        }
    }

    /// All that a reader needs in order to judge the figures.
    pub fn header(&self, root: &Path, peers: &[Peer], options: &Options) -> Vec<(String, String)> {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models = info.lines().filter(|line| line.starts_with("model name"));
        let models: Vec<&str> = models.filter_map(|line| line.split(": ").nth(1)).collect();
        let model = models.first().copied().unwrap_or(std::env::consts::ARCH);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let versions: Vec<String> = peers.iter().map(|peer| peer.version.clone()).collect();
        let counter = match self.syscalls {
            Some(Counter::Perf) => "counted by perf on the kernel's trace points",
            Some(Counter::Strace) => "counted by strace, which slows a server down",
            None => "not counted: neither perf nor strace works here",
        };
        let instructions =
            if self.callgrind { "counted by callgrind" } else { "not counted: valgrind is not installed" };
        let commit = said("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty"]);
        let rows = [
            ("date", said("date", &["-u", "+%F %H:%M UTC"])),
            ("machine", format!("{} x {model}, Linux {}", models.len().max(1), kernel.trim())),
            ("compiler", said("rustc", &["--version"])),
            ("profile", PROFILE_TOLD.to_owned()),
            ("commit", commit),
            ("peers", versions.join(", ")),
            ("rounds", format!("{}, each load measured for {} s", options.rounds, options.secs)),
            ("places", self.places()),
            ("system calls", counter.to_owned()),
            ("instructions", format!("in user space, {instructions}")),
            ("load before", load()),
        ];
        rows.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn places(&self) -> String {
        match (self.processors.as_slice(), self.ties) {
            ([server, client], true) => {
                format!(
                    "server with one worker on processor {server}, client on {client}; with two both may use both"
                )
            }
            ([_, _], false) => "nothing is tied to a processor: taskset is not installed".to_owned(),
            _ => "one processor for server and client".to_owned(),
        }
    }
}

/// The load of the last minute: what of it was there before we came was not ours.
pub fn load() -> String {
    let told = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{} (mean of a minute)", told.split(' ').next().unwrap_or("unknown"))
}

/// The first two.
fn allowed() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
    let numbers = list.trim().split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap_or(0)..=last.parse().unwrap_or(0)
    });
    numbers.take(2).map(|number| number.to_string()).collect()
}

/// What a program says in a line; nothing when it is not there.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
