//! The runtime and its tests for the systems with kqueue: compiled for all, linked for those that a linker is there for.

use std::path::{Path, PathBuf};

use super::Way;
use crate::cmd;

pub struct System {
    pub triple: &'static str,
    /// zig has what a program of that system is linked with.
    links: bool,
}

pub const SYSTEMS: &[System] = &[
    System { triple: "x86_64-unknown-freebsd", links: true },
    System { triple: "x86_64-apple-darwin", links: true },
    System { triple: "aarch64-apple-darwin", links: false },
    System { triple: "x86_64-unknown-netbsd", links: false },
    System { triple: "x86_64-unknown-openbsd", links: false },
];

/// Fewer test programs than this in one of them, and something was left out.
const FEWEST: usize = 30;

/// What was compiled as data, what is wrong for people.
const MESSAGES: &str = "json-render-diagnostics";

/// Compiles std-rt and all its tests, and links them if that can be done; warnings are errors.
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
    command.arg(dir).env("RUSTFLAGS", "-Dwarnings");
    // Nobody runs them here; and there may be no tool to strip them with.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "none");
    let output = cmd::capture(&mut command)?;
    let tests = output.lines().filter(|line| line.contains("\"kind\":[\"test\"]"));
    let artifacts = tests.filter(|line| line.starts_with("{\"reason\":\"compiler-artifact\""));
    let linked = artifacts.clone().filter(|line| line.contains("\"executable\":\"")).count();
    match (artifacts.count(), linked) {
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
        (_, linked) => Ok(format!("{linked} test programs compile and link")),
    }
}

/// The wrapper of cargo that links with zig: where `.ci/cross-setup` puts it, or on the search path.
fn zig(root: &Path) -> Result<Option<PathBuf>, String> {
    const NAME: &str = "cargo-zigbuild";
    let own = cmd::target_dir(root)?.join("zig/bin").join(NAME);
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search).map(|folder| folder.join(NAME));
    Ok(std::iter::once(own).chain(on_path).find(|path| path.exists()))
}
