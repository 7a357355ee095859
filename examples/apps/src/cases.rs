//! The cases: a program, its load, and the check of its bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::options::{App, BoxError, Options};
use crate::process::Server;
use crate::{dns, pages, tools};

/// The load of a case.
#[derive(Clone, Copy)]
pub enum Load {
    /// Requests of a page over this number of connections.
    Pages { connections: usize, large: bool },
    /// This command, with this number of commands in flight on each connection.
    Table { command: &'static str, pipeline: usize },
    /// A stream through the proxy.
    Stream,
    /// Messages of this size through the proxy.
    Messages(usize),
    /// Queries of a name.
    Queries,
}

/// A row of the table.
pub struct Case {
    pub name: String,
    pub app: App,
    pub load: Load,
}

/// The time in which an answer to the check must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The commands of a load of one second: about as many as a server answers in it.
const COMMANDS: u64 = 60_000;

/// Returns the requests of HTTP/2 in a load of one second.
fn requests(large: bool) -> u64 {
    if large { 20_000 } else { 100_000 }
}

/// Returns all cases.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, app) in App::ALL.iter().filter(|(_, app)| matches!(app, App::Http { .. })) {
        for (connections, large) in [(64, false), (64, true), (1000, false)] {
            let size = if large { "100k" } else { "13b" };
            let name = format!("{name}-{size}-{connections}");
            cases.push(Case { name, app, load: Load::Pages { connections, large } });
        }
    }
    for (command, pipeline) in [("set", 1), ("get", 1), ("get", 16)] {
        let name = format!("resp-{command}-{pipeline}");
        cases.push(Case { name, app: App::Resp, load: Load::Table { command, pipeline } });
    }
    cases.push(Case { name: "relay-stream".to_owned(), app: App::Relay, load: Load::Stream });
    for size in [64, 4096] {
        cases.push(Case { name: format!("relay-{size}b"), app: App::Relay, load: Load::Messages(size) });
    }
    for app in [App::Dns, App::DnsMany] {
        cases.push(Case { name: app.name().to_owned(), app, load: Load::Queries });
    }
    cases
}

impl Load {
    /// Returns the operation that is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Pages { .. } => "request",
            Self::Table { .. } => "command",
            Self::Stream => "GiB",
            Self::Messages(_) => "message",
            Self::Queries => "query",
        }
    }

    /// Returns the number of connections, as far as the load says it.
    pub fn connections(self) -> f64 {
        match self {
            Self::Pages { connections, .. } => connections as f64,
            _ => 0.0,
        }
    }

    /// Returns the plural of that.
    pub fn units(self) -> &'static str {
        match self {
            Self::Pages { .. } => "requests",
            Self::Table { .. } => "commands",
            Self::Stream => "GiB",
            Self::Messages(_) => "messages",
            Self::Queries => "queries",
        }
    }
}

