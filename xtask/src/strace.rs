//! `strace`: the tests of std-rt while the kernel itself interrupts them. It is the proof that does not rest on the door:
//! strace makes every third call of each kind, of each thread, return `EINTR` without having been made.
//!
//! All the kinds are interrupted in one run, since strace counts each by itself. Reads and writes are the library's as
//! well as those of std and of the harness: these go on after an interruption too, or the test is at fault.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::test::parse;
use xtask::{Outcome, cmd};

/// What is interrupted. `?`: not on every machine.
const CALLS: [(&str, &str); 5] = [
    ("wait", "?epoll_wait,epoll_pwait,?epoll_pwait2,?poll,ppoll"),
    ("receive", "recvfrom,recvmsg,read,readv"),
    ("send", "sendto,sendmsg,write,writev"),
    ("accept", "accept4"),
    ("move", "splice,sendfile"),
];

/// The third call and every third after it.
const WHEN: &str = "error=EINTR:when=3+3";

/// A program that is run once more, with other faults: a filter of system calls refuses every second call that moves bytes
/// within the kernel.
const REFUSED: &str = "copy_random";
const REFUSAL: &str = "splice,sendfile:error=EPERM:when=2+2";

/// Test programs, and tests in them by a part of the name, that are left out, and why. `""`: the whole program.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("fifo", "", "each test starts mkfifo, whose loader gives up on an interrupted read"),
    ("e_accept_connect", "e03", "starts sh, whose loader gives up on an interrupted read"),
    ("incoming", "e03", "starts sh, whose loader gives up on an interrupted read"),
    ("spin", "never_of_itself", "starts taskset, whose loader gives up on an interrupted read"),
    ("hygiene", "f21_a_child", "starts a child, whose loader gives up on an interrupted read"),
    ("unix_fds", "no_numbers_left", "starts sh, whose loader gives up on an interrupted read"),
    ("signal", "", "starts sh for every signal, whose loader gives up on an interrupted read"),
    ("signal_process", "", "starts sh for every signal, whose loader gives up on an interrupted read"),
    ("e_eintr", "", "starts sh for its signals, whose loader gives up on an interrupted read"),
    ("resolve", "", "the C library's resolver gives up on an interrupted read of its files"),
    (
        "udp_socket",
        "a_name_is_looked_up",
        "the C library's resolver gives up on an interrupted read of its files",
    ),
    (
        "c_close",
        "c20_close_races",
        "200 rounds of writes without end, which the tracer slows down beyond the limit",
    ),
    (
        "sys_break",
        "f10",
        "counts each wait with an end as ended by a break, which an interruption may be as well",
    ),
    (
        "copy_promises",
        "raises_no_sigpipe",
        "interrupts a signal handler's write, which the kernel does to none that does not wait",
    ),
    (
        "fork",
        "a_signal_of_a_child",
        "interrupts a signal handler's write, which the kernel does to none that does not wait",
    ),
    ("pool", "in_a_file", "starts mkfifo, whose loader gives up on an interrupted read"),
    ("pool", "work_that_is_given_up", "starts mkfifo, whose loader gives up on an interrupted read"),
    ("pool", "files_and_names", "the C library's resolver gives up on an interrupted read of its files"),
    ("pool_limits", "work_", "the C library's resolver gives up on an interrupted read of its files"),
    ("syscalls", "", "counts system calls"),
    ("pipe", "a_short_read_is_followed", "counts system calls"),
];

