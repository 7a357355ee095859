//! `door`: the suite of std-rt with the table of faults before every system call, in a build of its own; and the proof
//! that an ordinary program holds nothing of it.

use std::path::Path;
use std::time::Instant;

use crate::test::{Row, parse, record, table, too_few};
use xtask::{Outcome, cmd};

/// What turns the table on; `sys.rs` asks for it.
const CFG: &str = "--cfg netpoll_door";

/// The test program that injects faults; without the cfg it is empty.
pub const INJECTED: &[&str] = &["--test", "inject"];

/// What the whole suite runs under: every call of a thread fails with `EINTR` once before it is made.
const INTERRUPTED: &str = "eintr-once";

/// The program that is searched for what must not be there.
const ORDINARY: &str = "echo";

pub fn run(args: &[String]) -> Outcome {
    let (args, bless): (Vec<String>, Vec<String>) = args.iter().cloned().partition(|arg| arg != "--bless");
    let (root, bless) = (cmd::only_root(&args)?, !bless.is_empty());
    let start = Instant::now();
    println!("-- the tests of the door");
    let (own, own_red) = suite(&root, INJECTED, None)?;
    println!("-- the suite, every call interrupted once");
    let (all, all_red) = suite(&root, &["--tests"], Some(INTERRUPTED))?;
    let left = symbols(&root)?;
    let passed = |rows: &[Row]| rows.iter().map(|row| row.passed).sum::<usize>();
    let failed: usize = own.iter().chain(&all).map(|row| row.failed).sum();
    println!(
        "door: {} tests of the door, {} tests interrupted at every call, {failed} failed, {left} symbols of the door in \
         `{ORDINARY}`, {:.0} s",
        passed(&own),
        passed(&all),
        start.elapsed().as_secs_f64()
    );
    if left > 0 {
        return Err("an ordinary build holds parts of the door".to_owned());
    }
    own_red.or(all_red).map_or(Ok(()), Err)?;
    let minimums = root.join("xtask/minimums.txt");
    for (what, rows) in [("door", &own), ("door-suite", &all)] {
        if bless {
            record(&minimums, what, passed(rows))?;
        }
        too_few(&minimums, what, passed(rows)).map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Runs tests of std-rt with the cfg; what failed is named by the second value.
fn suite(root: &Path, pick: &[&str], door: Option<&str>) -> Result<(Vec<Row>, Option<String>), String> {
    let mut command = cmd::cargo(root, &["test", "-p", "netpoll-rt", "--no-fail-fast"]);
    command.args(pick).env("CARGO_TARGET_DIR", cmd::target_dir(root)?.join("door")).env("RUSTFLAGS", CFG);
    match door {
        Some(words) => command.env("NETPOLL_DOOR", words),
        None => command.env_remove("NETPOLL_DOOR"),
    };
    let start = Instant::now();
    let (status, output) = cmd::stream(&mut command)?;
    let rows = parse(&output);
    table(&rows, start.elapsed().as_secs_f64());
    Ok((rows, cmd::checked(&command, status).err()))
}

/// How many times an ordinary release build names a part of the door: its module, or its variable. The names of
/// functions stay in the file, whether they are called or inlined.
fn symbols(root: &Path) -> Result<usize, String> {
    let program = cmd::build(root, "netpoll-examples", &["--bin", ORDINARY])?.join(ORDINARY);
    let bytes = std::fs::read(&program).map_err(|e| format!("{}: {e}", program.display()))?;
    let found = |word: &[u8]| bytes.windows(word.len()).filter(|window| window == &word).count();
    if found(b"netpoll_rt") == 0 {
        return Err(format!("{} has no symbols to be searched", program.display()));
    }
    // `6inject` is how both manglings write the last name of a path; the sources are named in the line tables.
    Ok(found(b"3sys6inject") + found(b"NETPOLL_DOOR"))
}
