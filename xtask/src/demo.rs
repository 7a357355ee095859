//! `demo`: the echo server under a verified load.

use std::process::Command;

use xtask::{Outcome, cmd};

/// Builds the demo and becomes it: its arguments, its output, its exit code.
pub fn run(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    let built = cmd::build_examples(&root, &["--bin", "demo"])?;
    let demo = built.join("demo");
    let status = Command::new(&demo).args(rest).status().map_err(|e| format!("{}: {e}", demo.display()))?;
    match status.code() {
        Some(code) => std::process::exit(code),
        None => Err(format!("the demo was killed: {status}")),
    }
}
