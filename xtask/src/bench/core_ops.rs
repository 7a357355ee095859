//! Instructions of one operation of the core, beside Go's algorithm, counted by callgrind: no clock, so no noise.

use std::path::Path;
use std::process::Command;

use super::count;
use xtask::{Outcome, cmd};

/// Repetitions of the shorter run; the longer makes twice as many.
const SHORT: usize = 20_000;

pub fn run(root: &Path) -> Outcome {
    let program = cmd::build_examples(root, &["--bin", "core_bench"])?.join("core_bench");
    let names = cmd::capture(Command::new(&program).arg("list"))?;
    println!("{:<20} {:>6} {:>6}  ours/Go", "instructions", "ours", "Go");
    let mut count = 0;
    for name in names.lines() {
        let (ours, go) = (per_operation(&program, "ours", name)?, per_operation(&program, "go", name)?);
        println!("{name:<20} {ours:>6.0} {go:>6.0}  {:.2}", ours / go);
        count += 1;
    }
    match count {
        0 => Err("the bench lists no operation".to_owned()),
        count => {
            println!("bench: {count} operations");
            Ok(())
        }
    }
}

fn per_operation(program: &Path, whose: &str, name: &str) -> Result<f64, String> {
    let short = instructions(program, &[whose, name, &SHORT.to_string()])?;
    let long = instructions(program, &[whose, name, &(2 * SHORT).to_string()])?;
    Ok((long - short) / SHORT as f64)
}

fn instructions(program: &Path, args: &[&str]) -> Result<f64, String> {
    let mut command = Command::new("valgrind");
    command.args(count::CALLGRIND).arg(program).args(args);
    let output =
        command.output().map_err(|e| format!("valgrind: {e} (it counts the instructions; install it)"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    count::collected(&told)
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("callgrind counted nothing: {told}"))
}
