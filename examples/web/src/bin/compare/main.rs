//! The same hyper on netpoll and on tokio: CPU time of a request, and memory of an idle connection.
//!
//! `cargo run --release --bin compare` starts a server of each runtime in turn, as a program of its own, loads it with wrk
//! or h2load, and reads its CPU time from the kernel. The client is measured in the same way against one server. The rounds are interleaved,
//! so that other work of the machine affects both alike. The last column is the ratio of the medians.
//!
//! `--instructions` runs the servers on one thread under callgrind, and prints the user instructions of a request.

mod client;
mod instructions;
mod measure;
mod server;

use std::process::ExitCode;

use lexopt::{Arg, ValueExt};
use netpoll_web::BoxError;

const USAGE: &str = "compare [--rounds N] [--secs N] [--workers N]\n\
    compare --instructions [--rounds N]\n\
    compare serve RUNTIME [--tls] [--h2] [--workers N]\n\
    compare ask RUNTIME --port N --connections N --size N --requests N [--trust CERTIFICATE] [--workers N]";

/// The runtime of a program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The runtime of this project.
    Netpoll,
    /// The runtime of tokio.
    Tokio,
}

impl Peer {
    /// Both, in the order of the columns.
    pub const ALL: [Self; 2] = [Self::Netpoll, Self::Tokio];

    /// Returns the name in the arguments and the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Netpoll => "netpoll",
            Self::Tokio => "tokio",
        }
    }
}

/// The arguments of all three programs.
#[derive(Debug)]
pub struct Options {
    /// The number of times that each case is measured.
    pub rounds: usize,
    /// The time of one load, in seconds.
    pub secs: u64,
    /// True if instructions are counted instead of CPU time.
    pub instructions: bool,
    /// The number of workers; one is a runtime of one thread.
    pub workers: usize,
    /// True if the server has TLS.
    pub tls: bool,
    /// True if the server has HTTP/2.
    pub h2: bool,
    /// The port of the server, on the loopback.
    pub port: u16,
    /// The number of connections of the client.
    pub connections: usize,
    /// The size of a response.
    pub size: usize,
    /// The number of requests.
    pub requests: usize,
    /// The certificate of the server, in hexadecimal digits.
    pub trust: Option<String>,
}

fn main() -> Result<ExitCode, BoxError> {
    let mut options = Options {
        rounds: 5,
        secs: 2,
        instructions: false,
        workers: 2,
        tls: false,
        h2: false,
        port: 0,
        connections: 64,
        size: 13,
        requests: 10_000,
        trust: None,
    };
    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(word) => words.push(word.string()?),
            Arg::Long("rounds") => options.rounds = parser.value()?.parse()?,
            Arg::Long("secs") => options.secs = parser.value()?.parse()?,
            Arg::Long("instructions") => options.instructions = true,
            Arg::Long("workers") => options.workers = parser.value()?.parse()?,
            Arg::Long("tls") => options.tls = true,
            Arg::Long("h2") => options.h2 = true,
            Arg::Long("port") => options.port = parser.value()?.parse()?,
            Arg::Long("connections") => options.connections = parser.value()?.parse()?,
            Arg::Long("size") => options.size = parser.value()?.parse()?,
            Arg::Long("requests") => options.requests = parser.value()?.parse()?,
            Arg::Long("trust") => options.trust = Some(parser.value()?.string()?),
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    let peer = |name: &str| Peer::ALL.into_iter().find(|peer| peer.name() == name).ok_or(USAGE);
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] if options.instructions => instructions::table(Options { workers: 1, ..options })?,
        [] => measure::table(&options)?,
        ["serve", name] => server::run(peer(name)?, &options)?,
        ["ask", name] => client::run(peer(name)?, &options)?,
        _ => return Err(USAGE.into()),
    }
    Ok(ExitCode::SUCCESS)
}
