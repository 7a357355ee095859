//! The table: starts the programs, loads them, and reads their CPU time and memory.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};

use netpoll_web::BoxError;

use crate::{Options, Peer};

/// The sizes of a response, in bytes.
pub const SIZES: [usize; 2] = [13, 100 << 10];

/// The numbers of connections.
const CONNECTIONS: [usize; 2] = [64, 1000];

/// The number of requests that a client of HTTP/2 has under way on one connection.
const STREAMS: usize = 10;

/// The time that h2load has to end after its load, in seconds.
const H2LOAD_ENDS: u64 = 60;

/// The number of idle connections whose memory is measured.
const IDLE: usize = 2000;

/// The number of idle connections before those. They also fill what a server allocates once: its pages, the stacks of its
/// threads, the arenas of the allocator.
const FIRST: usize = 1000;

/// The ticks in a second of the times in `/proc`. Linux has fixed it.
const TICKS: f64 = 100.0;

/// The number of requests of the client in one round, by the size of the response.
const REQUESTS: [usize; 2] = [100_000, 20_000];

/// Measures every case and prints a line for each.
pub fn table(options: &Options) -> Result<(), BoxError> {
    println!("{} rounds of {} s, {} workers", options.rounds, options.secs, options.workers);
    println!("| what | TLS | connections | bytes | netpoll | tokio | ratio |\n|---|---|---|---|---|---|---|");
    for tls in [false, true] {
        for connections in CONNECTIONS {
            for (size, requests) in SIZES.into_iter().zip(REQUESTS) {
                let case = format!("{} | {connections} | {size}", if tls { "yes" } else { "no" });
                for (name, h2) in [("server", false), ("server of HTTP/2", true)] {
                    let server = |peer| of_server(peer, (tls, h2), connections, size, options);
                    row(&format!("{name}, µs a request | {case}"), options.rounds, server)?;
                }
                let target = Server::start(Peer::Tokio, (tls, false), options)?;
                let client = |peer| of_client(peer, &target, connections, size, requests, options);
                row(&format!("client, µs a request | {case}"), options.rounds, client)?;
            }
        }
        let case = format!("{} | {IDLE} | 13", if tls { "yes" } else { "no" });
        row(&format!("server, KB an idle connection | {case}"), 1, |peer| of_memory(peer, tls, options))?;
    }
    Ok(())
}

/// Measures both in turn, and prints the medians and their ratio.
pub fn row(
    case: &str,
    rounds: usize,
    mut measure: impl FnMut(Peer) -> Result<f64, BoxError>,
) -> Result<(), BoxError> {
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            // Each is first in every second round.
            let at = (round + turn) % 2;
            figures[at].push(measure(Peer::ALL[at])?);
        }
    }
    let [ours, theirs] = figures.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    });
    println!("| {case} | {ours:.2} | {theirs:.2} | {:.3} |", ours / theirs);
    Ok(())
}

/// A server in a program of its own. It ends when its standard input does.
pub struct Server {
    child: Child,
    _input: Option<ChildStdin>,
    /// The port on the loopback.
    pub port: u16,
    tls: bool,
    trust: String,
}

impl Server {
    fn start(peer: Peer, kind: (bool, bool), options: &Options) -> Result<Self, BoxError> {
        Self::start_by(Command::new(std::env::current_exe()?), peer, kind, options)
    }

    /// Starts a server by a command whose last argument so far is this program.
    pub fn start_by(
        mut command: Command,
        peer: Peer,
        (tls, h2): (bool, bool),
        options: &Options,
    ) -> Result<Self, BoxError> {
        command.args(["serve", peer.name(), "--workers", &options.workers.to_string()]);
        command
            .args(tls.then_some("--tls"))
            .args(h2.then_some("--h2"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let (port, trust) = line.trim().split_once(' ').ok_or("the server told no port")?;
        let (port, trust) = (port.parse()?, trust.to_owned());
        Ok(Self { _input: child.stdin.take(), child, port, tls, trust })
    }

    /// Returns the CPU time of the server so far, in seconds.
    fn seconds(&self) -> Result<f64, BoxError> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the program may have spaces; the fields are counted behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    /// Returns the resident memory of the server, in KB.
    fn memory(&self) -> Result<f64, BoxError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no resident memory")?;
        Ok(line.split_whitespace().nth(1).ok_or("no resident memory")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self._input.take());
        if let Err(error) = self.child.wait() {
            eprintln!("{error}");
        }
    }
}

/// Returns the server's CPU time for a request, in microseconds.
fn of_server(
    peer: Peer,
    (tls, h2): (bool, bool),
    connections: usize,
    size: usize,
    options: &Options,
) -> Result<f64, BoxError> {
    let server = Server::start(peer, (tls, h2), options)?;
    let (scheme, page) = (if tls { "https" } else { "http" }, if size == 13 { "" } else { "large" });
    let url = format!("{scheme}://127.0.0.1:{}/{page}", server.port);
    let load = |seconds: u64| -> Result<f64, BoxError> {
        let requests =
            if h2 { h2load(&url, connections, seconds)? } else { wrk(&url, connections, seconds)? };
        // Handshakes take time: with TLS and many connections a short load may end before the first request.
        if requests < connections as f64 {
            Err("more connections than requests; use --secs".into())
        } else {
            Ok(requests)
        }
    };
    // With TLS and many connections the handshakes alone take seconds.
    let secs = if tls { options.secs * 3 } else { options.secs };
    // The first load opens the pages of the program and fills its caches.
    load(secs)?;
    let before = server.seconds()?;
    let requests = load(secs)?;
    Ok((server.seconds()? - before) * 1e6 / requests)
}

/// Loads a server of HTTP/1 for some seconds; returns the number of requests. An error of any request is an error.
fn wrk(url: &str, connections: usize, seconds: u64) -> Result<f64, BoxError> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--timeout=60s", &format!("-c{connections}"), &format!("-d{seconds}s"), url]);
    let output = String::from_utf8(command.output()?.stdout)?;
    if output.contains("Socket errors") || output.contains("Non-2xx") {
        return Err(output.into());
    }
    let line = output.lines().find(|line| line.contains(" requests in ")).ok_or("wrk sent nothing")?;
    Ok(line.split_whitespace().next().ok_or("wrk sent nothing")?.parse()?)
}

