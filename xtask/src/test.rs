//! `test`: every test and doc test of the workspace, counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

/// The report of one test program.
struct Row {
    target: String,
    passed: usize,
    failed: usize,
    ignored: usize,
    seconds: String,
}

/// The reports of a run of `cargo test`.
pub struct Suite {
    rows: Vec<Row>,
    /// The output of each test that failed: its name, and the first lines.
    failures: Vec<String>,
    /// The reason why the run is red.
    pub red: Option<String>,
}

/// Runs the suite. The last line of the output is `N passed, N failed`, alone.
pub fn run(args: &[String]) -> Outcome {
    let (bless, args) = cmd::take_flag(args, "--bless");
    let root = cmd::only_root(&args)?;
    let target = cmd::target_dir(&root)?;
    let (before, start) = (processes(&target), Instant::now());
    let mut suite = Suite { rows: Vec::new(), failures: Vec::new(), red: None };
    let mut red = Vec::new();
    // cargo runs doc tests only when it is asked for nothing else.
    for half in ["--all-targets", "--doc"] {
        let part = Suite::run(&mut cmd::cargo(&root, &["test", "--workspace", half, "--no-fail-fast"]))?;
        suite.rows.extend(part.rows);
        suite.failures.extend(part.failures);
        red.extend(part.red);
        if suite.rows.is_empty() {
            break;
        }
    }
    // A program that died or did not compile has no row of its own, but is a failure.
    let failed = if red.is_empty() { suite.failed() } else { suite.failed().max(1) };
    suite.print(start.elapsed());
    red.extend(left_over(&target, &before));
    red.extend(minimum(&root, "tests", suite.passed(), bless && red.is_empty()).err());
    for reason in &red {
        println!("red: {reason}");
    }
    println!("{} passed, {failed} failed", suite.passed());
    if failed == 0 && red.is_empty() { Ok(()) } else { Err(String::new()) }
}

impl Suite {
    /// Runs tests and shows their output as it comes.
    pub fn run(command: &mut Command) -> Result<Self, String> {
        let (status, output) = cmd::stream(command)?;
        let (rows, failures) = (parse(&output), failures(&output));
        Ok(Self { rows, failures, red: cmd::checked(command, status).err() })
    }

    pub fn passed(&self) -> usize {
        self.rows.iter().map(|row| row.passed).sum()
    }

    pub fn failed(&self) -> usize {
        self.rows.iter().map(|row| row.failed).sum()
    }

    /// Prints a table of the programs that have tests, and the failures in lines that `.ci/run` finds and repeats.
    pub fn print(&self, time: Duration) {
        println!("\n{:>7} {:>7} {:>8} {:>8}  test program", "passed", "failed", "ignored", "seconds");
        let ran = |row: &&Row| row.passed + row.failed + row.ignored > 0;
        for row in self.rows.iter().filter(ran) {
            let seconds = row.seconds.trim_end_matches('s');
            println!("{:>7} {:>7} {:>8} {seconds:>8}  {}", row.passed, row.failed, row.ignored, row.target);
        }
        let with_tests = self.rows.iter().filter(ran).count();
        let (without, seconds) = (self.rows.len() - with_tests, time.as_secs_f64());
        println!("{with_tests} test programs ({without} more hold no test), {seconds:.1} s with building");
        self.failures.iter().flat_map(|text| text.lines()).for_each(|line| println!("failed: {line}"));
    }
}

/// Counts the tests that passed, by the output of their programs.
pub fn count_passed(output: &str) -> usize {
    parse(output).iter().map(|row| row.passed).sum()
}

/// Reads the output of cargo, which announces a program, and of the program, which reports.
fn parse(output: &str) -> Vec<Row> {
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

/// The number of lines of a failed test that are repeated at the end.
const LINES: usize = 8;

/// Finds the failed tests in the output of test programs: their names, each with the first lines that it printed.
fn failures(output: &str) -> Vec<String> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            found.push(vec![name]);
            inside = true;
        } else if line == "failures:" {
            inside = false;
        } else if inside && !line.trim().is_empty() {
            found.last_mut().into_iter().filter(|text| text.len() <= LINES).for_each(|text| text.push(line));
        }
    }
    found.into_iter().map(|text| text.join("\n  ")).collect()
}

/// Turns `tests/dial.rs (/target/debug/deps/dial-0123)` into `dial: tests/dial.rs`.
fn announced(name: &str) -> String {
    let (file, program) = name.split_once(" (").unwrap_or((name, ""));
    let stem = program.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
    let stem = stem.rsplit_once('-').map_or(stem, |(stem, _)| stem);
    format!("{stem}: {}", file.trim_start_matches("unittests "))
}

/// Returns an error if fewer tests passed than are recorded, so that tests do not vanish unnoticed; `bless` records the
/// number and keeps the other lines.
pub fn minimum(root: &Path, what: &str, passed: usize, bless: bool) -> Outcome {
    let path = root.join("xtask/minimums.txt");
    // A file that is not there yet has no lines.
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let number = |line: &str| line.strip_prefix(what)?.strip_prefix(' ')?.trim().parse::<usize>().ok();
    match old.lines().find_map(number) {
        _ if passed == 0 => Err("no test passed".to_owned()),
        _ if bless => {
            let others = old.lines().filter(|line| line.split(' ').next() != Some(what));
            let new: String =
                others.chain([&*format!("{what} {passed}")]).flat_map(|line| [line, "\n"]).collect();
            std::fs::write(&path, new).map_err(|e| format!("{}: {e}", path.display()))?;
            println!("recorded: {what} {passed}");
            Ok(())
        }
        None => Err(format!("{} has no line `{what} N`; --bless writes it", path.display())),
        Some(minimum) if passed < minimum => Err(format!("{passed} tests passed, {minimum} are recorded")),
        Some(_) => Ok(()),
    }
}

/// Finds the running programs that were built here, by process id. Finds nothing where there is no `/proc`.
fn processes(target: &Path) -> BTreeMap<u32, PathBuf> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let program = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let path = std::fs::read_link(entry.path().join("exe")).ok()?;
        path.starts_with(target).then_some((id, path))
    };
    entries.filter_map(program).collect()
}

/// Finds processes that a test started and did not end. One that is about to end gets a second for that.
fn left_over(target: &Path, before: &BTreeMap<u32, PathBuf>) -> Vec<String> {
    let start = Instant::now();
    loop {
        let mut now = processes(target);
        now.retain(|id, _| !before.contains_key(id));
        if now.is_empty() || start.elapsed() > Duration::from_secs(1) {
            let line = |(id, path): (&u32, &PathBuf)| format!("process {id} still runs: {}", path.display());
            return now.iter().map(line).collect();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
