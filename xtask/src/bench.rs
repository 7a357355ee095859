//! `bench --core`: instructions of one operation of the core, beside Go's algorithm, counted by callgrind: no clock, so
//! no noise.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cmd};

/// Repetitions of the shorter run; the longer makes twice as many.
const SHORT: usize = 20_000;

pub fn run(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    if rest != ["--core"] {
        return Err("say `bench --core`".to_owned());
    }
    let program = cmd::build_examples(&root, &["--bin", "core_bench"])?.join("core_bench");
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
    let out: PathBuf = std::env::temp_dir().join(format!("netpoll-callgrind-{}", std::process::id()));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(program)
        .args(args);
    let output =
        command.output().map_err(|e| format!("valgrind: {e} (it counts the instructions; install it)"))?;
    // The profile is not what is wanted; a leftover in the temporary folder harms nobody.
    let _ = std::fs::remove_file(&out);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = told.lines().find(|line| line.contains("Collected"));
    let number = line.and_then(|line| line.rsplit(' ').next()).and_then(|number| number.parse().ok());
    number.filter(|_| output.status.success()).ok_or_else(|| format!("callgrind counted nothing: {told}"))
}
