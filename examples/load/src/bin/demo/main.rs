//! An echo server under a verified load: `cargo xtask demo`, or `demo --help` for the options.
//!
//! This process is the server (`server.rs`). It starts itself a second time as the client, which makes the load and
//! compares every byte that comes back (`client.rs`).

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use lexopt::{Arg, Parser};
use netpoll_load::{default_workers, number, value};

const USAGE: &str = "\
An echo server and a client that checks every byte which comes back.

  --conns N      connections, 1 to 60000 (default 1000)
  --workers N    worker threads of the server and of the client, 1 to 256 (default: one for each CPU)
  --seconds N    how long the load lasts once all are connected, 1 to 86400 (default 5)
  --addr A       where the server listens (default 127.0.0.1:0, a free port)
  --spoil HOW    the server makes one mistake, to see it found: flip a bit, lose bytes, or end a connection
";

/// A mistake that the server makes on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoil {
    Flip,
    Lose,
    End,
}

struct Options {
    is_client: bool,
    conns: usize,
    workers: usize,
    seconds: u64,
    addr: SocketAddr,
    spoil: Option<Spoil>,
}

fn main() -> ExitCode {
    netpoll_load::main("demo", USAGE, parse, |options| {
        if options.is_client { client::run(options) } else { server::run(options) }
    })
}

fn parse(mut parser: Parser) -> Result<Option<Options>, lexopt::Error> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let workers = default_workers();
    let mut options = Options { is_client: false, conns: 1000, workers, seconds: 5, addr, spoil: None };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(word) if word == "client" => options.is_client = true,
            Arg::Long("conns") => options.conns = number(&mut parser, "conns", 1..=60_000)? as usize,
            Arg::Long("workers") => options.workers = number(&mut parser, "workers", 1..=256)? as usize,
            Arg::Long("seconds") => options.seconds = number(&mut parser, "seconds", 1..=86_400)?,
            Arg::Long("addr") => options.addr = value(&mut parser, "addr", str::parse)?,
            Arg::Long("spoil") => options.spoil = Some(value(&mut parser, "spoil", spoil)?),
            arg => return Err(arg.unexpected()),
        }
    }
    Ok(Some(options))
}

fn spoil(text: &str) -> Result<Spoil, &'static str> {
    match text {
        "flip" => Ok(Spoil::Flip),
        "lose" => Ok(Spoil::Lose),
        "end" => Ok(Spoil::End),
        _ => Err("must be flip, lose or end"),
    }
}
