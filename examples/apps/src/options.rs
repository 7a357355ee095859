//! The arguments of all programs of this package.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

/// An error of any of the libraries.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub const HELP: &str = "cargo xtask bench apps [WORD]... [--rounds N] [--secs N] [--workers N] [--peers A,B]
  without a word all cases, else those whose names hold one of the words
  --rounds N     rounds in which every peer runs once, in turn (default 3)
  --secs N       seconds of a load (default 1); the pages are loaded so many times in a round, for 1 or 3 seconds each
  --workers N    workers of each server (default 2)
  --peers A,B    only these of netpoll, tokio, go, nginx, haproxy, redis
  --instructions user instructions of a request, on one thread under callgrind, in place of CPU time
  --list         the cases
cargo xtask app [--rounds N] [--secs N] [--workers N] [--database URL] [--only WORD]
";

/// A program that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    /// The pages.
    Http { tls: bool, h2: bool },
    /// A table in memory.
    Resp,
    /// A TCP proxy.
    Relay,
    /// A name server, one datagram for each call.
    Dns,
    /// The same by the runtime's calls for many datagrams.
    DnsMany,
}

impl App {
    /// All programs with their names.
    pub const ALL: &[(&str, Self)] = &[
        ("http1", Self::Http { tls: false, h2: false }),
        ("http2", Self::Http { tls: false, h2: true }),
        ("tls1", Self::Http { tls: true, h2: false }),
        ("tls2", Self::Http { tls: true, h2: true }),
        ("resp", Self::Resp),
        ("relay", Self::Relay),
        ("dns", Self::Dns),
        ("dns-many", Self::DnsMany),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, app)| *app == self).map_or("", |(name, _)| name)
    }
}

#[derive(Clone)]
pub struct Options {
    pub words: Vec<String>,
    pub rounds: usize,
    pub secs: u64,
    pub workers: usize,
    pub peers: Vec<String>,
    pub help: bool,
    pub list: bool,
    pub instructions: bool,
    /// The folder of the programs of `examples/bench` that make the load of small messages.
    pub tools: Option<PathBuf>,
    /// The folder of the certificate, the large page and the configurations.
    pub folder: PathBuf,
    /// The port of a server, on the loopback.
    pub port: u16,
    /// The target of a proxy.
    pub target: SocketAddr,
    pub tls: bool,
    pub large: bool,
    pub connections: usize,
    pub requests: usize,
    pub database: Option<String>,
    pub only: String,
}

impl Options {
    pub fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self {
            words: Vec::new(),
            rounds: 3,
            secs: 1,
            workers: 2,
            peers: Vec::new(),
            help: false,
            list: false,
            instructions: false,
            tools: None,
            folder: std::env::temp_dir().join(format!("netpoll-apps-{}", std::process::id())),
            port: 0,
            target: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: false,
            large: false,
            connections: 64,
            requests: 10_000,
            database: None,
            only: String::new(),
        };
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long(name) => {
                    let name = name.to_owned();
                    options.take(&name, &mut parser)?;
                }
                Arg::Value(word) => options.words.push(word.string()?),
                arg @ Arg::Short(_) => return Err(arg.unexpected()),
            }
        }
        if options.rounds == 0
            || options.workers == 0
            || options.connections == 0
            || !(1..=30).contains(&options.secs)
        {
            return Err("at least one round, worker and connection is needed, and 1 to 30 seconds".into());
        }
        Ok(options)
    }

    /// Returns whether the words choose the case of this name.
    pub fn chooses(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    /// Returns the same options for a proxy with this target.
    pub fn with_target(&self, target: SocketAddr) -> Self {
        Self { target, ..self.clone() }
    }

    /// Returns the same options for a server with this number of workers.
    pub fn with_workers(&self, workers: usize) -> Self {
        Self { workers, ..self.clone() }
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), lexopt::Error> {
        match name {
            "help" => self.help = true,
            "list" => self.list = true,
            "instructions" => self.instructions = true,
            "tls" => self.tls = true,
            "large" => self.large = true,
            "rounds" => self.rounds = parser.value()?.parse()?,
            "secs" => self.secs = parser.value()?.parse()?,
            "workers" => self.workers = parser.value()?.parse()?,
            "peers" => self.peers = parser.value()?.string()?.split(',').map(str::to_owned).collect(),
            "tools" => self.tools = Some(parser.value()?.into()),
            "folder" => self.folder = parser.value()?.into(),
            "port" => self.port = parser.value()?.parse()?,
            "target" => self.target = parser.value()?.parse()?,
            "connections" => self.connections = parser.value()?.parse()?,
            "requests" => self.requests = parser.value()?.parse()?,
            "database" => self.database = Some(parser.value()?.string()?),
            "only" => self.only = parser.value()?.string()?,
            other => return Err(format!("invalid option '--{other}'").into()),
        }
        Ok(())
    }
}
