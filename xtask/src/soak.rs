//! `soak`: a long run under deadlines, random closes and cancelled reads, with a watchdog for lost wakeups.

use std::process::Command;

use crate::{Outcome, cmd};

/// As many descriptors as may be had: each process needs one for each connection.
const RAISED: &str = "ulimit -n \"$(ulimit -Hn)\" 2>&-; exec \"$@\"";

/// Builds the soak and runs it: its arguments, its output, its verdict.
pub fn run(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    let soak = cmd::build_examples(&root, &["--bin", "soak"])?.join("soak");
    cmd::run(Command::new("sh").args(["-c", RAISED, "sh"]).arg(soak).args(rest))
}
