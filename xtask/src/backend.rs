//! `backend NAME`: the suite of std-rt, the sweep of faults and the demo with a backend that is not this system's first
//! choice, each in a build of its own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::door::INJECTED;
use crate::test::{Row, parse, record, table, too_few};
use xtask::{Outcome, cmd};

/// The backends that can be forced where another one is the first choice.
const FORCED: &[&str] = &["poll"];

/// Connections and seconds of the demo: poll(2) looks at all of them whenever one is ready.
const DEMO: [&str; 4] = ["--conns", "500", "--seconds", "3"];

pub fn run(args: &[String]) -> Outcome {
    let (root, args) = cmd::take_root(args)?;
    let (bless, names): (Vec<String>, Vec<String>) = args.into_iter().partition(|arg| arg == "--bless");
    let [name] = names.as_slice() else { return Err(format!("needs one of {}", FORCED.join(", "))) };
    if !FORCED.contains(&name.as_str()) {
        return Err(format!("no backend `{name}` to force; needs one of {}", FORCED.join(", ")));
    }
    let start = Instant::now();
    let forced = format!("--cfg netpoll_backend=\"{name}\"");
    println!("-- the suite");
    let (suite, suite_red) = tests(&root, &["--tests"], &forced, name)?;
    println!("-- the tests of the door");
    let (faults, faults_red) =
        tests(&root, INJECTED, &format!("{forced} --cfg netpoll_door"), &format!("{name}-door"))?;
    println!("-- the demo");
    demo(&root, &forced, name)?;
    let (minimums, ran, injected) = (root.join("xtask/minimums.txt"), passed(&suite), passed(&faults));
    println!(
        "{name}: {ran} tests, {injected} tests of the door and the demo, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    suite_red.or(faults_red).map_or(Ok(()), Err)?;
    for (what, ran) in [(name.clone(), ran), (format!("{name}-door"), injected)] {
        if !bless.is_empty() {
            record(&minimums, &what, ran)?;
        }
        too_few(&minimums, &what, ran).map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn passed(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.passed).sum()
}

/// Runs tests of std-rt with flags, in a folder of their own; the second value says what failed.
fn tests(
    root: &Path,
    pick: &[&str],
    flags: &str,
    folder: &str,
) -> Result<(Vec<Row>, Option<String>), String> {
    let mut command = cmd::cargo(root, &["test", "-p", "netpoll-rt", "--no-fail-fast"]);
    command.args(pick).env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join(folder)).env("RUSTFLAGS", flags);
    let start = Instant::now();
    let (status, output) = cmd::stream(&mut command)?;
    let rows = parse(&output);
    table(&rows, start.elapsed().as_secs_f64());
    Ok((rows, cmd::checked(&command, status).err()))
}

fn demo(root: &Path, flags: &str, folder: &str) -> Outcome {
    let target = cmd::target_dir(root)?.join(folder);
    let mut build =
        cmd::cargo(root, &["build", "--quiet", "--release", "-p", "netpoll-load", "--bin", "demo"]);
    cmd::run(build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", flags))?;
    cmd::run(Command::new(target.join("release/demo")).args(DEMO))
}
