//! `cross`: core for machines without std, and the runtime with its tests for macOS and the BSDs, linked for FreeBSD; with
//! `--run` linked for macOS, too, and run on 32-bit Linux. It needs a standard library for each: rustup's, if the target was
//! added, or Debian's compiler, which comes with the library's source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

use crate::bare;
use crate::test::count_passed;
use crate::toolchain::Toolchain;

/// Machines that core alone is compiled for, with its timer wheel. One cargo compiles for all of them, so that no processor
/// waits for the long chain of crates of one target.
struct Group {
    triples: &'static [&'static str],
    /// Additional arguments of cargo.
    features: &'static [&'static str],
    /// Additional flags of the compiler.
    flags: &'static str,
    /// The target for which `examples/bare` is linked, too: the tasks of its echo server under embassy-executor.
    embassy: &'static str,
}

const GROUPS: &[Group] = &[
    // They have no compare-and-swap, and the second no atomics at all: portable-atomic masks interrupts for a few
    // instructions instead. The program, not a library, must promise that there is one processor or bring a critical section,
    // so the feature of core leaves that open; the flag promises it here.
    Group {
        triples: &["thumbv6m-none-eabi", "armv4t-none-eabi"],
        features: &["--features", "portable-atomic"],
        flags: " --cfg portable_atomic_unsafe_assume_single_core",
        embassy: "thumbv6m-none-eabi",
    },
    Group {
        triples: &[
            "thumbv7em-none-eabihf",
            "riscv32imac-unknown-none-elf",
            "riscv64gc-unknown-none-elf",
            "aarch64-unknown-none",
            "x86_64-unknown-none",
            "x86_64-unknown-uefi",
            "x86_64-unknown-hermit",
            "x86_64-unknown-redox",
            // It has an operating system, and generations of 24 bits beside 64-bit atomics.
            "i686-unknown-linux-gnu",
        ],
        features: &[],
        flags: "",
        embassy: "riscv32imac-unknown-none-elf",
    },
];

/// Checks every target; warnings are errors.
pub fn run(args: &[String]) -> Outcome {
    let (root, words) = cmd::take_root(args)?;
    let runs = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--run"] => true,
        _ => return Err(format!("understands `--run` and nothing else: {}", words.join(" "))),
    };
    println!("{:<30} {:<9} {:>8}  result", "target", "toolchain", "seconds");
    let mut red = 0;
    for group in GROUPS {
        let check = |toolchain: &Toolchain, triples: &[&str]| check_core(&root, toolchain, group, triples);
        red += by_toolchain(group.triples, check);
    }
    let systems = || SYSTEMS.iter().filter(|system| runs || !system.is_run());
    let (linked, checked): (Vec<&System>, Vec<&System>) =
        systems().partition(|system| system.is_linked(runs));
    for system in linked {
        red += row(&[system.triple], |toolchain| link_runtime(&root, toolchain, system));
    }
    let checked: Vec<&str> = checked.iter().map(|system| system.triple).collect();
    red += by_toolchain(&checked, |toolchain, triples| check_runtime(&root, toolchain, triples));
    let targets = GROUPS.iter().map(|group| group.triples.len()).sum::<usize>() + systems().count();
    println!("cross: {} of {targets} targets green", targets - red);
    if red == 0 { Ok(()) } else { Err(String::new()) }
}

/// Prints a line of the table for each of the targets that are checked together, which have one toolchain. Returns their
/// number if they are red.
fn row(triples: &[&str], check: impl FnOnce(&Toolchain) -> Result<String, String>) -> usize {
    let Some((first, others)) = triples.split_first() else { return 0 };
    let start = Instant::now();
    let (name, result) = match Toolchain::to(first) {
        Ok(toolchain) => (toolchain.name(), check(&toolchain)),
        Err(reason) => ("none", Err(reason)),
    };
    let told = result.as_ref().map_or_else(|reason| format!("RED: {reason}"), |did| format!("ok: {did}"));
    println!("{first:<30} {name:<9} {:>8.1}  {told}", start.elapsed().as_secs_f64());
    for other in others {
        println!("{other:<30} {name:<9} {:>8}  {}", "", if result.is_ok() { "ok" } else { "RED" });
    }
    if result.is_err() { triples.len() } else { 0 }
}

