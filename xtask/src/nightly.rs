//! `nightly`: what takes too long for a push, or needs a nightly toolchain. The workflow runs it once a day.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use xtask::{Outcome, cmd};

/// Address sanitizer needs the target spelled out, so that build scripts are built without it.
const ASAN_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The test program that leaks on purpose: it forgets operations, panics in destructors, and drops in a forked child.
const LEAKS: &str = "leak:deps/hostile-\n";

pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    let start = Instant::now();
    let loom = own(&root, &["loom", "--deep"])?;
    let mutants = own(&root, &["mutants", "--check", "--deep"])?;
    let strace = own(&root, &["strace"])?;
    let cross = own(&root, &["cross", "--run"])?;
    let tests = asan(&root)?;
    let soak = own(&root, &["soak", "--minutes", "10", "--limits"])?;
    let chaos = own(&root, &["chaos", "--minutes", "10"])?;
    println!("nightly: {loom}");
    println!("nightly: {mutants}");
    println!("nightly: {strace}");
    println!("nightly: {cross}");
    println!("nightly: {soak}");
    println!("nightly: {chaos}");
    println!(
        "nightly: {tests} tests under the address sanitizer, {:.0} s in all",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn own(root: &Path, args: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?;
    let mut command = Command::new(program);
    let (status, output) = cmd::stream(command.current_dir(root).args(args))?;
    cmd::checked(&command, status)?;
    output
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .ok_or("printed nothing".to_owned())
}

/// The tests of core and std-rt with every access checked; the number that passed.
fn asan(root: &Path) -> Result<usize, String> {
    let target = cmd::target_dir(root)?.join("asan");
    let leaks = target.join("leaks.txt");
    fs::create_dir_all(&target)
        .and_then(|()| fs::write(&leaks, LEAKS))
        .map_err(|e| format!("{}: {e}", leaks.display()))?;
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "test", "--target", ASAN_TARGET, "--tests"]);
    command.args(["-p", "netpoll-core", "-p", "netpoll-rt"]);
    command.current_dir(root).env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "-Zsanitizer=address");
    command.env("LSAN_OPTIONS", format!("suppressions={}", leaks.display()));
    let (status, output) = cmd::stream(&mut command).map_err(|e| {
        format!("{e} (needs rustup and its nightly toolchain: `rustup toolchain install nightly`)")
    })?;
    cmd::checked(&command, status)?;
    let passed = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    let count = passed.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum();
    if count == 0 { Err("no test ran under the address sanitizer".to_owned()) } else { Ok(count) }
}
