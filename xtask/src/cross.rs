//! `cross`: core for machines without std, and the runtime with its tests for macOS and the BSDs; with `--run` also for
//! 32-bit Linux, where this machine runs them. It needs a standard library for each: rustup's, if the target was added, or
//! Debian's compiler, which comes with the library's source.

mod runtime;
mod way;

use std::path::Path;
use std::time::Instant;

pub use way::{Way, linker};
use xtask::{Outcome, cmd};

struct Target {
    triple: &'static str,
    /// Added to cargo's arguments.
    features: &'static [&'static str],
    /// Added to the compiler's flags.
    flags: &'static str,
}

const fn plain(triple: &'static str) -> Target {
    Target { triple, features: &[], flags: "" }
}

const TARGETS: &[Target] = &[
    // No compare-and-swap: portable-atomic masks interrupts for a few instructions instead. It asks the program, not a
    // library, to promise that there is one core (or to bring a critical section), so core's feature leaves that open;
    // here it is promised as such a program would.
    Target {
        triple: "thumbv6m-none-eabi",
        features: &["--features", "portable-atomic"],
        flags: " --cfg portable_atomic_unsafe_assume_single_core",
    },
    plain("thumbv7em-none-eabihf"),
    plain("riscv32imac-unknown-none-elf"),
    plain("x86_64-unknown-none"),
    // The one with an operating system: generations of 24 bits beside 64-bit atomics.
    plain("i686-unknown-linux-gnu"),
];

/// Checks every target; warnings are errors.
pub fn run(args: &[String]) -> Outcome {
    let (root, words) = cmd::take_root(args)?;
    let runs = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--run"] => true,
        _ => return Err(format!("understands `--run` and nothing else: {}", words.join(" "))),
    };
    println!("{:<30} {:<8} {:>8}  result", "target", "way", "seconds");
    let mut red = 0;
    for target in TARGETS {
        red += row(target.triple, |way| check(&root, way, target).map(|()| "core".to_owned()));
    }
    let systems = || runtime::SYSTEMS.iter().filter(|system| runs || !system.is_run());
    for system in systems() {
        red += row(system.triple, |way| runtime::check(&root, way, system));
    }
    let targets = TARGETS.len() + systems().count();
    println!("cross: {} of {targets} targets green", targets - red);
    if red == 0 { Ok(()) } else { Err(String::new()) }
}

/// One line of the table; 1 if it is red.
fn row(triple: &str, check: impl FnOnce(&Way) -> Result<String, String>) -> usize {
    let start = Instant::now();
    let (name, result) = match Way::to(triple) {
        Ok(way) => (way.name(), check(&way)),
        Err(reason) => ("none", Err(reason)),
    };
    let told = result.as_ref().map_or_else(|reason| format!("RED: {reason}"), |did| format!("ok: {did}"));
    println!("{triple:<30} {name:<8} {:>8.1}  {told}", start.elapsed().as_secs_f64());
    usize::from(result.is_err())
}

fn check(root: &Path, way: &Way, target: &Target) -> Outcome {
    let dir = cmd::target_dir(root)?.join("cross").join(way.name());
    let mut command = way.cargo(root, "check", target.triple);
    command.args(["--quiet", "--package", "netpoll-core", "--target-dir"]).arg(dir).args(target.features);
    cmd::run(command.env("RUSTFLAGS", format!("-Dwarnings{}", target.flags)))
}
