//! `ci`: everything that a push runs, except `test`, in order and timed. `nightly`: the steps that take too long for a
//! push.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use xtask::{Outcome, cmd};

use crate::app;
use crate::runtimes;
use crate::test::count_passed;
use crate::upstream;

/// A function that does its work in the root and returns what it did, in numbers.
type Step = fn(&Path) -> Result<String, String>;

/// The steps of a push. A new step is a new line here.
const STEPS: &[(&str, Step)] = &[
    ("fmt", |root| workspace(root, &["fmt", "--all", "--check"])),
    ("fmt-bare", |root| workspace(&root.join("examples/bare"), &["fmt", "--check"])),
    ("fmt-bench", |root| workspace(&root.join("examples/bench"), &["fmt", "--check"])),
    ("fmt-apps", |root| workspace(&root.join("examples/apps"), &["fmt", "--check"])),
    ("test-bench", |root| workspace(&root.join("examples/bench"), &["test", "--quiet", "--test", "bench"])),
    ("web", web),
    ("app", app::ci),
    ("runtimes", runtimes::ci),
    ("conform", |root| own(root, &["conform", "tokio", "--listed"])),
    ("clippy", |root| workspace(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("clippy-user", clippy_user),
    ("tidy", |root| own(root, &["tidy"])),
    ("doc", doc),
    ("tree", tree),
    ("features", features),
    ("loom", |root| own(root, &["loom"])),
    ("protocols", |root| own(root, &["protocols"])),
    ("mutants", |root| own(root, &["mutants", "--check"])),
    ("miri", |root| own(root, &["miri"])),
    ("cross", |root| own(root, &["cross"])),
    ("bare", |root| own(root, &["bare"])),
    ("suites", suites),
    ("sim", |root| own(root, &["sim"])),
    ("sim-faults", |root| own(root, &["sim", "--faults", "2000000"])),
    ("sizes", |root| own(root, &["sizes"])),
    ("examples", examples),
    ("package", package),
    ("demo", |root| own(root, &["demo", "--conns", "1000", "--seconds", "3"])),
    ("soak", |root| own(root, &["soak", "--conns", "500", "--pause", "100", "--seconds", "20"])),
    ("chaos", |root| own(root, &["chaos", "--seconds", "20"])),
];

/// The steps of a night.
const NIGHT: &[(&str, Step)] = &[
    ("loom", |root| own(root, &["loom", "--deep"])),
    ("mutants", |root| own(root, &["mutants", "--check", "--deep"])),
    ("sim-seeds", |root| own(root, &["sim", "--seeds", "20000"])),
    ("sim-ops", |root| own(root, &["sim", "--ops", "--seeds", "1000000"])),
    ("sim-poll", |root| own(root, &["sim", "poll"])),
    ("sim-replay", |root| own(root, &["sim", "replay"])),
    ("sim-compare", |root| own(root, &["sim", "compare"])),
    ("sim-mutants", |root| own(root, &["sim", "--mutants"])),
    ("sim-tokio", |root| own(root, &["sim", "tokio"])),
    ("strace", |root| own(root, &["strace"])),
    ("faults", |root| own(root, &["backend", "poll", "--faults"])),
    ("conform", |root| own(root, &["conform"])),
    ("facade", facade),
    ("conform-1", |root| own(root, &["conform", "tokio"])),
    ("conform-4", |root| own(root, &["conform", "tokio", "--workers", "4"])),
    ("cross", |root| own(root, &["cross", "--run"])),
    ("app", app::lint),
    ("lint-apps", |root| {
        workspace(&root.join("examples/apps"), &["clippy", "--locked", "--", "-D", "warnings"])
    }),
    ("lint-web", |root| {
        workspace(&root.join("examples/web"), &["clippy", "--all-targets", "--", "-D", "warnings"])
    }),
    ("scale", |root| own(root, &["bench", "scale", "--rounds", "1", "--secs", "0.3"])),
    ("apps", |root| own(root, &["bench", "apps", "--rounds", "1"])),
    ("sim-faults", |root| own(root, &["sim", "--faults", "20000000"])),
    ("asan", asan),
    ("soak", |root| own(root, &["soak", "--minutes", "10", "--limits"])),
    ("chaos", |root| own(root, &["chaos", "--minutes", "10"])),
];

/// The time that one example may take.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(30);

/// The target of the address sanitizer, spelled out so that build scripts are built without it.
const ASAN_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The tests that leak on purpose: a program that forgets operations, panics in destructors and drops in a forked child, and
/// a test that forgets the guard of a thread.
const LEAKS: &str = "leak:deps/hostile-\nleak:it::enter::a_thread_ends_with_its_guards\n";

pub fn run(args: &[String]) -> Outcome {
    steps("ci", STEPS, args)
}

pub fn nightly(args: &[String]) -> Outcome {
    steps("nightly", NIGHT, args)
}

/// Runs all steps, or those that the arguments name, to the last one even when one fails.
fn steps(word: &str, steps: &[(&str, Step)], args: &[String]) -> Outcome {
    let (root, names) = cmd::take_root(args)?;
    if let Some(unknown) = names.iter().find(|name| !steps.iter().any(|(step, _)| step == name)) {
        let known: Vec<&str> = steps.iter().map(|(step, _)| *step).collect();
        return Err(format!("no step `{unknown}`; the steps are {}", known.join(", ")));
    }
    let mut rows = Vec::new();
    for (name, step) in steps.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        println!("== {name}");
        let start = Instant::now();
        let result = step(&root);
        if let Err(reason) = &result {
            println!("{name}: {reason}");
        }
        rows.push((name, start.elapsed().as_secs_f64(), result));
    }
    println!("\n{:<11} {:>8}  result", "step", "seconds");
    for (name, seconds, result) in &rows {
        let line = result.as_ref().map_or_else(|reason| format!("RED: {reason}"), Clone::clone);
        println!("{name:<11} {seconds:>8.1}  {line}");
    }
    let green = rows.iter().filter(|(.., result)| result.is_ok()).count();
    let seconds: f64 = rows.iter().map(|(_, seconds, _)| seconds).sum();
    println!("{word}: {green} of {} steps green, {seconds:.1} s", rows.len());
    if green == rows.len() { Ok(()) } else { Err(String::new()) }
}

/// Runs the suite with poll(2) and with each call interrupted, side by side: each waits for more than half of its time.
fn suites(root: &Path) -> Result<String, String> {
    let mut door = this_program(root, &["door"])?;
    thread::scope(|scope| {
        let door = scope.spawn(move || door.output().map(|output| (output, door)));
        let poll = own(root, &["backend", "poll"]);
        let joined = door.join().map_err(|_| "the thread that waits for `door` panicked")?;
        let (output, door) = joined.map_err(|e| format!("door: {e}"))?;
        let text = [output.stderr, output.stdout].concat();
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        match (poll, last_line(&door, output.status, &text)) {
            (Err(poll), Err(door)) => Err(format!("{poll}; {door}")),
            (poll, door) => Ok(format!("{}; {}", poll?, door?)),
        }
    })
}

/// Runs another command of this program, as a user would start it; returns its last line.
fn own(root: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = this_program(root, args)?;
    let (status, output) = cmd::stream(&mut command)?;
    last_line(&command, status, &output)
}

fn this_program(root: &Path, args: &[&str]) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?;
    let mut command = Command::new(program);
    command.current_dir(root).args(args);
    Ok(command)
}

