//! `miri`: core's tests under Miri, which checks each access to memory, where a nightly toolchain has it.

use std::process::{Command, Stdio};

use xtask::{Outcome, cmd};

/// Seeds of the scheduler and of the values that a weak load may return.
const SEEDS: u32 = 4;

/// Runs core's tests, and those of `hostile.rs` once for each seed. Without Miri it says so and succeeds: rustup cannot
/// install it everywhere, and a push does not wait for it.
pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    let mut probe = Command::new("cargo");
    probe.args(["+nightly", "miri", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        println!(
            "miri: skipped, as no nightly toolchain here has Miri: `rustup +nightly component add miri`"
        );
        return Ok(());
    }
    let test = |seed: u32, tests: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(&root).args(["+nightly", "miri", "test", "-p", "netpoll-core"]).args(tests);
        cmd::run(command.env("MIRIFLAGS", format!("-Zmiri-seed={seed} -Zmiri-strict-provenance")))
    };
    test(0, &["--tests"])?;
    (1..SEEDS).try_for_each(|seed| test(seed, &["--test", "hostile"]))?;
    println!("miri: core's tests, and the hostile ones with {SEEDS} seeds");
    Ok(())
}
