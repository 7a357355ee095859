//! `chaos`: sessions that are duplicated, moved, closed, reset and given up, every byte compared.

use std::process::Command;

use xtask::{Outcome, cmd};

/// Builds the program and runs it: its arguments, its output, its verdict.
pub fn run(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    let chaos = cmd::build_examples(&root, &["--bin", "chaos"])?.join("chaos");
    cmd::run(Command::new(chaos).args(rest))
}