/// As [`wrk`], for a server of HTTP/2. h2load never ends a connection whose handshake takes longer than the load, as it may
/// on a busy machine.
fn h2load(url: &str, connections: usize, seconds: u64) -> Result<f64, BoxError> {
    let mut command = Command::new("timeout");
    command.arg((seconds + H2LOAD_ENDS).to_string());
    command.args([
        "h2load",
        "-t1",
        &format!("-c{connections}"),
        &format!("-m{STREAMS}"),
        &format!("-D{seconds}"),
        url,
    ]);
    let output = command.output()?;
    if output.status.code() == Some(124) {
        return Err(format!("h2load did not end within {H2LOAD_ENDS} s after its load; use --secs").into());
    }
    let output = String::from_utf8(output.stdout)?;
    // `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`
    let line = output.lines().find(|line| line.starts_with("requests: ")).ok_or("h2load sent nothing")?;
    let count = |word: &str| -> Result<f64, BoxError> {
        let (before, _) = line.split_once(word).ok_or_else(|| format!("h2load printed `{line}`"))?;
        Ok(before.trim_end().rsplit(' ').next().unwrap_or_default().parse()?)
    };
    if count(" failed")? + count(" errored")? + count(" timeout")? > 0.0 {
        return Err(output.into());
    }
    count(" succeeded")
}

/// Returns the client's CPU time for a request, in microseconds.
fn of_client(
    peer: Peer,
    server: &Server,
    connections: usize,
    size: usize,
    requests: usize,
    options: &Options,
) -> Result<f64, BoxError> {
    let before = children()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["ask", peer.name(), "--workers", &options.workers.to_string()]);
    command.args(["--port", &server.port.to_string(), "--connections", &connections.to_string()]);
    command.args(["--size", &size.to_string(), "--requests", &requests.to_string()]);
    if server.tls {
        command.args(["--trust", &server.trust]);
    }
    let status = command.status()?;
    if !status.success() {
        return Err(format!("the client failed: {status}").into());
    }
    let asked = requests / connections * connections;
    Ok((children()? - before) * 1e6 / asked as f64)
}

/// Returns the CPU time of the programs that have ended and were waited for, in seconds.
fn children() -> Result<f64, BoxError> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time");
    Ok((ticks(13)? + ticks(14)?) / TICKS)
}

/// Returns the memory of an idle connection, in KB.
fn of_memory(peer: Peer, tls: bool, options: &Options) -> Result<f64, BoxError> {
    let server = Server::start(peer, (tls, false), options)?;
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, server.port));
    if !tls {
        return of_connections(&server, || asked(connect()?));
    }
    let config = crate::client::config(&server.trust)?;
    of_connections(&server, || {
        let name = tokio_rustls::rustls::pki_types::ServerName::try_from("localhost")?;
        let session = tokio_rustls::rustls::ClientConnection::new(config.clone(), name)?;
        asked(tokio_rustls::rustls::StreamOwned::new(session, connect()?))
    })
}

/// Returns by how much a connection that is opened and kept makes the server grow, in KB.
fn of_connections<C>(
    server: &Server,
    mut open: impl FnMut() -> Result<C, BoxError>,
) -> Result<f64, BoxError> {
    let mut held = (0..FIRST).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let before = server.memory()?;
    for _ in 0..IDLE {
        held.push(open()?);
    }
    Ok((server.memory()? - before) / IDLE as f64)
}

/// Sends one request over a connection, reads the answer, and returns the connection.
fn asked<S: Read + Write>(mut stream: S) -> Result<S, BoxError> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"Hello, world!") {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err("the server closed a connection".into());
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    Ok(stream)
}
