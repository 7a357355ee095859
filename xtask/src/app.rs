//! `examples/tokio-app`: a program of tokio's ecosystem on `std-rt/tokio`, and the same program without the patch lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::{Outcome, cmd};

use crate::programs;
use crate::test::count_passed;
use crate::upstream;

/// The package.
const PACKAGE: &str = "examples/tokio-app";

/// The line of its manifest with which the patch begins. It is the last section.
const PATCH: &str = "[patch.crates-io]\n";

/// Measures the server with and without the patch lines; the arguments go to the program of `examples/apps`.
pub fn compare(args: &[String]) -> Outcome {
    let (root, args) = cmd::take_root(args)?;
    let build = ["build", "--release", "--bins"];
    let patched = target(&root)?;
    cmd::run(&mut package(&root, &build)?)?;
    let plain = plain(&root)?;
    cmd::run(cmd::cargo(&plain, &build).env("CARGO_TARGET_DIR", plain.join("target")))?;
    let servers = [&patched, &plain.join("target")].map(|target| target.join("release/serve"));
    let mut command = Command::new(programs::apps(&root)?);
    cmd::run(command.arg("facade").args(servers).args(args))
}

/// Tests the package, whose tree has no mio.
pub fn ci(root: &Path) -> Result<String, String> {
    let cargo = |args: &[&str]| package(root, args);
    cmd::run(&mut cargo(&["fmt", "--check"])?)?;
    let args = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let tree = cmd::capture(&mut cargo(&args)?)?;
    if !tree.contains("tokio v1.54.1+netpoll") || tree.lines().any(|line| line.starts_with("mio ")) {
        return Err("the tree has mio, or tokio without the patch".to_owned());
    }
    // A test whose program is not installed says so, which is only seen without capture.
    let mut command = cargo(&["test", "--locked", "--test", "it", "--", "--nocapture"])?;
    let (status, output) = cmd::stream(&mut command)?;
    cmd::checked(&command, status)?;
    match count_passed(&output) {
        0 => Err("no test of the program ran".to_owned()),
        count => Ok(format!("{count} tests without mio, {} skipped", output.matches("skipped: ").count())),
    }
}

/// Lints the package, which compiles all libraries once more.
pub fn lint(root: &Path) -> Result<String, String> {
    cmd::run(&mut package(root, &["clippy", "--locked", "--all-targets", "--", "-D", "warnings"])?)?;
    Ok("no warning".to_owned())
}

/// Returns a command of cargo in the package.
fn package(root: &Path, args: &[&str]) -> Result<Command, String> {
    let mut command = upstream::cargo(root, &root.join(PACKAGE), args)?;
    command.env("CARGO_TARGET_DIR", target(root)?);
    Ok(command)
}

fn target(root: &Path) -> Result<PathBuf, String> {
    Ok(cmd::target_dir(root)?.join("tokio-app"))
}

/// Writes the package without the patch lines; returns its folder.
fn plain(root: &Path) -> Result<PathBuf, String> {
    let (from, to) = (root.join(PACKAGE), cmd::target_dir(root)?.join("tokio-app-plain"));
    let manifest = upstream::read(&from.join("Cargo.toml"))?;
    let (before, _) = manifest.split_once(PATCH).ok_or("the package has no patch")?;
    let source = to.join("src");
    if source.exists() {
        fs::remove_dir_all(&source).map_err(|e| format!("{}: {e}", source.display()))?;
    }
    upstream::copy_files(&from.join("src"), &source)?;
    // The tests are the same, and are not needed to build the server.
    let (before, _) = before.split_once("# One program, so that").ok_or("the package has no test")?;
    upstream::write(&to.join("Cargo.toml"), before)?;
    // The other packages keep their versions; cargo replaces what it does not need.
    upstream::write(&to.join("Cargo.lock"), &upstream::read(&from.join("Cargo.lock"))?)?;
    Ok(to)
}