/// Checks targets together, as far as one toolchain has them. Returns the number of red ones.
fn by_toolchain(triples: &[&str], check: impl Fn(&Toolchain, &[&str]) -> Result<String, String>) -> usize {
    let name = |triple: &str| Toolchain::to(triple).map_or("none", |toolchain| toolchain.name());
    let mut red = 0;
    for toolchain in ["rustup", "debian", "none"] {
        let triples = triples.iter().copied().filter(|triple| name(triple) == toolchain);
        let triples: Vec<&str> = triples.collect();
        red += row(&triples, |toolchain| check(toolchain, &triples));
    }
    red
}

fn check_core(root: &Path, toolchain: &Toolchain, group: &Group, triples: &[&str]) -> Result<String, String> {
    let dir = cmd::target_dir(root)?.join("cross").join(toolchain.name());
    let mut command = toolchain.cargo(root, "check", triples);
    command.args(["--quiet", "--package", "netpoll-core", "--target-dir"]).arg(dir).args(group.features);
    cmd::run(command.env("RUSTFLAGS", format!("-Dwarnings{}", group.flags)))?;
    if !triples.contains(&group.embassy) {
        return Ok("core".to_owned());
    }
    bare::link_embassy(root, group.embassy, group.features)?;
    Ok(format!("core, and TCP under embassy-executor links for {}", group.embassy))
}

/// A system that the runtime is compiled for, with its tests.
struct System {
    triple: &'static str,
    linked: Linked,
    /// The loader of such a program, if this kernel can run it.
    loader: Option<&'static str>,
}

/// When the test programs of a system are linked: generating their code takes longer than all other checks of the system.
#[derive(Clone, Copy, PartialEq)]
enum Linked {
    Always,
    /// Only with `--run`, which is nightly.
    Nightly,
    /// Zig lacks the libraries that a program of the system is linked with.
    Never,
}

const fn system(triple: &'static str, linked: Linked) -> System {
    System { triple, linked, loader: None }
}

const SYSTEMS: &[System] = &[
    system("x86_64-unknown-freebsd", Linked::Always),
    system("x86_64-apple-darwin", Linked::Nightly),
    system("aarch64-apple-darwin", Linked::Never),
    system("x86_64-unknown-netbsd", Linked::Never),
    system("x86_64-unknown-openbsd", Linked::Never),
    // Words of 32 bits: narrow generations, and deadlines in milliseconds.
    System { triple: "i686-unknown-linux-gnu", linked: Linked::Always, loader: Some("/lib/ld-linux.so.2") },
];

/// The time that one test program may take.
const LIMIT: Duration = Duration::from_secs(600);

/// The least number of test programs that each system must have.
const FEWEST: usize = 7;

/// The format of cargo's messages: artifacts as data, errors for people.
const MESSAGES: &str = "json-render-diagnostics";

impl System {
    /// Returns whether its tests are run, which takes too long for a push.
    fn is_run(&self) -> bool {
        self.loader.is_some()
    }

    /// Returns whether its test programs are linked, if there is zig.
    fn is_linked(&self, nightly: bool) -> bool {
        self.linked == Linked::Always || nightly && self.linked == Linked::Nightly
    }
}

/// Checks std-rt and all its tests for some systems at once, so that no processor waits for the long check of one program;
/// warnings are errors.
fn check_runtime(root: &Path, toolchain: &Toolchain, triples: &[&str]) -> Result<String, String> {
    let mut command = toolchain.cargo_with_std(root, None, "check", triples);
    let output = test_programs(root, toolchain, &mut command)?;
    let mut fewest = usize::MAX;
    for triple in triples {
        // The path of each artifact names its target.
        let folder = format!("/{triple}/");
        let compiled = output.lines().filter(|line| is_test_program(line) && line.contains(&folder)).count();
        if compiled < FEWEST {
            return Err(format!("only {compiled} test programs for {triple}, of at least {FEWEST}"));
        }
        fewest = fewest.min(compiled);
    }
    Ok(format!("{fewest} test programs compile"))
}

