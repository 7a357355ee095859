//! The suite once more, under other conditions: `door` injects faults before every system call, `backend` forces another
//! backend, `sim` runs the tests of the simulated kernel, `miri` checks each access of core to memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use xtask::{Outcome, cmd};

use crate::simulated;
use crate::test::{Suite, minimum};

/// The flag that turns the faults on; `sys.rs` asks for it.
const INJECT: &str = "--cfg netpoll_door";

/// The flag of the simulation; `sys.rs` asks for it.
pub const SIM: &str = "--cfg netpoll_sim";

/// The flag by which a simulated poller has the contract of poll(2).
pub const POLL: &str = "--cfg netpoll_backend=\"poll\"";

/// The test program of the simulation; without the flag it is empty.
const SIMULATED: &[&str] = &["--profile", "loom", "--test", "sim"];

/// The test that is the load of the simulation.
const LOAD: &str = "nothing_is_lost_and_nothing_hangs_under_injected_faults";

/// The test program that injects faults; without the flag it is empty.
const INJECTED: &[&str] = &["--test", "inject"];

/// The faults under which the whole suite runs: every call of a thread fails with `EINTR` once before it is made.
const INTERRUPTED: &str = "eintr-once";

/// The program that is searched for parts of the fault injection, and must hold none.
const ORDINARY: &str = "echo";

/// The backends that can be forced where another one is the first choice.
const FORCED: &[&str] = &["poll"];

/// Connections and seconds of the demo: poll(2) looks at all of them whenever one is ready.
const DEMO: [&str; 4] = ["--conns", "500", "--seconds", "3"];

/// The number of seeds for the scheduler of Miri and for the values that a weak load may return.
const SEEDS: u32 = 4;

/// Runs the tests of the fault injection, and the suite with every call interrupted once, in a build of their own. Proves
/// that an ordinary program holds no part of the fault injection.
pub fn door(args: &[String]) -> Outcome {
    let (bless, args) = cmd::take_flag(args, "--bless");
    let root = cmd::only_root(&args)?;
    let start = Instant::now();
    println!("-- the tests of the fault injection");
    let own = suite(&root, INJECTED, INJECT, "door", None)?;
    println!("-- the suite, every call interrupted once");
    let all = suite(&root, &["--tests"], INJECT, "door", Some(INTERRUPTED))?;
    let left = symbols(&root)?;
    println!(
        "door: {} tests of faults, {} tests interrupted at every call, {} failed, {left} symbols of the fault injection in \
         `{ORDINARY}`, {:.0} s",
        own.passed(),
        all.passed(),
        own.failed() + all.failed(),
        start.elapsed().as_secs_f64()
    );
    if left > 0 {
        return Err("an ordinary build holds parts of the fault injection".to_owned());
    }
    judge(&root, bless, &[("door", &own), ("door-suite", &all)])
}

/// Runs the tests of the simulation in a build of their own, and the checks beside them; with `--faults N` only the load, until
/// N faults have happened; with `compare` only measures the simulation beside others; with `tokio` only runs programs of tokio;
/// with `poll` the tests with the contract of poll(2); with `replay` 1,000 equal traces in each build.
pub fn sim(args: &[String]) -> Outcome {
    let (programs, args) = cmd::take_flag(args, "tokio");
    if programs {
        return simulated::tokio(&cmd::only_root(&args)?);
    }
    let (compares, args) = cmd::take_flag(&args, "compare");
    if compares {
        return simulated::compare(&cmd::only_root(&args)?);
    }
    let (replays, args) = cmd::take_flag(&args, "replay");
    if replays {
        return simulated::replay(&cmd::only_root(&args)?);
    }
    let (bless, args) = cmd::take_flag(&args, "--bless");
    let (polls, args) = cmd::take_flag(&args, "poll");
    if polls {
        let root = cmd::only_root(&args)?;
        let own = suite(&root, SIMULATED, &format!("{SIM} {POLL}"), "sim-poll", None)?;
        return judge(&root, bless, &[("sim-poll", &own)]);
    }
    if let Some(place) = args.iter().position(|arg| arg == "--faults") {
        let number = args.get(place + 1).ok_or("--faults needs a number")?;
        return faults(&cmd::only_root(&[&args[..place], &args[place + 2..]].concat())?, number);
    }
    let root = cmd::only_root(&args)?;
    let start = Instant::now();
    let own = suite(&root, SIMULATED, SIM, "sim", None)?;
    let beside = simulated::check(&root)?;
    println!(
        "sim: {} tests in a simulation, {} failed, {beside}, {:.0} s",
        own.passed(),
        own.failed(),
        start.elapsed().as_secs_f64()
    );
    judge(&root, bless, &[("sim", &own)])
}

