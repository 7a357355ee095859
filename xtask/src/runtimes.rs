//! `runtimes`: the package `examples/runtimes`, whose programs check themselves; and its goroutines beside `may` and Go.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use xtask::{Outcome, cmd};

/// The rounds of a comparison, in each of which every server has its turn.
const ROUNDS: usize = 3;
/// The load of each turn: messages of 64 bytes on 1,000 connections, every byte compared.
const LOAD: &[&str] = &["--connections", "1000", "--size", "64", "--count", "100000"];
/// The threads of each server.
const THREADS: &str = "2";

/// Runs the goroutines, with arguments for them; or with `compare` measures them beside other servers.
pub fn run(args: &[String]) -> Outcome {
    let (root, args) = cmd::take_root(args)?;
    let (compares, args) = cmd::take_flag(&args, "compare");
    cmd::run(&mut cargo(&root, &["build", "--release", "--features", "peers"])?)?;
    let programs = target(&root)?.join("release");
    if compares {
        compare(&root, &programs)
    } else {
        cmd::run(Command::new(programs.join("goroutines")).args(args))
    }
}

/// Checks the package and runs its programs.
pub fn ci(root: &Path) -> Result<String, String> {
    cmd::run(&mut cargo(root, &["fmt", "--check"])?)?;
    cmd::run(&mut cargo(root, &["clippy", "--locked", "--", "-D", "warnings"])?)?;
    let foreign_loop = cmd::capture(&mut cargo(root, &["run", "--quiet", "--bin", "foreign_loop"])?)?;
    let goroutines = cmd::capture(&mut cargo(root, &["run", "--quiet", "--bin", "goroutines"])?)?;
    let last =
        |output: &str| output.trim().lines().last().map(str::to_owned).ok_or("a program printed nothing");
    Ok(format!("{}; {}", last(&goroutines)?, last(&foreign_loop)?))
}

fn compare(root: &Path, programs: &Path) -> Outcome {
    let bench = cmd::target_dir(root)?.join("bench");
    let build = ["build", "--release", "--bin", "loadgen"];
    cmd::run(cmd::cargo(&root.join("examples/bench"), &build).env("CARGO_TARGET_DIR", &bench))?;
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let go_peer = bench.join("go_peer");
    let mut build_go = Command::new(go);
    build_go.current_dir(root.join("examples/bench/go")).args(["build", "-o"]).arg(&go_peer).arg(".");
    cmd::run(build_go.env("GOTOOLCHAIN", "local"))?;
    let servers =
        [("goroutines", programs.join("goroutines")), ("may", programs.join("may_peer")), ("go", go_peer)];
    let mut costs = vec![Vec::new(); servers.len()];
    for _ in 0..ROUNDS {
        for ((_, server), costs) in servers.iter().zip(&mut costs) {
            costs.push(cost(server, &bench.join("release/loadgen"))?);
        }
    }
    println!("CPU of the server for each echoed message, {THREADS} threads, {}:", LOAD.join(" "));
    for ((name, _), mut costs) in servers.iter().zip(costs) {
        costs.sort_by(f64::total_cmp);
        println!("{name:<11} {:>7.0} ns, the median of {costs:.0?}", costs[costs.len() / 2]);
    }
    Ok(())
}

/// A server, which ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the nanoseconds of processor time that a server takes for a message.
fn cost(server: &Path, loadgen: &Path) -> Result<f64, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", server.display());
    let mut command = Command::new(server);
    command.args(["echo", "--addr", "127.0.0.1:0", "--threads", THREADS]).stdout(Stdio::piped());
    let mut server = Server(command.spawn().map_err(failed)?);
    let output = server.0.stdout.take().ok_or("a server without output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).map_err(failed)?;
    let address = line.trim().strip_prefix("LISTENING ").ok_or(format!("it does not listen: {line}"))?;
    let pid = server.0.id().to_string();
    let mut load = Command::new(loadgen);
    let report = cmd::capture(load.args(["echo", "--addr", address, "--pid", &pid]).args(LOAD))?;
    let cost = report.split_once("\"cpu_ns_per_op\":").and_then(|(_, rest)| rest.split([',', '}']).next());
    let cost = cost.and_then(|cost| cost.trim().parse().ok());
    cost.ok_or(format!("the load reports no cost: {report}"))
}

fn cargo(root: &Path, args: &[&str]) -> Result<Command, String> {
    let mut command = cmd::cargo(&root.join("examples/runtimes"), args);
    command.env("CARGO_TARGET_DIR", target(root)?);
    Ok(command)
}

fn target(root: &Path) -> Result<std::path::PathBuf, String> {
    Ok(cmd::target_dir(root)?.join("runtimes"))
}
