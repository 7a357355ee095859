//! A process of the benchmark: its options, its life span, its processors and its costs.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::process::exit;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use procfs::ProcResult;
use procfs::process::Process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The options of a process: names without their dashes, and a value each.
pub struct Options(HashMap<String, String>);

impl Options {
    /// Returns the command and its options. From here on the life of the process is bounded: it ends with its parent and
    /// after `--max-secs`, and with `--until-eof 1` when its input ends.
    pub fn from_args() -> Result<(String, Self), String> {
        let mut args = std::env::args().skip(1);
        let command = args.next().ok_or("a command is missing")?;
        let options = Self::parse(args)?;
        let most = Duration::from_secs(options.get("max-secs", 120)?);
        if options.get("until-eof", 0)? == 1 {
            thread::spawn(end_with_input);
            thread::spawn(move || end_after(most));
        } else {
            thread::spawn(move || end_with_parent(most));
        }
        Ok((command, options))
    }

    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = HashMap::new();
        while let Some(name) = args.next() {
            let name = name.strip_prefix("--").ok_or_else(|| format!("unexpected argument {name}"))?;
            let value = args.next().ok_or_else(|| format!("--{name} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// Returns the value of an option. If the option is given twice, the second value counts.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("--{name} {value}: not understood")),
        }
    }
}

/// Ends the process when its parent has ended, or after `most`.
fn end_with_parent(most: Duration) {
    let (parent, began) = (std::os::unix::process::parent_id(), Instant::now());
    while std::os::unix::process::parent_id() == parent && began.elapsed() < most {
        thread::sleep(Duration::from_secs(1).min(most));
    }
    exit(1);
}

/// Ends the process after `most`. It sleeps only once, because some measurements count how often the process wakes.
fn end_after(most: Duration) {
    thread::sleep(most);
    exit(1);
}

/// Ends the process when its input ends, with success, so that a program that counts around it prints its count.
fn end_with_input() {
    let mut input = io::stdin();
    while matches!(input.read(&mut [0; 64]), Ok(1..)) {}
    exit(0);
}

/// Returns the processors that this thread may use.
pub fn allowed_processors() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor)).collect()
}

/// Restricts this thread, and those that it starts later, to these processors.
pub fn restrict_to(processors: &[usize]) -> io::Result<()> {
    let mut allowed = CpuSet::new();
    processors.iter().for_each(|&processor| allowed.set(processor));
    Ok(sched_setaffinity(None, &allowed)?)
}

/// Returns the resident memory of this process in bytes, or zero if it is not known.
pub fn resident_bytes() -> u64 {
    // On the stack: a block of the heap would lie behind the tasks that are measured, and the allocator would keep their memory.
    let mut text = [0; 128];
    let read = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    let text = str::from_utf8(&text[..read]).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * procfs::page_size()
}

/// The costs of a process so far, summed over its living threads.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// The time on a processor.
    pub processor: Duration,
    /// The number of times that a thread gave its processor up or lost it.
    pub switches: u64,
}

impl Usage {
    /// Returns the costs of this process.
    pub fn of_this_process() -> Self {
        Self::read(Process::myself()).unwrap_or_default()
    }

    /// Returns the costs of a process by its ID, or zero if they are not known.
    pub fn of(id: i32) -> Self {
        Self::read(Process::new(id)).unwrap_or_default()
    }

    fn read(process: ProcResult<Process>) -> ProcResult<Self> {
        let mut usage = Self::default();
        // A thread that ends meanwhile cannot be read and does not count.
        for task in process?.tasks()?.flatten() {
            if let (Ok(times), Ok(status)) = (task.schedstat(), task.status()) {
                usage.processor += Duration::from_nanos(times.sum_exec_runtime);
                usage.switches += status.voluntary_ctxt_switches.unwrap_or(0);
                usage.switches += status.nonvoluntary_ctxt_switches.unwrap_or(0);
            }
        }
        Ok(usage)
    }

    /// Returns the costs since `before`. Those of a thread that has ended since are missing.
    pub fn since(self, before: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(before.processor),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}