/// Runs the load of the simulation, fast but with every assertion, and prints how many faults of each kind there were.
fn faults(root: &Path, number: &str) -> Outcome {
    let mut command = cmd::cargo(root, &["test", "--quiet", "-p", "netpoll-rt"]);
    command
        .args(SIMULATED)
        .args(["--", "--nocapture", LOAD])
        .env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join("sim"))
        .env("RUSTFLAGS", format!("{} {SIM}", cmd::INTERNAL))
        .env("NETPOLL_SIM_FAULTS", number);
    let (status, output) = cmd::stream(&mut command)?;
    cmd::checked(&command, status)?;
    let last = output.lines().find(|line| line.starts_with("load: ")).ok_or("the load has not run")?;
    println!("{last}");
    Ok(())
}

/// Runs the suite and the demo with a backend that is not this system's first choice; with `--faults` the tests of the fault
/// injection, which are a build of their own.
pub fn backend(args: &[String]) -> Outcome {
    let (bless, args) = cmd::take_flag(args, "--bless");
    let (injects, args) = cmd::take_flag(&args, "--faults");
    let (root, names) = cmd::take_root(&args)?;
    let [name] = &names[..] else { return Err(format!("needs one of {}", FORCED.join(", "))) };
    if !FORCED.contains(&name.as_str()) {
        return Err(format!("no backend `{name}` to force; needs one of {}", FORCED.join(", ")));
    }
    let start = Instant::now();
    let (flags, faults) = (format!("--cfg netpoll_backend=\"{name}\""), format!("{name}-door"));
    if injects {
        let injected = suite(&root, INJECTED, &format!("{flags} {INJECT}"), &faults, None)?;
        println!("{name}: {} tests of faults", injected.passed());
        return judge(&root, bless, &[(&faults, &injected)]);
    }
    println!("-- the suite");
    let all = suite(&root, &["--tests"], &flags, name, None)?;
    println!("-- the demo");
    let target = cmd::target_dir(&root)?.join(name);
    let mut build =
        cmd::cargo(&root, &["build", "--quiet", "--release", "-p", "netpoll-load", "--bin", "demo"]);
    cmd::run(build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", &flags))?;
    cmd::run(Command::new(target.join("release/demo")).args(DEMO))?;
    println!("{name}: {} tests and the demo, {:.0} s", all.passed(), start.elapsed().as_secs_f64());
    judge(&root, bless, &[(name, &all)])
}

/// Runs tests of std-rt with flags of the compiler, built in a folder of their own.
fn suite(
    root: &Path,
    pick: &[&str],
    flags: &str,
    folder: &str,
    faults: Option<&str>,
) -> Result<Suite, String> {
    let mut command = cmd::cargo(root, &["test", "-p", "netpoll-rt", "--no-fail-fast"]);
    command
        .args(pick)
        .env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join(folder))
        .env("RUSTFLAGS", format!("{} {flags}", cmd::INTERNAL));
    match faults {
        Some(words) => command.env("NETPOLL_DOOR", words),
        None => command.env_remove("NETPOLL_DOOR"),
    };
    let start = Instant::now();
    let suite = Suite::run(&mut command)?;
    suite.print(start.elapsed());
    Ok(suite)
}

/// Compares suites with the recorded minimums, or records them.
fn judge(root: &Path, bless: bool, suites: &[(&str, &Suite)]) -> Outcome {
    suites.iter().find_map(|(_, suite)| suite.red.clone()).map_or(Ok(()), Err)?;
    suites.iter().try_for_each(|(name, suite)| minimum(root, name, suite.passed(), bless))
}

/// Counts the places where an ordinary release build names a part of the fault injection: its module, or its variable. The
/// names of functions stay in the file, whether they are called or inlined.
fn symbols(root: &Path) -> Result<usize, String> {
    // `6inject` is how both manglings write the last name of a path; the line tables name the sources.
    parts_in_ordinary_program(root, &[b"3sys6inject", b"NETPOLL_DOOR"])
}

/// Counts the places where an ordinary release build has one of these words.
pub fn parts_in_ordinary_program(root: &Path, words: &[&[u8]]) -> Result<usize, String> {
    let program = cmd::build(root, "netpoll-examples", &["--bin", ORDINARY])?.join(ORDINARY);
    let bytes = std::fs::read(&program).map_err(|e| format!("{}: {e}", program.display()))?;
    let found = |word: &[u8]| bytes.windows(word.len()).filter(|window| window == &word).count();
    if found(b"netpoll_rt") == 0 {
        return Err(format!("{} has no symbols to be searched", program.display()));
    }
    Ok(words.iter().map(|word| found(word)).sum())
}

/// Runs core's tests under Miri, and those of `hostile.rs` once for each seed. Without Miri it prints that and succeeds:
/// rustup cannot install it everywhere, and a push does not wait for it.
pub fn miri(args: &[String]) -> Outcome {
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
    (1..SEEDS).try_for_each(|seed| test(seed, &["--test", "it", "hostile::"]))?;
    println!("miri: core's tests, and the hostile ones with {SEEDS} seeds");
    Ok(())
}
