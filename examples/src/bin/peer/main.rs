//! This runtime as a peer of a benchmark that compares several: an echo server, and small measurements that print a
//! line of JSON each.
//!
//! ```text
//! peer echo  --addr 127.0.0.1:0 --threads N [--deadline MS] [--buf eager|lazy] [--max-secs S]
//! peer micro --bench NAME [--n N] [--samples K] [--us MICROSECONDS] [--max-secs S]
//! ```
//!
//! With `--threads 1` everything runs on one thread. The process ends with its parent and after `--max-secs`.

mod echo;
mod micro;
mod multi;
mod report;
mod sync;
mod timers;

use std::collections::HashMap;
use std::process::{ExitCode, exit};
use std::str::FromStr;
use std::time::{Duration, Instant};

use netpoll_rt::Runtime;

/// The options as they were given: a name without its dashes, and a value each.
struct Options(HashMap<String, String>);

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = HashMap::new();
        while let Some(name) = args.next() {
            let name = name.strip_prefix("--").ok_or_else(|| format!("unexpected argument {name}"))?;
            let value = args.next().ok_or_else(|| format!("--{name} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("--{name} {value}: not understood")),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("peer: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let command = args.next().ok_or("which of `echo` and `micro`?")?;
    let options = Options::parse(args)?;
    let most = Duration::from_secs(options.get("max-secs", 120)?);
    std::thread::spawn(move || bound_lifetime(most));
    match command.as_str() {
        "echo" => echo::run(&options),
        "micro" => micro::run(&options),
        _ => Err(format!("there is no command `{command}`")),
    }
}

/// Ends the process when its parent has ended, or after `most`.
fn bound_lifetime(most: Duration) {
    let (parent, began) = (std::os::unix::process::parent_id(), Instant::now());
    while std::os::unix::process::parent_id() == parent && began.elapsed() < most {
        std::thread::sleep(Duration::from_secs(1).min(most));
    }
    exit(1);
}

/// A runtime with so many workers; with 1 it has no thread of its own.
fn runtime(threads: usize) -> Result<Runtime, String> {
    Runtime::builder().workers(threads).build().map_err(|error| error.to_string())
}
