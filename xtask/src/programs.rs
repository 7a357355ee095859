//! The commands that build a program of `examples/` and become it: its arguments, its output, its exit code.

use std::path::Path;
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

/// Runs the benchmark, a package outside the workspace, so that the default build compiles no other runtime.
pub fn bench(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    let mut command = cmd::cargo(Path::new("."), &["run", "--quiet", "--release", "--bin", "bench"]);
    command.arg("--manifest-path").arg(root.join("examples/bench/Cargo.toml")).arg("--").args(rest);
    become_it(command.env("CARGO_TARGET_DIR", cmd::target_dir(&root)?.join("bench")))
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
