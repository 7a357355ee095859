//! The project's commands, one word each: `cargo xtask WORD`. The same words run on a desk and in CI.
//!
//! A command prints what it did in numbers and fails when it did nothing.

mod app;
mod bare;
mod ci;
mod conform;
mod cross;
mod json;
mod programs;
mod runtimes;
mod sim;
mod simulated;
mod strace;
mod suites;
mod test;
mod toolchain;
mod upstream;

use std::process::ExitCode;

use xtask::cmd::tool;
use xtask::{Outcome, exit_code};

type Run = fn(&[String]) -> Outcome;

/// A word, its description, its function. A new command is a new line here.
const COMMANDS: &[(&str, &str, Run)] = &[
    ("demo", "the echo server under a verified load; arguments go to the demo", programs::demo),
    ("test", "every test and doc test of the workspace; --bless records how many", test::run),
    ("loom", "the models of core, all or those whose name holds a word", |args| {
        tool("loom-tests", "verify", "loom", args)
    }),
    (
        "protocols",
        "the models of the runtime's locks and park tokens, all or those whose name holds a word",
        |args| tool("loom-tests", "verify", "protocols", args),
    ),
    ("mutants", "weakens each ordering, fence and check of core: a model must turn red", |args| {
        tool("loom-tests", "verify", "mutants", args)
    }),
    ("miri", "core's tests under Miri, with several seeds, where a nightly toolchain has it", suites::miri),
    ("tidy", "the rules of this project that neither rustc nor clippy can check", |args| {
        tool("tidy", "tidy", "tidy", args)
    }),
    (
        "style",
        "counts of the code's shape and English; --root DIR; --list [PART] names each finding",
        |args| tool("tidy", "tidy", "style", args),
    ),
    ("sizes", "bytes of the types that have a limit, and of the programs for a chip", programs::sizes),
    (
        "cross",
        "core without std; the runtime for macOS and the BSDs; --run: the suite on 32-bit Linux",
        cross::run,
    ),
    (
        "backend",
        "NAME: the suite of std-rt and the demo with poll(2) for epoll; --faults: the fault injection",
        suites::backend,
    ),
    ("bare", "core on a Cortex-M3 in QEMU: a serial line, TCP, sweeps of interrupts", bare::run),
    (
        "sim",
        "the tests of the simulation; --seeds N, --seed S [--ops]; --mutants: faults put back; --faults N; tokio; compare; poll; replay",
        sim::run,
    ),
    ("door", "the suite of std-rt with a table of faults before every system call", suites::door),
    (
        "conform",
        "[SUITE [options]]: the test suites of other projects on this runtime: quinn, async-io, tokio, tokio-names",
        conform::run,
    ),
    (
        "upstream",
        "[cargo's arguments]: cargo in std-rt/tokio, with tokio's source from the registry",
        upstream::run,
    ),
    (
        "app",
        "[--rounds N] [--only WORD]: examples/tokio-app with and without the patch lines: CPU a request",
        app::compare,
    ),
    (
        "runtimes",
        "[--secs N | compare | counts]: goroutines on the poller, bytes compared; beside may and Go; the poller beside mio",
        runtimes::run,
    ),
    ("strace", "the suite of std-rt while the kernel interrupts every third call", strace::run),
    (
        "bench",
        "beside tokio, smol and Go: net, exec, time; scale: 1, 2, 4, ... workers; apps: real loads; --core: Go's algorithm",
        programs::bench,
    ),
    (
        "soak",
        "--minutes N: 9,000 connections, deadlines, closes, cancelled reads, and a watchdog",
        programs::soak,
    ),
    (
        "chaos",
        "--minutes N: sessions that are cancelled, duplicated, reset and moved, bytes compared",
        programs::chaos,
    ),
    (
        "nightly",
        "the deep models, the address sanitizer, strace, 32-bit Linux, 10 minutes of soak and chaos",
        ci::nightly,
    ),
    ("ci", "everything that a push runs, except test; or the named steps of it", ci::run),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (word, rest) = args.split_first().map_or(("help", &[][..]), |(word, rest)| (word, rest));
    if let Some((.., run)) = COMMANDS.iter().find(|(name, ..)| *name == word) {
        return exit_code(&format!("xtask {word}"), run(rest));
    }
    if !["help", "--help", "-h"].contains(&word) {
        eprintln!("xtask: no command `{word}`; `cargo xtask help` lists them");
        return ExitCode::from(2);
    }
    println!("cargo xtask WORD [arguments]");
    for (word, does, _) in COMMANDS {
        println!("  {word:<9} {does}");
    }
    ExitCode::SUCCESS
}
