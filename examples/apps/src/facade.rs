//! CPU time of a request in two builds of the server of `examples/tokio-app`, with the patch lines and without them.
//!
//! `cargo xtask app` makes both builds and gives their paths to this program. With `--database URL`, a page that queries
//! PostgreSQL by sqlx is measured as well.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::measure::median;
use crate::options::{BoxError, Options};
use crate::process::Server;
use crate::tools;

/// A call of `Say` with the text "hello, world", as it is in the body of a request: a prefix of five bytes, then the message.
const SAY: &[u8] = b"\0\0\0\0\x0e\x0a\x0chello, world";

/// The connections of a load.
const CONNECTIONS: usize = 64;

/// The requests of HTTP/2 in a load of one second.
const REQUESTS: u64 = 60_000;

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

pub fn table(ours: &Path, theirs: &Path, options: &Options) -> Result<(), BoxError> {
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
                figures[at].push(measure([ours, theirs][at], case, options)?);
            }
        }
        let [ours, theirs] = figures.map(median);
        println!("| {} | {ours:.2} | {theirs:.2} | {:.3} |", case.0, ours / theirs);
        rows += 1;
    }
    if rows == 0 { Err("nothing was measured".into()) } else { Ok(()) }
}

/// Returns the CPU time of a new server for a request, in microseconds.
fn measure(program: &Path, (_, load, path): &Case, options: &Options) -> Result<f64, BoxError> {
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
    let (server, grpc) = Server::telling(command)?;
    let url = match path {
        Some(path) => format!("http://127.0.0.1:{}{path}", server.port),
        None => format!("http://{grpc}/netpoll.Echo/Say"),
    };
    // The first load opens the pages of the program and fills its caches.
    load(&url, 1)?;
    let before = server.seconds()?;
    let requests = load(&url, options.secs)?;
    Ok((server.seconds()? - before) * 1e6 / requests)
}

fn wrk(url: &str, seconds: u64) -> Result<f64, BoxError> {
    tools::wrk(url, CONNECTIONS, seconds)
}

fn h2load(url: &str, seconds: u64) -> Result<f64, BoxError> {
    tools::h2load(url, CONNECTIONS, seconds * REQUESTS, &[])
}

/// Calls of gRPC.
fn grpc(url: &str, seconds: u64) -> Result<f64, BoxError> {
    let body = std::env::temp_dir().join(format!("netpoll-apps-say-{}", std::process::id()));
    fs::write(&body, SAY)?;
    let path = body.display().to_string();
    let more = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", &path];
    let requests = tools::h2load(url, CONNECTIONS, seconds * REQUESTS, &more);
    fs::remove_file(&body)?;
    requests
}
