//! Who takes part.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::options::Options;
use super::table::{How, Work, Workload};
use xtask::cmd;

/// The name of this runtime among the peers.
pub const OURS: &str = "ours";
const OURS_BINARY: &str = "peer";

type Can = fn(&Workload) -> bool;

pub struct Peer {
    pub name: &'static str,
    pub program: PathBuf,
    /// What it is, in a line.
    pub version: String,
    can: Can,
}

/// Name, binary, the crate in the lock file that it stands for, what it takes part in.
const RUST: &[(&str, &str, &str, Can)] = &[
    (OURS, OURS_BINARY, "", |_| true),
    ("tokio", "tokio_peer", "tokio", |_| true),
    ("smol", "smol_peer", "smol", |_| true),
    ("loop", "loop_peer", "mio", only_one_thread),
];

/// A bare loop has neither tasks nor deadlines, and its connections never have a buffer of their own.
fn only_one_thread(workload: &Workload) -> bool {
    matches!(workload.work, Work::Served { threads: 1, server: [], .. })
        && !workload.name.starts_with("memory")
}

/// Valgrind does not run it, and its connections cannot wait without a buffer.
fn go_can(workload: &Workload) -> bool {
    workload.how != How::Instructions && workload.name != "memory-lazy"
}

impl Peer {
    pub fn can(&self, workload: &Workload) -> bool {
        (self.can)(workload)
    }
}

/// Builds ours, the others and the load; the load's program stands beside theirs. Go takes part where it is found.
pub fn build(root: &Path, options: &Options) -> Result<Vec<Peer>, String> {
    let wanted = |name: &str| options.peers.is_empty() || options.peers.iter().any(|peer| peer == name);
    let known = |name: &&String| name.as_str() == "go" || RUST.iter().any(|(known, ..)| known == name);
    if let Some(unknown) = options.peers.iter().find(|name| !known(name)) {
        return Err(format!("no peer `{unknown}`: ours, tokio, smol, go, loop"));
    }
    let ours = build_ours(root)?;
    let (package, target) = (root.join("examples/bench"), folder(root)?);
    let args = ["build", "--quiet", "--release", "--locked", "--bins", "--target-dir"];
    cmd::run(cmd::cargo(&package, &args).arg(&target).envs(PROFILE))?;
    let lock = fs::read_to_string(package.join("Cargo.lock"))
        .map_err(|e| format!("examples/bench/Cargo.lock: {e}"))?;
    let mut peers = Vec::new();
    for &(name, binary, package, can) in RUST.iter().filter(|(name, ..)| wanted(name)) {
        let program = if name == OURS { ours.clone() } else { target.join("release").join(binary) };
        let version = match (name, version(&lock, package)) {
            (OURS, _) => "ours".to_owned(),
            ("loop", version) => format!("loop (mio {version}, one thread, nothing around it)"),
            (_, version) => format!("{name} {version}"),
        };
        peers.push(Peer { name, program, version, can });
    }
    if wanted("go") {
        match build_go(root, &target) {
            Ok(peer) => peers.push(peer),
            Err(reason) if options.peers.is_empty() => println!("go takes no part: {reason}"),
            Err(reason) => return Err(reason),
        }
    }
    Ok(peers)
}

/// All are compiled alike, and as somebody would who cares for speed.
const PROFILE: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_LTO", "thin"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")];
pub const PROFILE_TOLD: &str = "release, with thin LTO and one codegen unit, for all";

/// Our own program.
pub fn build_ours(root: &Path) -> Result<PathBuf, String> {
    let target = folder(root)?;
    let args =
        ["build", "--quiet", "--release", "-p", "netpoll-examples", "--bin", OURS_BINARY, "--target-dir"];
    cmd::run(cmd::cargo(root, &args).arg(&target).envs(PROFILE))?;
    Ok(target.join("release").join(OURS_BINARY))
}

/// Where the peers' package is built, beside everything else.
fn folder(root: &Path) -> Result<PathBuf, String> {
    Ok(cmd::target_dir(root)?.join("bench-peers"))
}

/// Go's own program, or the one that the variable `GO` names.
fn build_go(root: &Path, target: &Path) -> Result<Peer, String> {
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let told = Command::new(&go).arg("version").stderr(Stdio::null()).output();
    let told = told.map_err(|e| format!("{}: {e}", go.to_string_lossy()))?;
    let version = String::from_utf8_lossy(&told.stdout);
    let version = version.split_whitespace().nth(2).ok_or("`go version` says nothing")?.to_owned();
    let program = target.join("release/go_peer");
    let mut command = Command::new(&go);
    command.current_dir(root.join("examples/bench/go")).args(["build", "-o"]).arg(&program).arg(".");
    cmd::run(command.env("GOTOOLCHAIN", "local"))?;
    Ok(Peer { name: "go", program, version, can: go_can })
}

/// The version of a package in a lock file.
fn version<'l>(lock: &'l str, package: &str) -> &'l str {
    let at = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, rest)| rest);
    at.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

/// The program of the load.
pub fn loadgen(root: &Path) -> Result<String, String> {
    Ok(folder(root)?.join("release/loadgen").to_string_lossy().into_owned())
}
