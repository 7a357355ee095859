//! The runtime and its tests for other systems: compiled for all, linked for those that a linker is there for, and for the
//! one that this machine may be besides, run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Way;
use crate::test::count_passed;
use xtask::cmd;

pub struct System {
    pub triple: &'static str,
    /// zig has what a program of that system is linked with.
    links: bool,
    /// What loads such a program, where its kernel is this one's.
    loader: Option<&'static str>,
}

const fn system(triple: &'static str, links: bool) -> System {
    System { triple, links, loader: None }
}

pub const SYSTEMS: &[System] = &[
    system("x86_64-unknown-freebsd", true),
    system("x86_64-apple-darwin", true),
    system("aarch64-apple-darwin", false),
    system("x86_64-unknown-netbsd", false),
    system("x86_64-unknown-openbsd", false),
    // Words of 32 bits: narrow generations, and deadlines in milliseconds.
    System { triple: "i686-unknown-linux-gnu", links: true, loader: Some("/lib/ld-linux.so.2") },
];

/// What one test program may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Fewer test programs than this in one of them, and something was left out.
const FEWEST: usize = 7;

/// What was compiled as data, what is wrong for people.
const MESSAGES: &str = "json-render-diagnostics";

impl System {
    /// Its tests are run: that takes longer than a push should.
    pub fn is_run(&self) -> bool {
        self.loader.is_some()
    }
}

/// Compiles std-rt and all its tests, and links and runs them if that can be done; warnings are errors.
pub fn check(root: &Path, way: &Way, system: &System) -> Result<String, String> {
    let zig = zig(root)?.filter(|_| system.links);
    let word = if zig.is_some() { "zigbuild" } else { "check" };
    let mut command = way.cargo_with_std(root, zig.as_deref(), word, system.triple);
    if let Some(bin) = zig.as_deref().and_then(Path::parent) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).map_err(|e| e.to_string())?);
    }
    let dir = cmd::target_dir(root)?.join("cross").join(way.name());
    command.args([
        "--quiet",
        "--package",
        "netpoll-rt",
        "--tests",
        "--message-format",
        MESSAGES,
        "--target-dir",
    ]);
    command.arg(dir).env("RUSTFLAGS", format!("-Dwarnings {}", cmd::INTERNAL));
    // Nobody debugs them here; and there may be no tool to strip them with.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "none");
    let output = cmd::capture(&mut command)?;
    let tests = output.lines().filter(|line| line.contains("\"kind\":[\"test\"]"));
    let artifacts = tests.filter(|line| line.starts_with("{\"reason\":\"compiler-artifact\""));
    let linked: Vec<&str> = artifacts.clone().filter_map(executable).collect();
    let loads = |loader| std::env::consts::OS == "linux" && Path::new(loader).exists();
    let runs = system.loader.is_some_and(loads);
    match (artifacts.count(), linked.len()) {
        (compiled, _) if compiled < FEWEST => {
            Err(format!("only {compiled} test programs, of at least {FEWEST}"))
        }
        (compiled, linked) if zig.is_some() && linked < compiled => {
            Err(format!("{linked} of {compiled} test programs were linked"))
        }
        (compiled, 0) if system.links => {
            Ok(format!("{compiled} test programs compile (to link them: pip install cargo-zigbuild ziglang)"))
        }
        (compiled, 0) => Ok(format!("{compiled} test programs compile")),
        (_, n) if runs => run(root, system.triple, &linked)
            .map(|passed| format!("{n} test programs, {passed} tests passed")),
        (_, linked) => Ok(format!("{linked} test programs compile and link")),
    }
}

/// The program that a line of cargo's tells of.
fn executable(line: &str) -> Option<&str> {
    line.split_once("\"executable\":\"")?.1.split('"').next()
}

/// Runs the test programs; how many tests passed.
fn run(root: &Path, triple: &str, programs: &[&str]) -> Result<usize, String> {
    let log = cmd::target_dir(root)?.join("cross").join(format!("{triple}.log"));
    let mut passed = 0;
    for program in programs {
        cmd::limited(Command::new(program).current_dir(root.join("std-rt")), LIMIT, &log)?;
        let told = std::fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        passed += count_passed(&told);
    }
    if passed == 0 { Err("no test ran".to_owned()) } else { Ok(passed) }
}

/// The wrapper of cargo that links with zig: where `.ci/cross-setup` puts it, or on the search path.
fn zig(root: &Path) -> Result<Option<PathBuf>, String> {
    const NAME: &str = "cargo-zigbuild";
    let own = cmd::target_dir(root)?.join("zig/bin").join(NAME);
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search).map(|folder| folder.join(NAME));
    Ok(std::iter::once(own).chain(on_path).find(|path| path.exists()))
}
