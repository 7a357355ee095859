//! The project's commands, one word each: `cargo xtask WORD`. The same words run on a desk and in CI.
//!
//! A command prints what it did in numbers and fails when it did nothing.

mod backend;
mod bare;
mod ci;
mod cross;
mod door;
mod miri;
mod nightly;
mod programs;
mod prose;
mod strace;
mod style;
mod test;
mod tidy;

use std::process::ExitCode;

use xtask::{Outcome, cmd};

type Run = fn(&[String]) -> Outcome;

/// A word, what it does, who does it. A new command is a new line here.
const COMMANDS: &[(&str, &str, Run)] = &[
    ("demo", "the echo server under a verified load; arguments go to the demo", programs::demo),
    ("test", "every test and doc test of the workspace; --bless records how many", test::run),
    ("loom", "the models of core, all or those whose name holds a word", |args| verify("loom", args)),
    (
        "protocols",
        "the models of the runtime's locks and park tokens, all or those whose name holds a word",
        |args| verify("protocols", args),
    ),
    ("mutants", "weakens each ordering, fence and check of core: a model must turn red", |args| {
        verify("mutants", args)
    }),
    ("miri", "core's tests under Miri, with several seeds, where a nightly toolchain has it", miri::run),
    ("tidy", "the rules of the house that a compiler cannot check", tidy::run),
    (
        "style",
        "counts of the code's shape and English; --root DIR; --list [PART] names each finding",
        style::run,
    ),
    ("sizes", "bytes of the types that have a limit, and of the programs for a chip", programs::sizes),
    (
        "cross",
        "core for machines without std; the runtime for macOS and the BSDs; --run: and the suite on 32-bit Linux",
        cross::run,
    ),
    (
        "backend",
        "NAME: the suite of std-rt, the faults and the demo with poll(2) in place of epoll",
        backend::run,
    ),
    ("bare", "core on a Cortex-M3 in QEMU: a fed serial line, a sweep of interrupts", bare::run),
    ("door", "the suite of std-rt with a table of faults before every system call", door::run),
    ("strace", "the suite of std-rt while the kernel interrupts every third call", strace::run),
    (
        "bench",
        "beside tokio, smol and Go: net, exec, time; --core counts core beside Go's algorithm",
        programs::bench,
    ),
    (
        "soak",
        "--minutes N: 9,000 connections, deadlines, closes and cancelled reads, and a watchdog; --limits; more by --help",
        programs::soak,
    ),
    (
        "chaos",
        "--minutes N: sessions under deadlines, cancels, duplicates, closes, resets and moves, every byte compared",
        programs::chaos,
    ),
    (
        "nightly",
        "the deep models, the address sanitizer, strace, the suite on 32-bit Linux, a soak and a chaos of 10 minutes",
        nightly::run,
    ),
    ("ci", "what belongs to a push, except test; or the named steps of it", ci::run),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let word = args.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = args.collect();
    match (COMMANDS.iter().find(|(name, ..)| *name == word), word.as_str()) {
        (Some((.., run)), _) => exit_code(&word, run(&rest)),
        (None, "help" | "--help" | "-h") => {
            help();
            ExitCode::SUCCESS
        }
        (None, _) => {
            eprintln!("xtask: no command `{word}`; `cargo xtask help` lists them");
            ExitCode::from(2)
        }
    }
}

fn exit_code(word: &str, outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            if !reason.is_empty() {
                eprintln!("xtask {word}: {reason}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs the verifier, a program of the package `loom-tests`.
fn verify(word: &str, args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    let run = ["run", "--quiet", "-p", "loom-tests", "--bin", "verify", "--", word];
    cmd::run(cmd::cargo(&cmd::own_root()?, &run).args(rest).arg("--root").arg(root))
        .map_err(|_| String::new())
}

fn help() {
    println!("cargo xtask WORD [arguments]");
    for (word, does, _) in COMMANDS {
        println!("  {word:<9} {does}");
    }
}
