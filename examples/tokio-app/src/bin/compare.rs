//! CPU time of a request in two builds of `serve`, under wrk and h2load.
//!
//! `cargo xtask app` makes both builds, with the patch lines and without them, and gives their paths to this program. The
//! rounds are interleaved, so that other work of the machine affects both alike. The last column is the ratio of the
//! medians. With `--database URL`, a page that queries PostgreSQL by sqlx is measured as well.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use lexopt::{Arg, ValueExt};
use tokio_app::BoxError;

const USAGE: &str =
    "compare NETPOLL TOKIO [--rounds N] [--secs N] [--workers N] [--database URL] [--only WORD]";

/// The ticks in a second of the times in `/proc`. Linux has fixed it.
const TICKS: f64 = 100.0;

/// A call of `Say` with the text "hello, world", as it is in the body of a request: a prefix of five bytes, then the message.
const SAY: &[u8] = b"\0\0\0\0\x0e\x0a\x0chello, world";

struct Options {
    programs: Vec<PathBuf>,
    rounds: usize,
    secs: u64,
    workers: usize,
    database: Option<String>,
    only: String,
}

/// A load: its name, the program, and the path of the page, or none for a call of gRPC.
type Case = (&'static str, Load, Option<&'static str>);

/// Loads a URL for some seconds; returns the number of requests.
type Load = fn(&str, u64) -> Result<f64, BoxError>;

const CASES: &[Case] = &[
    ("axum, HTTP/1, 13 bytes", wrk, Some("/")),
    ("axum, HTTP/1, 100 KB", wrk, Some("/bytes/102400")),
    ("axum, HTTP/2, 13 bytes", h2load, Some("/")),
    ("axum, HTTP/2, 100 KB", h2load, Some("/bytes/102400")),
    ("tonic, echo", grpc, None),
    ("axum and sqlx, query", wrk, Some("/query")),
];

fn main() -> Result<(), BoxError> {
    let mut options =
        Options { programs: Vec::new(), rounds: 5, secs: 2, workers: 2, database: None, only: String::new() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(path) => options.programs.push(path.into()),
            Arg::Long("rounds") => options.rounds = parser.value()?.parse()?,
            Arg::Long("secs") => options.secs = parser.value()?.parse()?,
            Arg::Long("workers") => options.workers = parser.value()?.parse()?,
            Arg::Long("database") => options.database = Some(parser.value()?.string()?),
            Arg::Long("only") => options.only = parser.value()?.string()?,
            _ => return Err(format!("{}\n{USAGE}", arg.unexpected()).into()),
        }
    }
    let [ours, theirs] = &options.programs[..] else { return Err(USAGE.into()) };
    println!("{} rounds of {} s, {} workers", options.rounds, options.secs, options.workers);
    println!("| µs of CPU a request | netpoll | tokio | ratio |\n|---|---|---|---|");
    let mut rows = 0;
    for case in CASES.iter().filter(|(name, ..)| name.contains(&options.only)) {
        if case.2 == Some("/query") && options.database.is_none() {
            println!("| {} | needs --database | | |", case.0);
            continue;
        }
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..options.rounds {
            for turn in 0..2 {
                // Each is first in every second round.
                let at = (round + turn) % 2;
                figures[at].push(measure([ours, theirs][at], case, &options)?);
            }
        }
        let [ours, theirs] = figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        });
        println!("| {} | {ours:.2} | {theirs:.2} | {:.3} |", case.0, ours / theirs);
        rows += 1;
    }
    if rows == 0 { Err(format!("nothing measured\n{USAGE}").into()) } else { Ok(()) }
}

/// Returns the CPU time of a new server for a request, in microseconds.
fn measure(program: &PathBuf, (_, load, path): &Case, options: &Options) -> Result<f64, BoxError> {
    let mut command = Command::new(program);
    command.args([
        "--http",
        "127.0.0.1:0",
        "--grpc",
        "127.0.0.1:0",
        "--workers",
        &options.workers.to_string(),
    ]);
    command.args(options.database.iter().flat_map(|url| ["--database", url]));
    let mut server = Server(command.stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let (http, grpc) = line.trim().split_once(' ').ok_or("the server told no addresses")?;
    let url = match path {
        Some(path) => format!("http://{http}{path}"),
        None => format!("http://{grpc}/netpoll.Echo/Say"),
    };
    // The first load opens the pages of the program and fills its caches.
    load(&url, options.secs.min(1))?;
    let before = server.seconds()?;
    let requests = load(&url, options.secs)?;
    Ok((server.seconds()? - before) * 1e6 / requests)
}

/// A server, which is killed at the end.
struct Server(Child);

impl Server {
    /// Returns its CPU time so far, in seconds.
    fn seconds(&self) -> Result<f64, BoxError> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name of the program may have spaces; the fields are counted behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("{error}");
        }
    }
}

/// HTTP/1 on 64 connections.
fn wrk(url: &str, seconds: u64) -> Result<f64, BoxError> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--timeout=60s", "-c64", &format!("-d{seconds}s"), url]);
    let output = String::from_utf8(command.output()?.stdout)?;
    if output.contains("Socket errors") || output.contains("Non-2xx") {
        return Err(output.into());
    }
    let line = output.lines().find(|line| line.contains(" requests in ")).ok_or("wrk sent nothing")?;
    Ok(line.split_whitespace().next().ok_or("wrk sent nothing")?.parse()?)
}

/// HTTP/2 on 64 connections, with ten requests under way on each.
fn h2load(url: &str, seconds: u64) -> Result<f64, BoxError> {
    over_http2(Command::new("h2load").arg(url), seconds)
}

/// Calls of gRPC on 64 connections, with ten under way on each.
fn grpc(url: &str, seconds: u64) -> Result<f64, BoxError> {
    let body = env::temp_dir().join(format!("tokio-app-say-{}", std::process::id()));
    fs::write(&body, SAY)?;
    let mut command = Command::new("h2load");
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(&body).arg(url);
    let requests = over_http2(&mut command, seconds);
    fs::remove_file(&body)?;
    requests
}

fn over_http2(command: &mut Command, seconds: u64) -> Result<f64, BoxError> {
    command.args(["-t1", "-c64", "-m10", &format!("-D{seconds}")]);
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    // `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`
    let Some(line) = text.lines().find(|line| line.starts_with("requests: ")) else {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("h2load counted nothing: {}\n{text}{error}", output.status).into());
    };
    let count = |word: &str| -> Result<f64, BoxError> {
        let (before, _) = line.split_once(word).ok_or_else(|| format!("h2load printed `{line}`"))?;
        Ok(before.trim_end().rsplit(' ').next().unwrap_or_default().parse()?)
    };
    if count(" failed")? + count(" errored")? + count(" timeout")? > 0.0 {
        return Err(text.into());
    }
    count(" succeeded")
}
