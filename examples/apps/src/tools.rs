//! The programs that make the load. Each runs for some seconds and returns the number of operations, of which none failed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::dns;
use crate::options::BoxError;

/// The time that a tool has to end after its load, in seconds.
const ENDS: u64 = 60;

/// The number of requests that a client of HTTP/2 has under way on one connection.
const STREAMS: usize = 10;

/// The size of a value in the load of the table.
const VALUE: usize = 64;

/// The bytes in a GiB.
const GIB: f64 = (1 << 30) as f64;

/// Returns whether a program is installed.
pub fn exists(program: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command to its end and returns its output. It is stopped if it does not end.
fn output(program: &str, args: &[String], seconds: u64) -> Result<String, BoxError> {
    let mut command = Command::new("timeout");
    command.arg((seconds + ENDS).to_string()).arg(program).args(args);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => Ok(text),
        Some(124) => Err(format!("{program} did not end within {ENDS} s after its load; use --secs").into()),
        _ => {
            Err(format!("{program}: {} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim())
                .into())
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Loads a server of HTTP/1. An error of any request is an error.
pub fn wrk(url: &str, connections: usize, seconds: u64) -> Result<f64, BoxError> {
    let (connections, length) = (format!("-c{connections}"), format!("-d{seconds}s"));
    let text = output("wrk", &words(&["-t1", "--timeout=60s", &connections, &length, url]), seconds)?;
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(text.into());
    }
    let line = text.lines().find(|line| line.contains(" requests in ")).ok_or("wrk sent nothing")?;
    Ok(line.split_whitespace().next().ok_or("wrk sent nothing")?.parse()?)
}

/// Sends this number of requests to a server of HTTP/2. An error of any request is an error.
///
/// A load for some seconds (`-D`) does not end if the server is still accepting connections at its end: h2load waits for them
/// for ever, with 1,000 of them and any server.
pub fn h2load(url: &str, connections: usize, requests: u64, more: &[&str]) -> Result<f64, BoxError> {
    let (connections, streams) = (format!("-c{connections}"), format!("-m{STREAMS}"));
    let mut args = words(&["-t1", &connections, &streams, &format!("-n{requests}")]);
    args.extend(words(more));
    args.push(url.to_owned());
    let text = output("h2load", &args, 0)?;
    // `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`
    let line = text.lines().find(|line| line.starts_with("requests: ")).ok_or("h2load sent nothing")?;
    let count = |word: &str| -> Result<f64, BoxError> {
        let (before, _) = line.split_once(word).ok_or_else(|| format!("h2load printed `{line}`"))?;
        Ok(before.trim_end().rsplit(' ').next().unwrap_or_default().parse()?)
    };
    if count(" failed")? + count(" errored")? + count(" timeout")? > 0.0 {
        return Err(text.into());
    }
    count(" succeeded")
}

/// Sends this number of commands to a server of Redis's protocol, over 50 connections.
pub fn redis(port: u16, command: &str, pipeline: usize, count: u64) -> Result<f64, BoxError> {
    let (port, count_text) = (port.to_string(), count.to_string());
    let (size, pipeline) = (VALUE.to_string(), pipeline.to_string());
    let mut args = words(&["-h", "127.0.0.1", "-p", &port, "-t", command, "-n", &count_text, "-d", &size]);
    args.extend(words(&["-P", &pipeline, "-c", "50", "--csv"]));
    let text = output("redis-benchmark", &args, 0)?;
    match text.to_lowercase().contains(&format!("\"{command}\"")) {
        true => Ok(count as f64),
        false => Err(format!("redis-benchmark: {}", text.trim()).into()),
    }
}

/// Sends a stream for some seconds; returns the GiB that have arrived.
pub fn iperf3(port: u16, seconds: u64) -> Result<f64, BoxError> {
    let (port, length) = (port.to_string(), seconds.to_string());
    let text = output("iperf3", &words(&["-c", "127.0.0.1", "-p", &port, "-t", &length, "-J"]), seconds)?;
    let (_, rest) = text.split_once("\"sum_received\":").ok_or("iperf3 received nothing")?;
    let (_, rest) = rest.split_once("\"bytes\":").ok_or("iperf3 received nothing")?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse::<f64>()? / GIB)
}

/// Sends queries over two sockets; returns the number of answers. Lost ones are an error.
pub fn dnsperf(folder: &Path, port: u16, seconds: u64) -> Result<f64, BoxError> {
    let file = folder.join("queries.txt");
    fs::write(&file, format!("{} A\n", dns::NAME))?;
    let (port, length) = (port.to_string(), seconds.to_string());
    let mut args =
        words(&["-s", "127.0.0.1", "-p", &port, "-l", &length, "-c", "2", "-T", "1", "-q", "100", "-d"]);
    args.push(file.display().to_string());
    let text = output("dnsperf", &args, seconds)?;
    let value = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    match (value("Queries completed:"), value("Queries lost:")) {
        (Some(count), Some(0.0)) if count > 0.0 && text.contains("NOERROR") => Ok(count),
        _ => Err(text.into()),
    }
}

/// Exchanges messages of this size over 64 connections, and compares every byte; returns the number of messages.
pub fn messages(tools: &Path, port: u16, seconds: u64, size: usize) -> Result<f64, BoxError> {
    let (address, length, size) = (format!("127.0.0.1:{port}"), seconds.to_string(), size.to_string());
    let program = tools.join("loadgen").display().to_string();
    let args = [
        "echo",
        "--addr",
        &address,
        "--connections",
        "64",
        "--warmup",
        "0",
        "--size",
        &size,
        "--secs",
        &length,
    ];
    let text = output(&program, &words(&args), seconds)?;
    let (_, rest) = text.split_once("\"ops\":").ok_or("the load counted nothing")?;
    Ok(rest.trim_end().trim_end_matches('}').parse()?)
}
