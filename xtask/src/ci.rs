//! `ci`: what belongs to a push, except `test`, in order and timed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

/// Does its work in the root and returns what it did, in numbers.
type Step = fn(&Path) -> Result<String, String>;

/// A new step is a new line here.
const STEPS: &[(&str, Step)] = &[
    ("fmt", |root| workspace(root, &["fmt", "--all", "--check"])),
    ("fmt-bare", |root| workspace(&root.join("examples/bare"), &["fmt", "--check"])),
    ("fmt-bench", |root| workspace(&root.join("examples/bench"), &["fmt", "--check"])),
    ("test-bench", |root| workspace(&root.join("examples/bench"), &["test", "--quiet", "--locked"])),
    ("clippy", |root| workspace(root, CLIPPY)),
    ("tidy", |root| own(root, &["tidy"])),
    ("doc", doc),
    ("tree", tree),
    ("loom", |root| own(root, &["loom"])),
    ("protocols", |root| own(root, &["protocols"])),
    ("mutants", |root| own(root, &["mutants", "--check"])),
    ("miri", |root| own(root, &["miri"])),
    ("cross", |root| own(root, &["cross"])),
    ("bare", |root| own(root, &["bare"])),
    ("backend", |root| own(root, &["backend", "poll"])),
    ("door", |root| own(root, &["door"])),
    ("sizes", |root| own(root, &["sizes"])),
    ("examples", examples),
    ("package", package),
    ("demo", |root| own(root, &["demo", "--conns", "1000", "--seconds", "3"])),
    ("soak", |root| own(root, &["soak", "--conns", "500", "--pause", "100", "--seconds", "20"])),
    ("chaos", |root| own(root, &["chaos", "--seconds", "20"])),
];

const CLIPPY: &[&str] = &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];

const EXAMPLE_LIMIT: Duration = Duration::from_secs(30);

/// Runs all steps, or those that the arguments name, to the last one even when one fails.
pub fn run(args: &[String]) -> Outcome {
    let (root, names) = cmd::take_root(args)?;
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        let known: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
        return Err(format!("no step `{unknown}`; the steps are {}", known.join(", ")));
    }
    let mut rows = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        println!("== {name}");
        let start = Instant::now();
        let result = step(&root);
        if let Err(reason) = &result {
            println!("{name}: {reason}");
        }
        rows.push((name, start.elapsed().as_secs_f64(), result));
    }
    println!("\n{:<10} {:>8}  result", "step", "seconds");
    for (name, seconds, result) in &rows {
        let told = result.as_ref().map_or_else(|reason| format!("RED: {reason}"), Clone::clone);
        println!("{name:<10} {seconds:>8.1}  {told}");
    }
    let green = rows.iter().filter(|(.., result)| result.is_ok()).count();
    let seconds: f64 = rows.iter().map(|(_, seconds, _)| seconds).sum();
    println!("ci: {green} of {} steps green, {seconds:.1} s", rows.len());
    if green == rows.len() { Ok(()) } else { Err(String::new()) }
}

/// Another command of this program, as a user would start it; its last line is its number.
fn own(root: &Path, args: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?;
    let mut command = Command::new(program);
    let (status, output) = cmd::stream(command.current_dir(root).args(args))?;
    let last = output.lines().rfind(|line| !line.trim().is_empty()).ok_or("printed nothing")?.trim();
    cmd::checked(&command, status).map_err(|reason| format!("{reason}: {last}"))?;
    Ok(last.to_owned())
}

/// A cargo command over the whole workspace; the number of packages is its number.
fn workspace(root: &Path, args: &[&str]) -> Result<String, String> {
    cmd::run(&mut cmd::cargo(root, args))?;
    let metadata = cmd::capture(&mut cmd::cargo(root, &["metadata", "--no-deps", "--format-version", "1"]))?;
    match metadata.matches("\"manifest_path\":").count() {
        0 => Err("the workspace has no package".to_owned()),
        count => Ok(format!("{count} packages")),
    }
}

fn doc(root: &Path) -> Result<String, String> {
    let mut command = cmd::cargo(root, &["doc", "--no-deps", "-p", "netpoll-core", "-p", "netpoll-rt"]);
    cmd::run(command.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    let mut pages = Vec::new();
    for name in ["netpoll_core", "netpoll_rt"] {
        cmd::files_under(&cmd::target_dir(root)?.join("doc").join(name), &|_| false, &mut pages)?;
    }
    Ok(format!("{} pages", pages.len()))
}

/// The default build compiles neither the peer that we are measured against nor the model checker.
fn tree(root: &Path) -> Result<String, String> {
    let args = ["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cmd::capture(&mut cmd::cargo(root, &args))?;
    let mut names: Vec<&str> = output.lines().filter_map(|line| line.split(' ').next()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    match names.iter().find(|name| ["tokio", "loom", "shuttle"].contains(name)) {
        _ if names.is_empty() => Err("cargo tree shows no package".to_owned()),
        Some(name) => Err(format!("the default build compiles {name}")),
        None => Ok(format!("{} crates, neither tokio nor a model checker", names.len())),
    }
}

/// Every program that shows something must run to its end by itself.
fn examples(root: &Path) -> Result<String, String> {
    let built = cmd::build(root, "netpoll-examples", &["--bins"])?;
    let sources = root.join("examples/src/bin");
    let entries = std::fs::read_dir(&sources).map_err(|e| format!("{}: {e}", sources.display()))?;
    let stem = |entry: std::fs::DirEntry| Some(entry.path().file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(stem).collect();
    names.sort();
    let mut failed = Vec::new();
    for name in &names {
        let log = built.join(format!("{name}.log"));
        match cmd::limited(&mut Command::new(built.join(name)), EXAMPLE_LIMIT, &log) {
            Ok(seconds) => println!("{name}: {seconds:.2} s"),
            Err(reason) => failed.push(format!("{name}: {reason}")),
        }
    }
    match (names.len(), failed.is_empty()) {
        (0, _) => Err("there is no example".to_owned()),
        (count, true) => Ok(format!("{count} examples ran")),
        (_, false) => Err(failed.join("; ")),
    }
}

/// Packs both crates and builds each from its package, as a user of the registry would. In one call cargo takes the
/// one from the package of the other, so nothing has to be published first (cargo 1.90 or later).
fn package(root: &Path) -> Result<String, String> {
    cmd::run(&mut cmd::cargo(root, &["package", "-p", "netpoll-core", "-p", "netpoll-rt", "--allow-dirty"]))?;
    let mut files = Vec::new();
    cmd::files_under(&cmd::target_dir(root)?.join("package"), &|path| path.is_dir(), &mut files)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "crate"));
    let bytes: u64 = files.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
    match files.len() {
        0 => Err("no package was written".to_owned()),
        count => Ok(format!("{count} packages, {bytes} bytes")),
    }
}