/// Returns the last line of the output of a program that succeeded.
fn last_line(command: &Command, status: ExitStatus, output: &str) -> Result<String, String> {
    let last = output.lines().rfind(|line| !line.trim().is_empty()).ok_or("printed nothing")?.trim();
    cmd::checked(command, status).map_err(|reason| format!("{reason}: {last}"))?;
    Ok(last.to_owned())
}

/// Runs a cargo command over a whole workspace; returns the number of packages.
fn workspace(root: &Path, args: &[&str]) -> Result<String, String> {
    cmd::run(&mut cmd::cargo(root, args))?;
    match cmd::metadata(root)?.matches("\"manifest_path\":").count() {
        0 => Err("the workspace has no package".to_owned()),
        count => Ok(format!("{count} packages")),
    }
}

/// Checks the runtime as a user builds it: without the cfg of its tests, which would hide dead code.
fn clippy_user(root: &Path) -> Result<String, String> {
    let mut command = cmd::cargo(root, &["clippy", "-p", "netpoll-rt", "--", "-D", "warnings"]);
    // Other flags rebuild every crate, so this build has a folder of its own.
    cmd::run(command.env("RUSTFLAGS", "").env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join("user")))?;
    Ok("netpoll-rt without the cfg of its tests".to_owned())
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