/// Compiles std-rt and all its tests for a system, links them, and runs them if that can be done; warnings are errors.
fn link_runtime(root: &Path, toolchain: &Toolchain, system: &System) -> Result<String, String> {
    let Some(zig) = zig(root)? else {
        let compiled = check_runtime(root, toolchain, &[system.triple])?;
        return Ok(format!("{compiled} (to link them: pip install cargo-zigbuild ziglang)"));
    };
    let mut command = toolchain.cargo_with_std(root, Some(&zig), "zigbuild", &[system.triple]);
    if let Some(bin) = zig.parent() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).map_err(|e| e.to_string())?);
    }
    let output = test_programs(root, toolchain, &mut command)?;
    let artifacts: Vec<&str> = output.lines().filter(|line| is_test_program(line)).collect();
    let linked: Vec<&str> = artifacts.iter().copied().filter_map(executable).collect();
    let loads = |loader| std::env::consts::OS == "linux" && Path::new(loader).exists();
    let runs = system.loader.is_some_and(loads);
    match (artifacts.len(), linked.len()) {
        (compiled, _) if compiled < FEWEST => {
            Err(format!("only {compiled} test programs, of at least {FEWEST}"))
        }
        (compiled, linked) if linked < compiled => {
            Err(format!("{linked} of {compiled} test programs were linked"))
        }
        (_, n) if runs => run_tests(root, system.triple, &linked)
            .map(|passed| format!("{n} test programs, {passed} tests passed")),
        (_, n) => Ok(format!("{n} test programs compile and link")),
    }
}

/// Runs a cargo over the tests of std-rt; returns its messages.
fn test_programs(root: &Path, toolchain: &Toolchain, command: &mut Command) -> Result<String, String> {
    let dir = cmd::target_dir(root)?.join("cross").join(toolchain.name());
    command.args(["--quiet", "--package", "netpoll-rt", "--tests", "--message-format", MESSAGES]);
    command.arg("--target-dir").arg(dir).env("RUSTFLAGS", format!("-Dwarnings {}", cmd::INTERNAL));
    // They are not debugged here, and there may be no tool to strip them.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "none");
    cmd::capture(command)
}

/// Returns whether a line of cargo's output is about a test program that was compiled.
fn is_test_program(line: &str) -> bool {
    line.starts_with("{\"reason\":\"compiler-artifact\"") && line.contains("\"kind\":[\"test\"]")
}

/// Returns the program that a line of cargo's output names.
fn executable(line: &str) -> Option<&str> {
    line.split_once("\"executable\":\"")?.1.split('"').next()
}

/// Runs the test programs; returns how many tests passed.
fn run_tests(root: &Path, triple: &str, programs: &[&str]) -> Result<usize, String> {
    let log = cmd::target_dir(root)?.join("cross").join(format!("{triple}.log"));
    let mut passed = 0;
    for program in programs {
        cmd::limited(Command::new(program).current_dir(root.join("std-rt")), LIMIT, &log)?;
        let told = std::fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        passed += count_passed(&told);
    }
    if passed == 0 { Err("no test ran".to_owned()) } else { Ok(passed) }
}

/// Finds the wrapper of cargo that links with zig: where `.ci/cross-setup` puts it, or on the search path.
fn zig(root: &Path) -> Result<Option<PathBuf>, String> {
    const NAME: &str = "cargo-zigbuild";
    let own = cmd::target_dir(root)?.join("zig/bin").join(NAME);
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search).map(|folder| folder.join(NAME));
    Ok(std::iter::once(own).chain(on_path).find(|path| path.exists()))
}
