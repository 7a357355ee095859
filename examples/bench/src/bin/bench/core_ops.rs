//! The instructions of single operations of the core beside those of Go's algorithm, counted by callgrind.

use std::path::Path;
use std::process::Command;

use crate::measure::{CALLGRIND, instructions};
use crate::peers;

/// The repetitions of the shorter run. The longer run makes twice as many.
const SHORT: usize = 20_000;

pub fn run() -> Result<(), String> {
    let program = peers::build_programs(&["core_bench"])?.join("core_bench");
    let names = Command::new(&program).arg("list").output().map_err(|error| error.to_string())?;
    println!("{:<20} {:>6} {:>6}  ours/Go", "instructions", "ours", "Go");
    let mut count = 0;
    for name in String::from_utf8_lossy(&names.stdout).lines() {
        let (ours, go) = (per_operation(&program, "ours", name)?, per_operation(&program, "go", name)?);
        println!("{name:<20} {ours:>6.0} {go:>6.0}  {:.2}", ours / go);
        count += 1;
    }
    println!("bench: {count} operations");
    if count == 0 { Err("the list of operations is empty".to_owned()) } else { Ok(()) }
}

fn per_operation(program: &Path, whose: &str, name: &str) -> Result<f64, String> {
    let count = |repetitions: usize| {
        let [valgrind, options @ ..] = CALLGRIND;
        let mut command = Command::new(valgrind);
        command.args(options).arg(program).args([whose, name, &repetitions.to_string()]);
        let output = command.output().map_err(|error| format!("{valgrind}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        instructions(&text).filter(|_| output.status.success()).ok_or(format!("callgrind failed: {text}"))
    };
    Ok((count(2 * SHORT)? - count(SHORT)?) / SHORT as f64)
}
