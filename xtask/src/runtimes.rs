//! `runtimes`: the package `examples/runtimes`, whose programs check themselves; its goroutines beside `may` and Go; the
//! poller beside mio and polling.

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

/// The numbers of rounds of `counts`, whose difference leaves the costs of the start out.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// Runs the goroutines, with arguments for them; with `compare` measures them beside other servers; with `counts` counts what
/// the poller does for a descriptor beside other pollers.
pub fn run(args: &[String]) -> Outcome {
    let (root, args) = cmd::take_root(args)?;
    let (compares, args) = cmd::take_flag(&args, "compare");
    let (counts_calls, args) = cmd::take_flag(&args, "counts");
    cmd::run(&mut cargo(&root, &["build", "--release", "--features", "peers"])?)?;
    let programs = target(&root)?.join("release");
    match (compares, counts_calls) {
        (true, _) => compare(&root, &programs),
        (_, true) => counts(&programs.join("counts")),
        _ => cmd::run(Command::new(programs.join("goroutines")).args(args)),
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

/// Prints the instructions in user space, by valgrind, and the system calls, by strace, for one descriptor that is registered,
/// has one event and is deregistered. Two of the calls are the test's own: the write and the read of the byte.
fn counts(program: &Path) -> Outcome {
    for peer in ["ours", "mio", "polling"] {
        let each = |count: fn(&Path, &str, u64) -> Result<u64, String>| -> Result<u64, String> {
            Ok((count(program, peer, MANY)? - count(program, peer, FEW)?) / (MANY - FEW))
        };
        let (instructions, calls) = (each(instructions)?, each(system_calls)?);
        println!("{peer:<8} {instructions:>6} instructions, {calls} system calls");
    }
    Ok(())
}

fn instructions(program: &Path, peer: &str, times: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let report = report_of(command.args([peer, &times.to_string()]))?;
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or(format!("valgrind reports no count: {report}"))
}

fn system_calls(program: &Path, peer: &str, times: u64) -> Result<u64, String> {
    let mut command = Command::new("strace");
    let report = report_of(command.args(["-f", "-c"]).arg(program).args([peer, &times.to_string()]))?;
    // The columns are the share of time, the time, the time of a call, the calls, and the errors if there are any.
    let total = report.lines().find(|line| line.ends_with(" total"));
    let count = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    count.ok_or(format!("strace reports no total: {report}"))
}

/// Runs a tool, which writes its report to its error output.
fn report_of(command: &mut Command) -> Result<String, String> {
    let output = command.stdout(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    cmd::checked(command, output.status).map_err(|reason| format!("{reason}: {report}"))?;
    Ok(report)
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
