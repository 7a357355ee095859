//! The command line, and how long the process may live.

use std::collections::HashMap;
use std::io::Read;
use std::process::exit;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// The options as they were given: a name without its dashes, and a value each.
pub struct Options(HashMap<String, String>);

impl Options {
    /// The word of the command and what follows it. From here on the life of the process is bounded.
    pub fn from_args() -> Result<(String, Self), String> {
        let mut args = std::env::args().skip(1);
        let command = args.next().ok_or("which command?")?;
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

/// Sleeps once, since a measurement counts how often a process wakes.
fn end_after(most: Duration) {
    thread::sleep(most);
    exit(1);
}

/// Ends the process as if its work were done: under a program that counts something, the count is printed then.
fn end_with_input() {
    let mut input = std::io::stdin();
    while matches!(input.read(&mut [0; 64]), Ok(1..)) {}
    exit(0);
}
