//! `test`: every test and doc test of the workspace, counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

/// What one test program reported.
pub struct Row {
    target: String,
    pub passed: usize,
    pub failed: usize,
    ignored: usize,
    seconds: String,
}

/// Runs the suite. The last line of the output is `N passed, N failed`, alone.
pub fn run(args: &[String]) -> Outcome {
    let (bless, args): (Vec<String>, Vec<String>) = args.iter().cloned().partition(|arg| arg == "--bless");
    let root = cmd::only_root(&args)?;
    let target = cmd::target_dir(&root)?;
    let before = processes(&target);
    let start = Instant::now();
    let (rows, mut wrong) = suite(&root)?;
    let passed: usize = rows.iter().map(|row| row.passed).sum();
    let counted: usize = rows.iter().map(|row| row.failed).sum();
    // A program that died or did not compile has no line of its own, and is a failure all the same.
    let failed = if wrong.is_empty() { counted } else { counted.max(1) };
    table(&rows, start.elapsed().as_secs_f64());
    wrong.extend(left_over(&target, &before));
    let minimums = root.join("xtask/minimums.txt");
    if !bless.is_empty() && failed == 0 && wrong.is_empty() && passed > 0 {
        record(&minimums, "tests", passed)?;
        println!("recorded: tests {passed}");
    } else {
        wrong.extend(too_few(&minimums, "tests", passed));
    }
    for reason in &wrong {
        println!("red: {reason}");
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && wrong.is_empty() { Ok(()) } else { Err(String::new()) }
}

/// Both halves of the suite; cargo runs doc tests only when asked for nothing else.
fn suite(root: &Path) -> Result<(Vec<Row>, Vec<String>), String> {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for half in ["--all-targets", "--doc"] {
        let mut command = cmd::cargo(root, &["test", "--workspace", half, "--no-fail-fast"]);
        let (status, output) = cmd::stream(&mut command)?;
        rows.extend(parse(&output));
        wrong.extend(cmd::checked(&command, status).err());
        if rows.is_empty() {
            break;
        }
    }
    Ok((rows, wrong))
}

/// cargo announces a program, then the program reports.
pub fn parse(output: &str) -> Vec<Row> {
    let mut target = String::new();
    let mut rows = Vec::new();
    for line in output.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("Running ").filter(|name| name.ends_with(')')) {
            target = announced(name);
        } else if let Some(name) = line.strip_prefix("Doc-tests ") {
            target = format!("{name}: doc tests");
        } else if let Some((_, report)) = line.split_once("test result: ") {
            let number = |what: &str| {
                let (left, _) = report.split_once(what)?;
                left.trim_end().rsplit(' ').next()?.parse().ok()
            };
            rows.push(Row {
                target: target.clone(),
                passed: number("passed").unwrap_or(0),
                failed: number("failed").unwrap_or(0),
                ignored: number("ignored").unwrap_or(0),
                seconds: report.rsplit("finished in ").next().unwrap_or_default().to_owned(),
            });
        }
    }
    rows
}

/// `tests/dial.rs (/target/debug/deps/dial-0123)` becomes `dial: tests/dial.rs`.
fn announced(name: &str) -> String {
    let (file, program) = name.split_once(" (").unwrap_or((name, ""));
    let stem = program.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
    let stem = stem.rsplit_once('-').map_or(stem, |(stem, _)| stem);
    format!("{stem}: {}", file.trim_start_matches("unittests "))
}

pub fn table(rows: &[Row], seconds: f64) {
    println!("\n{:>7} {:>7} {:>8} {:>8}  test program", "passed", "failed", "ignored", "seconds");
    let ran = |row: &&Row| row.passed + row.failed + row.ignored > 0;
    for row in rows.iter().filter(ran) {
        let time = row.seconds.trim_end_matches('s');
        println!("{:>7} {:>7} {:>8} {time:>8}  {}", row.passed, row.failed, row.ignored, row.target);
    }
    let with_tests = rows.iter().filter(ran).count();
    let without = rows.len() - with_tests;
    println!("{with_tests} test programs ({without} more hold no test), {seconds:.1} s with building");
}

/// Runs that did less than they once did are red: tests do not vanish unnoticed.
pub fn too_few(minimums: &Path, what: &str, passed: usize) -> Option<String> {
    let recorded = std::fs::read_to_string(minimums).unwrap_or_default();
    let number = |line: &str| line.strip_prefix(what)?.strip_prefix(' ')?.trim().parse::<usize>().ok();
    match recorded.lines().find_map(number) {
        _ if passed == 0 => Some("no test passed".to_owned()),
        None => Some(format!("{} has no line `{what} N`; --bless writes it", minimums.display())),
        Some(minimum) if passed < minimum => Some(format!("{passed} tests passed, {minimum} once did")),
        Some(_) => None,
    }
}

/// Writes our line and keeps the others.
pub fn record(minimums: &Path, what: &str, passed: usize) -> Outcome {
    // A file that is not there yet has no other lines.
    let old = std::fs::read_to_string(minimums).unwrap_or_default();
    let others = old.lines().filter(|line| line.split(' ').next() != Some(what));
    let new: String = others.chain([&*format!("{what} {passed}")]).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(minimums, new).map_err(|e| format!("{}: {e}", minimums.display()))
}

/// The running programs that were built here, by process id. Empty where there is no `/proc`.
fn processes(target: &Path) -> BTreeMap<u32, PathBuf> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let program = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let path = std::fs::read_link(entry.path().join("exe")).ok()?;
        path.starts_with(target).then_some((id, path))
    };
    entries.filter_map(program).collect()
}

/// Processes that a test started and did not end. One that is on its way out gets a second to go.
fn left_over(target: &Path, before: &BTreeMap<u32, PathBuf>) -> Vec<String> {
    let start = Instant::now();
    loop {
        let mut now = processes(target);
        now.retain(|id, _| !before.contains_key(id));
        if now.is_empty() || start.elapsed() > Duration::from_secs(1) {
            let tell = |(id, path): (&u32, &PathBuf)| format!("process {id} still runs: {}", path.display());
            return now.iter().map(tell).collect();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