impl Case {
    /// Returns the programs that the load needs.
    pub fn tools(&self) -> &'static [&'static str] {
        match (self.load, self.app) {
            (Load::Pages { .. }, App::Http { h2: true, .. }) => &["h2load", "curl"],
            (Load::Pages { .. }, _) => &["wrk", "curl"],
            (Load::Table { .. }, _) => &["redis-benchmark"],
            (Load::Stream, _) => &["iperf3"],
            (Load::Messages(_), _) => &[],
            (Load::Queries, _) => &["dnsperf"],
        }
    }

    /// Returns the length of one load of the pages, in seconds. With TLS and many connections a short one consists of handshakes.
    pub fn slice(&self) -> u64 {
        match (self.app, self.load) {
            (App::Http { tls: true, .. }, Load::Pages { connections: 1000.., .. }) => 3,
            _ => 1,
        }
    }

    /// Loads a server; returns the number of operations and the seconds that they took.
    pub fn load(&self, server: &Server, seconds: u64, options: &Options) -> Result<(f64, f64), BoxError> {
        let (port, began) = (server.port, Instant::now());
        let count = match (self.load, self.app) {
            (Load::Pages { connections, large }, App::Http { tls, h2 }) => {
                let url = url(tls, port, large);
                match h2 {
                    true => tools::h2load(&url, connections, seconds * requests(large), &[])?,
                    false => tools::wrk(&url, connections, seconds)?,
                }
            }
            (Load::Table { command, pipeline }, _) => {
                let count = COMMANDS * seconds * if pipeline > 1 { 8 } else { 1 };
                tools::redis(port, command, pipeline, count)?
            }
            (Load::Stream, _) => tools::iperf3(port, seconds)?,
            (Load::Messages(size), _) => tools::messages(tools_folder(options)?, port, seconds, size)?,
            (Load::Queries, _) => tools::dnsperf(&options.folder, port, seconds)?,
            (Load::Pages { .. }, _) => return Err("a program without pages".into()),
        };
        Ok((count, began.elapsed().as_secs_f64()))
    }

    /// Compares an answer of the server after its load, byte for byte. A stream through a proxy has no answer: its target only
    /// counts, and the caller relays messages to an echo.
    pub fn check(&self, server: &Server) -> Result<(), BoxError> {
        match (self.load, self.app) {
            (Load::Pages { large, .. }, App::Http { tls, h2 }) => {
                let mut command = Command::new("curl");
                command.args(["-sk", "--max-time", "10"]).arg(match (tls, h2) {
                    (_, false) => "--http1.1",
                    (false, true) => "--http2-prior-knowledge",
                    (true, true) => "--http2",
                });
                let output = command.arg(url(tls, server.port, large)).output()?;
                same(&output.stdout, &pages::bytes(large))
            }
            (Load::Table { .. }, _) => check_table(server.port),
            (Load::Queries, _) => check_queries(server.port),
            // The load compares every byte itself.
            (Load::Messages(_) | Load::Stream | Load::Pages { .. }, _) => Ok(()),
        }
    }
}

pub fn tools_folder(options: &Options) -> Result<&Path, BoxError> {
    Ok(options.tools.as_deref().ok_or("needs --tools, which `cargo xtask bench apps` gives")?)
}

fn url(tls: bool, port: u16, large: bool) -> String {
    format!("{}://127.0.0.1:{port}{}", if tls { "https" } else { "http" }, pages::path(large))
}

fn same(found: &[u8], expected: &[u8]) -> Result<(), BoxError> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{} bytes that are not the {} expected", found.len(), expected.len()).into()),
    }
}

/// Stores a value and reads it again.
fn check_table(port: u16) -> Result<(), BoxError> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let value = pages::large();
    let length = value.len();
    let commands = [
        format!("*3\r\n$3\r\nSET\r\n$5\r\ncheck\r\n${length}\r\n").into_bytes(),
        value.clone(),
        b"\r\n*2\r\n$3\r\nGET\r\n$5\r\ncheck\r\n".to_vec(),
    ];
    stream.write_all(&commands.concat())?;
    let expected = [format!("+OK\r\n${length}\r\n").into_bytes(), value, b"\r\n".to_vec()].concat();
    let mut found = vec![0; expected.len()];
    stream.read_exact(&mut found)?;
    same(&found, &expected)
}

/// Asks a question with each of some numbers.
fn check_queries(port: u16) -> Result<(), BoxError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    for id in [1, 0x1234, u16::MAX] {
        let query = dns::query(id);
        socket.send(&query)?;
        let mut found = [0; dns::MOST];
        let n = socket.recv(&mut found)?;
        let found = &found[..n];
        // The bits of the header that a server may choose are left out, and so is the time to live.
        let has_address =
            found.ends_with(&[0, 4, 192, 0, 2, 1]) && found[3] & 0xf == 0 && found[6..8] == [0, 1];
        if found[..2] != query[..2] || found[12..query.len()] != query[12..] || !has_address {
            return Err(format!("a wrong answer to a query: {found:x?}").into());
        }
    }
    Ok(())
}
