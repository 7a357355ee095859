//! Programs that count around others.

use std::fs;
use std::path::{Path, PathBuf};

use super::machine::{Counter, Machine};
use super::table::How;

pub const CALLGRIND: [&str; 2] = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// What is counted, by its key.
pub type Counts = Vec<(&'static str, f64)>;

/// One that stands around a program, with a file for its result that goes away with it.
pub struct Around {
    how: How,
    counter: Option<Counter>,
    file: PathBuf,
}

impl Drop for Around {
    fn drop(&mut self) {
        // Where nothing was counted there is no file.
        let _ = fs::remove_file(&self.file);
    }
}

impl Around {
    pub fn new(how: How, machine: &Machine) -> Self {
        let file = std::env::temp_dir().join(format!("netpoll-bench-{}", std::process::id()));
        Self { how, counter: machine.syscalls, file }
    }

    /// The words before the program's own.
    pub fn words(&self) -> Vec<String> {
        let words: &[&str] = match (self.how, self.counter) {
            (How::Timed, _) | (How::Syscalls, None) => &[],
            (How::Instructions, _) => &["valgrind", CALLGRIND[0], CALLGRIND[1]],
            (How::Syscalls, Some(Counter::Perf)) => &[
                "perf",
                "stat",
                "-x",
                ";",
                "-e",
                "raw_syscalls:sys_enter",
                "-e",
                "syscalls:sys_enter_futex",
                "-o",
            ],
            (How::Syscalls, Some(Counter::Strace)) => &["strace", "-c", "-f", "-o"],
        };
        let file = (self.how == How::Syscalls).then(|| self.file.to_string_lossy().into_owned());
        words.iter().map(|&word| word.to_owned()).chain(file).collect()
    }

    /// What was counted by the end; `told` is the program's error output.
    pub fn counts(&self, told: &str) -> Result<Counts, String> {
        if self.how == How::Instructions {
            let count = collected(told).ok_or("callgrind counted nothing")?;
            return Ok(vec![("instructions", count)]);
        }
        let text = read(&self.file)?;
        let found = match self.counter {
            Some(Counter::Perf) => {
                [perf(&text, "raw_syscalls:sys_enter"), perf(&text, "syscalls:sys_enter_futex")]
            }
            _ => [strace(&text, "total"), strace(&text, "futex").or(Some(0.0))],
        };
        match found {
            [Some(all), Some(futex)] => Ok(vec![("syscalls", all), ("futex", futex)]),
            _ => Err("system calls were not counted".to_owned()),
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|e| format!("the file of the counts: {e}"))
}

/// A line of perf: `12345;;NAME;...`.
fn perf(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split(';').nth(2) == Some(name))?;
    line.split(';').next()?.parse().ok()
}

/// A line of strace's table: share, seconds, each, calls, maybe errors, name.
fn strace(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split_whitespace().last() == Some(name))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// What callgrind says at its end.
pub fn collected(told: &str) -> Option<f64> {
    let line = told.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}