/// What one program may take.
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(args: &[String]) -> Outcome {
    let (root, words) = cmd::take_root(args)?;
    let version = cmd::capture(Command::new("strace").arg("--version"))
        .map_err(|reason| format!("strace is missing (Debian: apt-get install strace): {reason}"))?;
    println!("{}", version.lines().next().unwrap_or_default());
    let start = Instant::now();
    let programs = programs(&root, &words)?;
    let logs = cmd::target_dir(&root)?.join("strace");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    let (mut passed, mut interrupted, mut red) = (0, 0, Vec::new());
    let interruptions = [format!("{}:{WHEN}", CALLS.map(|(_, calls)| calls).join(","))];
    let refusals = [REFUSAL.to_owned()];
    let refused = programs.iter().filter(|(name, _)| name == REFUSED).map(|program| (program, &refusals));
    let runs = programs.iter().map(|program| (program, &interruptions)).chain(refused);
    for ((name, program), faults) in runs {
        if let Some((_, _, why)) = WITHOUT.iter().find(|(only, test, _)| only == name && test.is_empty()) {
            println!("{name:<22} left out: {why}");
            continue;
        }
        match traced(&root, name, program, faults, &logs) {
            Ok((tests, calls, seconds)) => {
                println!("{name:<22} {tests:>4} tests {calls:>8} calls interrupted {seconds:>6.1} s");
                passed += tests;
                interrupted += calls;
            }
            Err(reason) => {
                println!("{name:<22} RED: {reason}");
                red.push(name.as_str());
            }
        }
    }
    println!(
        "strace: {passed} tests passed while {interrupted} calls were interrupted, {} programs red, {:.0} s",
        red.len(),
        start.elapsed().as_secs_f64()
    );
    match (passed, interrupted) {
        (0, _) => Err("no test passed".to_owned()),
        (_, 0) => Err("no call was interrupted".to_owned()),
        _ if red.is_empty() => Ok(()),
        _ => Err(format!("red: {}", red.join(", "))),
    }
}

/// The test programs of std-rt, all or those that are named, built now: name and path.
fn programs(root: &Path, names: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
    let mut command = cmd::cargo(
        root,
        &["test", "-p", "netpoll-rt", "--no-run", "--message-format=json-render-diagnostics"],
    );
    match names {
        [] => command.arg("--tests"),
        names => command.args(names.iter().flat_map(|name| ["--test", name])),
    };
    let output = cmd::capture(&mut command)?;
    let executable = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        let path = PathBuf::from(rest.split('"').next()?);
        let stem = path.file_stem()?.to_str()?.rsplit_once('-')?.0.to_owned();
        // The library's own program holds no test, those of the door none without it.
        (stem != "netpoll_rt" && !stem.starts_with("door_")).then_some((stem, path))
    };
    let found: Vec<_> = output.lines().filter_map(executable).collect();
    if found.is_empty() { Err("cargo built no test of netpoll-rt".to_owned()) } else { Ok(found) }
}

/// One program under faults: tests that passed, calls that failed, seconds.
fn traced(
    root: &Path,
    name: &str,
    program: &Path,
    faults: &[String],
    logs: &Path,
) -> Result<(usize, usize, f64), String> {
    let trace = logs.join(format!("{name}.trace"));
    let log = logs.join(format!("{name}.log"));
    let mut command = Command::new("strace");
    // Only the calls that are named stop the program (--seccomp-bpf), only those that failed are written down (-Z).
    command.args(["--follow-forks", "--seccomp-bpf", "-q", "-Z", "-o"]).arg(&trace);
    for fault in faults {
        let calls = fault.split(':').next().unwrap_or_default();
        command.arg("-e").arg(format!("trace={calls}")).arg("-e").arg(format!("inject={fault}"));
    }
    command.arg(program).current_dir(root.join("std-rt"));
    for (_, test, _) in WITHOUT.iter().filter(|(only, test, _)| *only == name && !test.is_empty()) {
        command.args(["--skip", test]);
    }
    let seconds = cmd::limited(&mut command, LIMIT, &log)?;
    let told = std::fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let tests = parse(&told).iter().map(|row| row.passed).sum();
    let traced = std::fs::read(&trace).map_err(|e| format!("{}: {e}", trace.display()))?;
    let mark = b"(INJECTED)";
    let interrupted = traced.windows(mark.len()).filter(|window| window == mark).count();
    Ok((tests, interrupted, seconds))
}
