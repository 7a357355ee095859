//! The machine: the part of it that the measurements may use, and its description on the pages.

use std::process::{Command, Stdio};

use netpoll_bench::process::allowed_processors;
use procfs::Current;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::peers::{PROFILE, Peer};
use crate::workloads::{How, Workload};

pub struct Machine {
    /// All processors that this process may use. The first two serve the measurements.
    pub allowed: Vec<usize>,
    /// The limit of a process's descriptors.
    pub descriptors: u64,
    /// The program that counts system calls, if there is one.
    pub syscalls: Option<Counter>,
    pub has_callgrind: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Counts at the trace points of the kernel, at full speed.
    Perf,
    /// Slows the server down, so that the server finds more events at each wait than it would.
    Strace,
}

impl Machine {
    /// Inspects the machine, and raises the limit of descriptors of this process and its children.
    pub fn inspect() -> Result<Self, String> {
        let works = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
            .map_err(|error| format!("cannot raise the limit of descriptors: {error}"))?;
        let has_perf = works("perf", &["stat", "-e", "raw_syscalls:sys_enter", "true"]);
        let has_strace = works("strace", &["-c", "-f", "-o", "/dev/null", "true"]);
        Ok(Self {
            allowed: allowed_processors(),
            descriptors: limit.maximum.unwrap_or(u64::MAX),
            syscalls: if has_perf { Some(Counter::Perf) } else { has_strace.then_some(Counter::Strace) },
            has_callgrind: works("valgrind", &["--version"]),
        })
    }

    /// Returns the processors of a server or a measurement with this number of threads.
    pub fn server_side(&self, threads: usize) -> &[usize] {
        &self.allowed[..threads.clamp(1, self.allowed.len().min(2))]
    }

    /// Returns the processors of the load: the second one if the server has only the first.
    pub fn client_side(&self, threads: usize) -> &[usize] {
        let both = self.server_side(2);
        if threads > 1 { both } else { &both[both.len() - 1..] }
    }

    /// Returns what the machine lacks for a workload, if anything.
    pub fn lacks(&self, workload: &Workload) -> Option<String> {
        // A process needs some descriptors beside its connections.
        let needed = if workload.is_served() { workload.descriptors + 100 } else { 0 };
        match workload.how {
            How::Syscalls if self.syscalls.is_none() => Some("neither perf nor strace works here".to_owned()),
            How::Instructions if !self.has_callgrind => Some("valgrind is not installed".to_owned()),
            _ if needed > self.descriptors => {
                Some(format!("it needs {needed} descriptors, the limit is {}", self.descriptors))
            }
            _ => None,
        }
    }

    /// Returns the lines of a page's head.
    pub fn header(&self, peers: &[Peer], rounds: usize, secs: f64) -> Vec<(String, String)> {
        let cpus = procfs::CpuInfo::current().ok();
        let cores = cpus.as_ref().map_or(1, |cpus| cpus.num_cores());
        let model = cpus.as_ref().and_then(|cpus| cpus.model_name(0)).unwrap_or(std::env::consts::ARCH);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let versions: Vec<&str> = peers.iter().map(|peer| peer.version.as_str()).collect();
        let syscalls = match self.syscalls {
            Some(Counter::Perf) => "counted by perf on the kernel's trace points",
            Some(Counter::Strace) => "counted by strace, which slows a server down",
            None => "not counted: neither perf nor strace works here",
        };
        let instructions = if self.has_callgrind {
            "counted by callgrind"
        } else {
            "not counted: valgrind is not installed"
        };
        let processors = match self.server_side(2) {
            [server, client] => format!(
                "server with one worker on processor {server}, client on {client}; with two both may use both"
            ),
            _ => "one processor for server and client".to_owned(),
        };
        let rows = [
            ("date", output_of("date", &["-u", "+%F %H:%M UTC"])),
            ("machine", format!("{cores} x {model}, Linux {}", kernel.trim())),
            ("compiler", output_of("rustc", &["--version"])),
            ("profile", PROFILE.to_owned()),
            ("commit", output_of("git", &["-C", crate::PACKAGE, "describe", "--always", "--dirty"])),
            ("peers", versions.join(", ")),
            ("rounds", format!("{rounds}, each load measured for {secs} s")),
            ("processors", processors),
            ("system calls", syscalls.to_owned()),
            ("instructions", format!("in user space, {instructions}")),
            ("load before", load()),
        ];
        rows.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// Describes the load of the machine in the last minute.
pub fn load() -> String {
    let load = procfs::LoadAverage::current();
    load.map_or("unknown".to_owned(), |load| format!("{} (mean of a minute)", load.one))
}

/// Returns the output of a program, or an empty text if it cannot be run.
fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
