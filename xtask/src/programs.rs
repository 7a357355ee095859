//! The commands that build a program of `examples/` and become it: its arguments, its output, its exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::{Outcome, cmd};

use crate::bare;

/// The package of the programs that load the runtime, in the workspace.
const LOAD: &str = "netpoll-load";

pub fn demo(args: &[String]) -> Outcome {
    load("demo", args)
}

pub fn soak(args: &[String]) -> Outcome {
    load("soak", args)
}

pub fn chaos(args: &[String]) -> Outcome {
    load("chaos", args)
}

/// Shows what the programs for a chip take, and runs the program that compares the sizes of types with their limits.
pub fn sizes(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    match bare::all_sizes(&root) {
        Ok(programs) => {
            for (name, sizes) in programs {
                println!("{name}: flash {} bytes, RAM {} bytes without the stack", sizes.flash, sizes.ram);
            }
        }
        Err(reason) => println!("flash and RAM on a chip are not shown: {reason}"),
    }
    load("sizes", args)
}

/// Runs the benchmark: `apps` is a package of its own, and so is the rest. Both are outside the workspace, so that the default
/// build compiles no other runtime.
pub fn bench(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    if let Some(("apps", rest)) = rest.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        let tools = outside(&root, "bench", &["loadgen", "loop_peer"])?;
        let apps = apps(&root)?;
        return become_it(Command::new(apps).arg("--tools").arg(tools).args(rest));
    }
    let mut command = cmd::cargo(Path::new("."), &["run", "--quiet", "--release", "--bin", "bench"]);
    command.arg("--manifest-path").arg(root.join("examples/bench/Cargo.toml")).arg("--").args(rest);
    become_it(command.env("CARGO_TARGET_DIR", cmd::target_dir(&root)?.join("bench")))
}

/// Builds the program that measures real loads, and returns its path.
pub fn apps(root: &Path) -> Result<PathBuf, String> {
    Ok(outside(root, "apps", &["netpoll-apps"])?.join("netpoll-apps"))
}

/// Builds programs of a package outside the workspace, and returns their folder.
fn outside(root: &Path, package: &str, programs: &[&str]) -> Result<PathBuf, String> {
    let target = cmd::target_dir(root)?.join(package);
    let mut command = cmd::cargo(Path::new("."), &["build", "--quiet", "--release", "--locked"]);
    command.arg("--manifest-path").arg(root.join("examples").join(package).join("Cargo.toml"));
    programs.iter().for_each(|program| {
        command.args(["--bin", program]);
    });
    cmd::run(command.env("CARGO_TARGET_DIR", &target))?;
    Ok(target.join("release"))
}

fn load(name: &str, args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    become_it(Command::new(cmd::build(&root, LOAD, &["--bin", name])?.join(name)).args(rest))
}

fn become_it(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    match status.code() {
        Some(code) => std::process::exit(code),
        None => Err(format!("the program was killed: {status}")),
    }
}
