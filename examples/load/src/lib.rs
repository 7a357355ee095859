//! The parts that the demo, the soak and the chaos share: the program around the work, the messages, and the second
//! process that makes the load.

mod client;
mod message;

pub use client::{Client, Figures, Line, end_with_parent, figure, give_up};
pub use message::{BUFFER, LONGEST_MESSAGE, MessagePool};

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::process::ExitCode;

use lexopt::{Parser, ValueExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The reason why a program ended without success.
pub enum Failure {
    /// The program could not begin: a wrong option, a port in use, too few descriptors. Exit code 2.
    Refused(String),
    /// The program ran and found a fault. Exit code 1.
    Broken(String),
}

/// Runs a program: parses its options, does its work and reports a failure. `parse` returns `None` for `--help`.
pub fn main<O>(
    name: &str,
    usage: &str,
    parse: impl FnOnce(Parser) -> Result<Option<O>, lexopt::Error>,
    run: impl FnOnce(&O) -> Result<(), Failure>,
) -> ExitCode {
    let outcome = match parse(Parser::from_env()) {
        Ok(None) => {
            print!("{usage}");
            Ok(())
        }
        Ok(Some(options)) => run(&options),
        Err(error) => Err(Failure::Refused(format!("{error}; `--help` lists the options"))),
    };
    let (reason, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(reason)) => (reason, 2),
        Err(Failure::Broken(reason)) => (reason, 1),
    };
    eprintln!("{name}: {reason}");
    ExitCode::from(code)
}

/// Reads the value of the option `name`, which was parsed last.
pub fn value<T, E: Display>(
    parser: &mut Parser,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, lexopt::Error> {
    let value = parser.value()?.string()?;
    parse(&value).map_err(|error| format!("--{name} {value}: {error}").into())
}

/// Reads the value of the option `name`, which was parsed last, as a number within `range`.
pub fn number(parser: &mut Parser, name: &str, range: RangeInclusive<u64>) -> Result<u64, lexopt::Error> {
    value(parser, name, |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
    })
}

/// Returns the number of workers that a runtime gets if no option says otherwise: one for each CPU.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(256))
}

/// Raises this process's limit of descriptors to the highest value that the system allows, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let limit = if raised.is_ok() { limit.maximum } else { limit.current };
    limit.unwrap_or(u64::MAX)
}

/// Formats `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
