//! The models of netpoll-core: each is about one race and runs in a process of its own.
//!
//! `loom-tests list` prints a line per model, `loom-tests run NAME` runs one and prints how many executions
//! it explored. `cargo xtask loom` does both for all of them and compares the counts with the recorded
//! minimum.
//!
//! `loom-tests generated-list` and its relatives do the same for the combinations that are enumerated instead
//! of named.

#[cfg(netpoll_loom)]
mod generated;
#[cfg(netpoll_loom)]
mod harness;
#[cfg(netpoll_loom)]
mod models;
#[cfg(netpoll_loom)]
mod self_test;

#[cfg(netpoll_loom)]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["self-test"] => self_test::main(),
        _ => generated::main(&args).unwrap_or_else(|| harness::main(&models::all())),
    }
}

#[cfg(not(netpoll_loom))]
fn main() {
    eprintln!(
        "loom-tests: built without --cfg netpoll_loom, so there is nothing to check; use `cargo xtask loom`"
    );
    std::process::exit(2);
}
