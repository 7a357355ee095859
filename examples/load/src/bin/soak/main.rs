//! A long run of everything that can go wrong on a connection at once: `cargo xtask soak`, or `soak --help`.
//!
//! Thousands of connections have a deadline on every read, are closed at random, and have reads cancelled at random.
//! Every byte is compared. In both processes a watchdog compares the parked tasks with the result of poll(2) for their
//! descriptors. At the end the process must hold as many descriptors, slots, tasks and timers as before, and as much
//! memory as early in the run.
//!
//! This process is the server (`server.rs`). It starts itself a second time as the client (`client.rs`), whose
//! connections are described in `connection.rs`.

mod client;
mod connection;
mod limits;
mod report;
mod server;
mod tally;
mod usage;
mod watchdog;
mod work;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::{Arg, Parser};
use netpoll_load::{Failure, default_workers, number, raise_descriptor_limit, value};

const USAGE: &str = "\
A long run under deadlines, random closes and cancelled reads, with a watchdog for lost wakeups.

  --minutes N    how long it lasts once all are connected, 1 to 10080 (default 10)
  --seconds N    the same in seconds, for a short one
  --conns N      connections at a time, 1 to 60000 (default 9000)
  --workers N    worker threads of the server and of the client, 1 to 256 (default: one for each CPU)
  --pause MS     the longest pause of a connection between two messages, 1 to 60000 (default 2000)
  --limits       both processes lower and raise their limits of descriptors and threads meanwhile: to reach a limit is
                 no fault, and each connection also reads a file, looks a name up and runs a closure; as the superuser,
                 which the kernel does not limit, the soak goes on as another user
  --spoil HOW    the server makes one mistake, to see it found: flip a bit; deaf: the kernel is told to forget a
                 descriptor that a task waits for, a lost wakeup; leak: a connection is never closed

Each of the two processes needs a descriptor for each connection and about 50 more: see `ulimit -Hn`. Each connection
sends as soon as it has paused, so a shorter pause is more load.
";

/// A mistake that the server makes on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoil {
    Flip,
    Deaf,
    Leak,
}

struct Options {
    is_client: bool,
    conns: usize,
    workers: usize,
    length: Duration,
    pause: Duration,
    /// The addresses that the client connects to.
    addrs: Vec<SocketAddr>,
    spoil: Option<Spoil>,
    limits: bool,
}

fn main() -> ExitCode {
    netpoll_load::main("soak", USAGE, parse, run)
}

fn run(options: &Options) -> Result<(), Failure> {
    if options.limits && !options.is_client {
        limits::leave_superuser().map_err(Failure::Refused)?;
    }
    raise_descriptor_limit();
    if options.is_client { client::run(options) } else { server::run(options) }
}

fn parse(mut parser: Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        is_client: false,
        conns: 9000,
        workers: default_workers(),
        length: Duration::from_secs(600),
        pause: Duration::from_millis(2000),
        addrs: Vec::new(),
        spoil: None,
        limits: false,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(word) if word == "client" => options.is_client = true,
            Arg::Long("minutes") => {
                options.length = Duration::from_secs(60 * number(&mut parser, "minutes", 1..=10_080)?);
            }
            Arg::Long("seconds") => {
                options.length = Duration::from_secs(number(&mut parser, "seconds", 1..=604_800)?)
            }
            Arg::Long("conns") => options.conns = number(&mut parser, "conns", 1..=60_000)? as usize,
            Arg::Long("workers") => options.workers = number(&mut parser, "workers", 1..=256)? as usize,
            Arg::Long("pause") => {
                options.pause = Duration::from_millis(number(&mut parser, "pause", 1..=60_000)?)
            }
            Arg::Long("addr") => options.addrs.push(value(&mut parser, "addr", str::parse)?),
            Arg::Long("spoil") => options.spoil = Some(value(&mut parser, "spoil", spoil)?),
            Arg::Long("limits") => options.limits = true,
            arg => return Err(arg.unexpected()),
        }
    }
    Ok(Some(options))
}

fn spoil(text: &str) -> Result<Spoil, &'static str> {
    match text {
        "flip" => Ok(Spoil::Flip),
        "deaf" => Ok(Spoil::Deaf),
        "leak" => Ok(Spoil::Leak),
        _ => Err("must be flip, deaf or leak"),
    }
}
