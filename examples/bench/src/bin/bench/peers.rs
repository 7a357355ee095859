//! The peers: how they are built, and in which workloads they take part.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::PACKAGE;
use crate::workloads::{How, Workload};

/// The name of netpoll among the peers.
pub const OURS: &str = "ours";

pub const PROFILE: &str = "release, with thin LTO and one codegen unit, for all";

const LOCK: &str = include_str!("../../../Cargo.lock");

pub struct Peer {
    pub name: &'static str,
    pub program: PathBuf,
    /// The name and the version, as a page shows them.
    pub version: String,
}

/// The name, the program and the crate of each peer in Rust.
const RUST: &[(&str, &str, &str)] = &[
    (OURS, "ours_peer", ""),
    ("tokio", "tokio_peer", "tokio"),
    ("smol", "smol_peer", "smol"),
    ("loop", "loop_peer", "mio"),
];

impl Peer {
    /// Returns whether the peer can run a workload.
    pub fn takes_part(&self, workload: &Workload) -> bool {
        match self.name {
            // A bare loop has neither tasks nor deadlines, and its connections never have a buffer.
            "loop" => {
                workload.is_served()
                    && workload.processors == 1
                    && workload.args.is_empty()
                    && !workload.name.starts_with("memory")
            }
            // Valgrind does not run Go, whose connections cannot wait without a buffer.
            "go" => workload.how != How::Instructions && workload.name != "memory-lazy",
            _ => true,
        }
    }
}

/// Builds the peers with these names, or all of them if there are none, and the load generator. Go takes part if its
/// compiler is found.
pub fn build(names: &[String]) -> Result<Vec<Peer>, String> {
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let is_known = |name: &str| name == "go" || RUST.iter().any(|(known, ..)| *known == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        return Err(format!("no peer `{unknown}`: choose from ours, tokio, smol, go, loop"));
    }
    let wanted: Vec<_> = RUST.iter().filter(|(name, ..)| is_wanted(name)).collect();
    let programs: Vec<&str> = wanted.iter().map(|(_, program, _)| *program).chain(["loadgen"]).collect();
    let folder = build_programs(&programs)?;
    let peer = |(name, program, package): (&'static str, &str, &str)| {
        let version = match name {
            OURS => OURS.to_owned(),
            "loop" => format!("loop (mio {}, one thread, no runtime)", version(package)),
            _ => format!("{name} {}", version(package)),
        };
        Peer { name, program: folder.join(program), version }
    };
    let mut peers: Vec<Peer> = wanted.into_iter().map(|row| peer(*row)).collect();
    if is_wanted("go") {
        match build_go(&folder) {
            Ok(peer) => peers.push(peer),
            Err(reason) if names.is_empty() => println!("go takes no part: {reason}"),
            Err(reason) => return Err(reason),
        }
    }
    Ok(peers)
}

/// Returns the folder in which cargo builds this package, found from this program's path in it.
pub fn target_dir() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    program.ancestors().nth(2).map(Path::to_owned).ok_or("this program is not in a target folder".to_owned())
}

/// Builds programs of this package in release and returns their folder.
pub fn build_programs(names: &[&str]) -> Result<PathBuf, String> {
    let target = target_dir()?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--release", "--target-dir"]).arg(&target);
    names.iter().for_each(|name| {
        command.args(["--bin", name]);
    });
    run(command.current_dir(PACKAGE))?;
    Ok(target.join("release"))
}

/// Builds Go's peer with the `go` of the search path, or with the program that the variable `GO` names.
fn build_go(folder: &Path) -> Result<Peer, String> {
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let output = Command::new(&go).arg("version").stderr(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", go.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).ok_or("`go version` printed no version")?.to_owned();
    let program = folder.join("go_peer");
    let mut command = Command::new(&go);
    command.current_dir(Path::new(PACKAGE).join("go")).args(["build", "-o"]).arg(&program).arg(".");
    run(command.env("GOTOOLCHAIN", "local"))?;
    Ok(Peer { name: "go", program, version })
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Returns the version of a package in the lock file.
fn version(package: &str) -> &'static str {
    let rest = LOCK.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}
