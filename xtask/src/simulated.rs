//! The checks beside the tests of the simulation: the examples of its documentation, hyper, axum and programs of tokio in it, one
//! program in it and in other simulations, and the proof that an ordinary program has no part of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::{Outcome, cmd};

use crate::suites::{POLL, SIM, parts_in_ordinary_program};
use crate::test::count_passed;
use crate::upstream;

/// The simulations that are compared.
const SIMULATIONS: [&str; 3] = ["netpoll", "turmoil", "madsim"];
/// The virtual seconds of a run.
const VIRTUAL_SECONDS: &str = "60";
/// The rounds, in each of which every simulation has its turn.
const ROUNDS: usize = 3;

/// The test that compares traces, and the number of its runs.
const REPLAY: &str = "measure::measure_equal_traces";
const REPLAYS: &str = "1000";

/// Runs the examples of the documentation, and `examples/sim`; looks for parts of the simulation in an ordinary program.
/// Returns what it did, in numbers.
pub fn check(root: &Path) -> Result<String, String> {
    println!("-- the examples of the documentation");
    let flags = format!("{} {SIM}", cmd::INTERNAL);
    let mut docs =
        cmd::cargo(root, &["test", "-p", "netpoll-rt", "--profile", "loom", "--doc", "--", "src/sim"]);
    docs.env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join("sim")).env("RUSTDOCFLAGS", &flags);
    let docs = passed(docs.env("RUSTFLAGS", &flags))?;
    println!("-- hyper and axum");
    let target = cmd::target_dir(root)?.join("simulated");
    let package = |args: &[&str]| {
        let mut command = cmd::cargo(&root.join("examples/sim"), args);
        command.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", &flags);
        command
    };
    cmd::run(&mut package(&["fmt", "--check"]))?;
    let libraries = passed(&mut package(&["test", "--locked", "--test", "it"]))?;
    // The names of the modules in both manglings, and a variable of the environment.
    let parts = parts_in_ordinary_program(root, &[b"3sys3sim", b"10netpoll_rt3sim", b"NETPOLL_SIM"])?;
    if parts > 0 {
        return Err(format!("an ordinary build holds {parts} parts of the simulation"));
    }
    Ok(format!(
        "{docs} examples of the documentation, {libraries} tests of libraries, 0 symbols in an ordinary program"
    ))
}

/// Runs the programs of tokio in `examples/sim-tokio`.
pub fn tokio(root: &Path) -> Outcome {
    let flags = format!("{} {SIM}", cmd::INTERNAL);
    let target = cmd::target_dir(root)?.join("simulated");
    let package = |args: &[&str]| {
        let mut command = upstream::cargo(root, &root.join("examples/sim-tokio"), args)?;
        command.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", &flags);
        Ok::<Command, String>(command)
    };
    cmd::run(&mut package(&["fmt", "--check"])?)?;
    let count = passed(&mut package(&["test", "--locked", "--test", "it"])?)?;
    println!("sim: {count} tests of programs of tokio in a simulation, 0 failed");
    Ok(())
}

/// Compares the traces of many runs of one seed, in builds with and without optimizations, with the contract of epoll and with
/// that of poll(2). Those of a contract must be equal in both builds.
pub fn replay(root: &Path) -> Outcome {
    for (contract, flag) in [("epoll", ""), ("poll(2)", POLL)] {
        let mut lines = Vec::new();
        for (build, profile) in [("debug", "dev"), ("release", "release")] {
            let test = [
                "test",
                "-p",
                "netpoll-rt",
                "--test",
                "sim",
                "--profile",
                profile,
                REPLAY,
                "--",
                "--nocapture",
            ];
            let mut command = cmd::cargo(root, &test);
            command
                .env(
                    "CARGO_TARGET_DIR",
                    cmd::target_dir(root)?.join(if flag.is_empty() { "sim" } else { "sim-poll" }),
                )
                .env("RUSTFLAGS", format!("{} {SIM} {flag}", cmd::INTERNAL))
                .env("NETPOLL_SIM_RUNS", REPLAYS);
            let (status, output) = cmd::stream(&mut command)?;
            cmd::checked(&command, status)?;
            let line =
                output.lines().find_map(|line| line.split_once("replay: ")).ok_or("no run was compared")?;
            lines.push((build, line.1.to_owned()));
        }
        for (build, line) in &lines {
            println!("replay: {contract}, {build}: {line}");
        }
        if lines[0].1 != lines[1].1 {
            return Err(format!("with the contract of {contract} the two builds have different traces"));
        }
    }
    println!("replay: the traces of debug and release are equal");
    Ok(())
}

fn passed(command: &mut Command) -> Result<usize, String> {
    let (status, output) = cmd::stream(command)?;
    cmd::checked(command, status)?;
    match count_passed(&output) {
        0 => Err("no test ran".to_owned()),
        count => Ok(count),
    }
}

/// Runs one program in each of the simulations, and prints its speed.
pub fn compare(root: &Path) -> Outcome {
    let package = root.join("examples/sim-bench");
    let target: PathBuf = cmd::target_dir(root)?.join("sim-bench");
    let mut build = cmd::cargo(&package, &["build", "--release", "--locked"]);
    build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", format!("{SIM} --cfg madsim"));
    cmd::run(&mut build)?;
    for _ in 0..ROUNDS {
        for simulation in SIMULATIONS {
            cmd::run(Command::new(target.join("release").join(simulation)).arg(VIRTUAL_SECONDS))?;
        }
    }
    Ok(())
}