/// Checks the runtime with its features, documents it as docs.rs does, and tests them under the crates that they are for, in
/// a package outside the workspace. Fault injection counts the system calls there.
fn features(root: &Path) -> Result<String, String> {
    let package = root.join("std-rt/tests/features");
    let target = cmd::target_dir(root)?.join("features");
    let cargo = |dir: &Path, args: &[&str]| {
        let mut command = cmd::cargo(dir, args);
        command.env("CARGO_TARGET_DIR", &target).env("RUSTDOCFLAGS", "-Dwarnings");
        command.env("RUSTFLAGS", format!("{} --cfg netpoll_door", cmd::INTERNAL));
        command
    };
    for feature in ["hyper", "macros", "tokio", "tracing"] {
        cmd::run(&mut cargo(root, &["check", "-p", "netpoll-rt", "--features", feature]))?;
    }
    cmd::run(&mut cargo(root, &["clippy", "-p", "netpoll-rt", "--all-features", "--", "-D", "warnings"]))?;
    cmd::run(&mut cargo(root, &["doc", "--no-deps", "-p", "netpoll-rt", "--all-features"]))?;
    cmd::run(&mut cargo(&package, &["fmt", "--check"]))?;
    cmd::run(&mut cargo(&package, &["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    let programs =
        ["test", "-p", "netpoll-rt", "--features", "macros,tracing", "--test", "macros", "--test", "tracing"];
    let examples = ["test", "-p", "netpoll-rt", "--features", "macros,tracing", "--doc", "--", "src/lib.rs"];
    let mut count = 0;
    for (dir, args) in [(&*package, &["test"][..]), (root, &programs), (root, &examples)] {
        let mut command = cargo(dir, args);
        let (status, output) = cmd::stream(&mut command)?;
        cmd::checked(&command, status)?;
        match count_passed(&output) {
            0 => return Err(format!("no test ran: cargo {}", args.join(" "))),
            passed => count += passed,
        }
    }
    Ok(format!("{count} tests of the features"))
}

/// Checks that the default build compiles neither another runtime nor a model checker.
fn tree(root: &Path) -> Result<String, String> {
    let args = ["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cmd::capture(&mut cmd::cargo(root, &args))?;
    let mut names: Vec<&str> = output.lines().filter_map(|line| line.split(' ').next()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    match names.iter().find(|name| ["tokio", "hyper", "loom", "shuttle"].contains(name)) {
        _ if names.is_empty() => Err("cargo tree shows no package".to_owned()),
        Some(name) => Err(format!("the default build compiles {name}")),
        None => Ok(format!("{} crates, neither tokio, hyper nor a model checker", names.len())),
    }
}

/// Checks and tests the package of the ecosystem's libraries.
fn web(root: &Path) -> Result<String, String> {
    let (package, target) = (root.join("examples/web"), cmd::target_dir(root)?.join("web"));
    let cargo = |args: &[&str]| {
        let mut command = cmd::cargo(&package, args);
        command.env("CARGO_TARGET_DIR", &target);
        command
    };
    cmd::run(&mut cargo(&["fmt", "--check"]))?;
    // A test whose program is not installed says so, which is only seen without capture.
    let mut command = cargo(&["test", "--test", "it", "--", "--nocapture"]);
    let (status, output) = cmd::stream(&mut command)?;
    cmd::checked(&command, status)?;
    match count_passed(&output) {
        0 => Err("no test of the libraries ran".to_owned()),
        count => Ok(format!("{count} tests, {} skipped", output.matches("skipped: ").count())),
    }
}

/// Checks the facade of tokio's API, tests it, and compares its names with tokio's.
fn facade(root: &Path) -> Result<String, String> {
    let package = root.join("std-rt/tokio");
    cmd::run(&mut upstream::cargo(root, &package, &["fmt", "--check"])?)?;
    let lint = ["clippy", "--all-targets", "--features", "full", "--", "-D", "warnings"];
    cmd::run(&mut upstream::cargo(root, &package, &lint)?)?;
    let tests = ["test", "--features", "full"];
    let (status, output) = cmd::stream(&mut upstream::cargo(root, &package, &tests)?)?;
    let names = own(root, &["conform", "tokio-names"])?;
    match count_passed(&output) {
        count if count > 0 && status.success() => Ok(format!("{count} tests; {names}")),
        _ => Err("a test of the facade failed, or none ran".to_owned()),
    }
}

/// Runs every example; each must end by itself.
fn examples(root: &Path) -> Result<String, String> {
    let built = cmd::build(root, "netpoll-examples", &["--bins"])?;
    let sources = root.join("examples/src/bin");
    let entries = fs::read_dir(&sources).map_err(|e| format!("{}: {e}", sources.display()))?;
    let stem = |entry: fs::DirEntry| Some(entry.path().file_stem()?.to_string_lossy().into_owned());
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

/// Packs the crates and builds each from its package, as a user of the registry would. In one call cargo takes each
/// from the package of the others, so nothing has to be published first (cargo 1.90 or later). The target folder is
/// fresh, and so are the unpacked sources: for the same target folder and version cargo would build rt on an older core.
fn package(root: &Path) -> Result<String, String> {
    let target = cmd::target_dir(root)?.join("packing");
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
    }
    remove_unpacked(&["netpoll-core", "netpoll-macros", "netpoll-rt"])?;
    let args = [
        "package",
        "-p",
        "netpoll-core",
        "-p",
        "netpoll-macros",
        "-p",
        "netpoll-rt",
        "--allow-dirty",
        "--target-dir",
    ];
    cmd::run(cmd::cargo(root, &args).arg(&target).env("RUSTFLAGS", ""))?;
    let mut files = Vec::new();
    cmd::files_under(&target.join("package"), &|path| path.is_dir(), &mut files)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "crate"));
    let bytes: u64 = files.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
    match files.len() {
        0 => Err("no package was written".to_owned()),
        count => Ok(format!("{count} packages, {bytes} bytes")),
    }
}

/// Removes the sources that cargo has unpacked for packages that are only packed, not published. Their folders lie in those
/// of registries without a host, whose names begin with a hyphen.
fn remove_unpacked(packages: &[&str]) -> Result<(), String> {
    let Some(home) =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
    else {
        return Ok(());
    };
    let Ok(registries) = fs::read_dir(home.join("registry/src")) else {
        return Ok(());
    };
    for registry in registries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with('-'))
    {
        for source in fs::read_dir(registry.path()).into_iter().flatten().flatten() {
            let name = source.file_name().to_string_lossy().into_owned();
            if packages
                .iter()
                .any(|package| name.strip_prefix(package).is_some_and(|rest| rest.starts_with('-')))
            {
                fs::remove_dir_all(source.path()).map_err(|e| format!("{}: {e}", source.path().display()))?;
            }
        }
    }
    Ok(())
}

/// Runs the tests of core and std-rt with the address sanitizer.
fn asan(root: &Path) -> Result<String, String> {
    let target = cmd::target_dir(root)?.join("asan");
    let leaks = target.join("leaks.txt");
    fs::create_dir_all(&target)
        .and_then(|()| fs::write(&leaks, LEAKS))
        .map_err(|e| format!("{}: {e}", leaks.display()))?;
    let tests = ["test", "--target", ASAN_TARGET, "--tests", "-p", "netpoll-core", "-p", "netpoll-rt"];
    let mut command = cmd::cargo(root, &tests);
    // The stable toolchain has the sanitizer's library, but takes the flag only as a nightly one.
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", format!("-Zsanitizer=address {}", cmd::INTERNAL))
        .env("LSAN_OPTIONS", format!("suppressions={}", leaks.display()));
    let (status, output) = cmd::stream(&mut command)?;
    cmd::checked(&command, status)?;
    match count_passed(&output) {
        0 => Err("no test ran under the address sanitizer".to_owned()),
        count => Ok(format!("{count} tests under the address sanitizer")),
    }
}
