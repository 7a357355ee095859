//! The command line, and whether this machine has room for what it asks.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

pub const USAGE: &str = "\
An echo server and a client that checks every byte which comes back.

  --conns N      connections, 1 to 60000 (default 1000)
  --workers N    worker threads of the server and of the client, 1 to 256 (default: one for each CPU)
  --seconds N    how long the load lasts once all are connected, 1 to 86400 (default 5)
  --addr A       where the server listens (default 127.0.0.1:0, a free port)
  --spoil HOW    the server makes one mistake, to see it found: flip a bit, lose bytes, or end a connection
";

/// Descriptors that each process needs beside its connections: standard streams, poller, listener, pipes.
const OTHER_DESCRIPTORS: usize = 32;

/// The mistake that the server makes on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    Flip,
    Lose,
    End,
}

#[derive(Clone)]
pub struct Options {
    pub conns: usize,
    pub workers: usize,
    pub seconds: u64,
    pub addr: SocketAddr,
    pub spoil: Option<Spoil>,
}

pub enum Role {
    Help,
    Server(Options),
    Client(Options),
}

/// Reads the arguments; an error is a sentence about the one that is wrong.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Role, String> {
    let mut args = args.peekable();
    let is_client = args.next_if(|arg| arg == "client").is_some();
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get().min(256));
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut options = Options { conns: 1000, workers: cpus, seconds: 5, addr, spoil: None };
    while let Some(name) = args.next() {
        if name == "--help" || name == "-h" {
            return Ok(Role::Help);
        }
        if !["--conns", "--workers", "--seconds", "--addr", "--spoil"].contains(&name.as_str()) {
            return Err(format!("there is no option `{name}`"));
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--conns" => options.conns = number(&name, &value, 1..=60_000)? as usize,
            "--workers" => options.workers = number(&name, &value, 1..=256)? as usize,
            "--seconds" => options.seconds = number(&name, &value, 1..=86_400)?,
            "--addr" => options.addr = address(&value)?,
            _ => options.spoil = Some(spoil(&value)?),
        }
    }
    Ok(if is_client { Role::Client(options) } else { Role::Server(options) })
}

fn number(name: &str, value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let parsed = value.parse().ok().filter(|n| range.contains(n));
    parsed
        .ok_or_else(|| format!("{name} {value}: must be a number from {} to {}", range.start(), range.end()))
}

fn address(value: &str) -> Result<SocketAddr, String> {
    value
        .parse()
        .map_err(|_| format!("--addr {value}: must be an address and a port, such as 127.0.0.1:7000"))
}

fn spoil(value: &str) -> Result<Spoil, String> {
    match value {
        "flip" => Ok(Spoil::Flip),
        "lose" => Ok(Spoil::Lose),
        "end" => Ok(Spoil::End),
        _ => Err(format!("--spoil {value}: must be flip, lose or end")),
    }
}

/// Whether each of the two processes may open descriptors enough. Where `/proc` is missing nobody can tell, and the
/// kernel will.
pub fn check_descriptors(conns: usize) -> Result<(), String> {
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else { return Ok(()) };
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let mut numbers = line.unwrap_or_default().split_whitespace();
    // "unlimited" is not a number, and no limit.
    let mut limit = || numbers.next().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let (soft, hard) = (limit(), limit());
    let needed = conns + OTHER_DESCRIPTORS;
    if needed <= soft {
        Ok(())
    } else if needed <= hard {
        Err(format!(
            "{conns} connections need {needed} descriptors, and the limit is {soft}: run `ulimit -n {needed}` first"
        ))
    } else {
        Err(format!(
            "{conns} connections need {needed} descriptors, and this system allows {hard} at most (`ulimit -Hn`): \
             ask for {} connections or fewer",
            hard.saturating_sub(OTHER_DESCRIPTORS)
        ))
    }
}
