//! The command line.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

pub const USAGE: &str = "\
A long run under deadlines, random closes and cancelled reads, with a watchdog for lost wakeups.

  --minutes N    how long it lasts once all are connected, 1 to 10080 (default 10)
  --seconds N    the same in seconds, for a short one
  --conns N      connections at a time, 1 to 60000 (default 9000)
  --workers N    worker threads of the server and of the client, 1 to 256 (default: one for each CPU)
  --pause MS     the longest pause of a connection between two messages, 1 to 60000 (default 2000)
  --limits       the limits of descriptors and of threads change meanwhile (`cargo xtask soak --limits` changes them):
                 to have none is no fault, and each connection also reads a file, looks a name up, runs a closure
  --spoil HOW    the server makes one mistake, to see it found: flip a bit; deaf: the kernel is told to forget a
                 descriptor that a task waits for, a lost wakeup; leak: a connection is never closed

Each of the two processes needs a descriptor for each connection and about 50 more: see `ulimit -n`. Each connection
sends as soon as it has paused, so a shorter pause is more load.
";

/// The mistake that the server makes on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    Flip,
    Deaf,
    Leak,
}

#[derive(Clone)]
pub struct Options {
    pub conns: usize,
    pub workers: usize,
    pub length: Duration,
    pub pause: Duration,
    /// Where the server listens; the client is told.
    pub addrs: Vec<SocketAddr>,
    pub spoil: Option<Spoil>,
    pub limits: bool,
}

pub enum Role {
    Help,
    Server(Options),
    Client(Options),
}

const NAMES: &[&str] = &["--minutes", "--seconds", "--conns", "--workers", "--pause", "--spoil", "--addrs"];

/// Reads the arguments; an error is a sentence about the one that is wrong.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Role, String> {
    let mut args = args.peekable();
    let is_client = args.next_if(|arg| arg == "client").is_some();
    let mut options = Options {
        conns: 9000,
        workers: std::thread::available_parallelism().map_or(1, |n| n.get().min(256)),
        length: Duration::from_secs(600),
        pause: Duration::from_millis(2000),
        addrs: Vec::new(),
        spoil: None,
        limits: false,
    };
    while let Some(name) = args.next() {
        if name == "--help" || name == "-h" {
            return Ok(Role::Help);
        }
        if name == "--limits" {
            options.limits = true;
            continue;
        }
        if !NAMES.contains(&name.as_str()) {
            return Err(format!("there is no option `{name}`"));
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = |range| number(&name, &value, range);
        match name.as_str() {
            "--minutes" => options.length = Duration::from_secs(60 * number(1..=10_080)?),
            "--seconds" => options.length = Duration::from_secs(number(1..=604_800)?),
            "--conns" => options.conns = number(1..=60_000)? as usize,
            "--workers" => options.workers = number(1..=256)? as usize,
            "--pause" => options.pause = Duration::from_millis(number(1..=60_000)?),
            "--addrs" => options.addrs = addresses(&value)?,
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

fn addresses(value: &str) -> Result<Vec<SocketAddr>, String> {
    let parsed: Result<_, _> = value.split(',').map(str::parse).collect();
    parsed.map_err(|_| format!("--addrs {value}: must be addresses with ports, with commas between"))
}

fn spoil(value: &str) -> Result<Spoil, String> {
    match value {
        "flip" => Ok(Spoil::Flip),
        "deaf" => Ok(Spoil::Deaf),
        "leak" => Ok(Spoil::Leak),
        _ => Err(format!("--spoil {value}: must be flip, deaf or leak")),
    }
}
