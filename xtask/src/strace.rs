//! `strace`: the tests of std-rt while the kernel interrupts them. This proof does not rest on our own fault injection:
//! strace makes every third call of each kind, of each thread, return `EINTR` without being made.
//!
//! The tests of one module are one run of their program. All the kinds are interrupted in one run, since strace counts each by itself. Reads and writes are the library's as
//! well as those of std and of the harness: these go on after an interruption too, or the test is at fault.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::test::count_passed;
use xtask::{Outcome, cmd};

/// The calls that are interrupted. `?` marks those that some machines lack.
const CALLS: [(&str, &str); 5] = [
    ("wait", "?epoll_wait,epoll_pwait,?epoll_pwait2,?poll,ppoll"),
    ("receive", "recvfrom,recvmsg,read,readv"),
    ("send", "sendto,sendmsg,write,writev"),
    ("accept", "accept4"),
    ("move", "splice,sendfile"),
];

/// The third call and every third after it.
const WHEN: &str = "error=EINTR:when=3+3";

/// A module that is run once more, with other faults: a filter of system calls refuses every second call that moves bytes
/// within the kernel.
const REFUSED: &str = "it::copy_random";
const REFUSAL: &str = "splice,sendfile:error=EPERM:when=2+2";

/// Modules of test programs, and tests in them by a part of the name, that are left out, and why. `""`: the whole module.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("it::fifo", "", "each test starts mkfifo, whose loader gives up on an interrupted read"),
    ("it::accept", "no_descriptors_left", "starts sh, whose loader gives up on an interrupted read"),
    ("it::incoming", "starve", "starts sh, whose loader gives up on an interrupted read"),
    ("it::incoming", "is_room_for_the_next", "starts sh, whose loader gives up on an interrupted read"),
    ("it::spin", "never_of_itself", "starts taskset, whose loader gives up on an interrupted read"),
    (
        "process::hygiene",
        "a_child_inherits_nothing",
        "starts a child, whose loader gives up on an interrupted read",
    ),
    ("it::unix_fds", "no_numbers_left", "starts sh, whose loader gives up on an interrupted read"),
    ("process::signal", "", "starts sh for every signal, whose loader gives up on an interrupted read"),
    (
        "process::signal_process",
        "",
        "starts sh for every signal, whose loader gives up on an interrupted read",
    ),
    ("process::child", "", "starts programs, whose loader gives up on an interrupted read"),
    ("process::child_end", "", "starts programs, whose loader gives up on an interrupted read"),
    ("process::child_races", "", "starts programs, whose loader gives up on an interrupted read"),
    ("process::eintr", "", "starts sh for its signals, whose loader gives up on an interrupted read"),
    ("it::resolve", "", "the C library's resolver gives up on an interrupted read of its files"),
    (
        "it::udp_socket",
        "a_name_is_looked_up",
        "the C library's resolver gives up on an interrupted read of its files",
    ),
    (
        "it::close",
        "close_races",
        "200 rounds of writes without end, which the tracer slows down beyond the limit",
    ),
    (
        "sys::break_flag",
        "a_break_ends_the_poll",
        "counts each wait with an end as ended by a break, which an interruption may be as well",
    ),
    (
        "it::copy_promises",
        "raises_no_sigpipe",
        "interrupts a signal handler's write, which the kernel does to none that does not wait",
    ),
    (
        "hostile::fork",
        "a_signal_of_a_child",
        "interrupts a signal handler's write, which the kernel does to none that does not wait",
    ),
    ("it::pool", "in_a_file", "starts mkfifo, whose loader gives up on an interrupted read"),
    ("it::pool", "work_that_is_given_up", "starts mkfifo, whose loader gives up on an interrupted read"),
    ("it::pool", "files_and_names", "the C library's resolver gives up on an interrupted read of its files"),
    (
        "process::pool_limits",
        "work_",
        "the C library's resolver gives up on an interrupted read of its files",
    ),
    (
        "it::undriven",
        "files_names_children",
        "looks up a name and starts a program, whose loader gives up on an interrupted read",
    ),
    ("it::syscalls", "", "counts system calls"),
    (
        "process::hygiene",
        "the_monitor_sleeps",
        "counts the monitor's sleeps, and an interrupted wait of a worker wakes the monitor",
    ),
    ("it::budget", "events_that_go_first", "counts turns between two events, which the tracer delays"),
    (
        "it::own_poller",
        "a_wake_ends_one_poll",
        "counts the polls until a wake is taken, and an interrupted one leaves it to the next",
    ),
    ("it::pipe", "a_short_read_is_followed", "counts system calls"),
];

/// The time that one module may take.
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(args: &[String]) -> Outcome {
    let (root, words) = cmd::take_root(args)?;
    let version = cmd::capture(Command::new("strace").arg("--version"))
        .map_err(|reason| format!("strace is missing (Debian: apt-get install strace): {reason}"))?;
    println!("{}", version.lines().next().unwrap_or_default());
    let start = Instant::now();
    let modules = modules(&root, &words)?;
    if let Some((module, part, _)) = WITHOUT.iter().find(|row| words.is_empty() && is_vain(row, &modules)) {
        return Err(format!(
            "no test of `{module}` has `{part}` in its name: correct the list of exceptions"
        ));
    }
    let logs = cmd::target_dir(&root)?.join("strace");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    let (mut passed, mut interrupted, mut red) = (0, 0, Vec::new());
    let interruptions = [format!("{}:{WHEN}", CALLS.map(|(_, calls)| calls).join(","))];
    let refusals = [REFUSAL.to_owned()];
    let refused = modules.iter().filter(|module| module.name == REFUSED).map(|module| (module, &refusals));
    for (module, faults) in modules.iter().map(|module| (module, &interruptions)).chain(refused) {
        let name = &module.name;
        if let Some((_, _, why)) = WITHOUT.iter().find(|(only, test, _)| only == name && test.is_empty()) {
            println!("{name:<26} left out: {why}");
            continue;
        }
        match traced(&root, module, faults, &logs) {
            Ok((tests, calls, seconds)) => {
                println!("{name:<26} {tests:>4} tests {calls:>8} calls interrupted {seconds:>6.1} s");
                passed += tests;
                interrupted += calls;
            }
            Err(reason) => {
                println!("{name:<26} RED: {reason}");
                red.push(name.as_str());
            }
        }
    }
    println!(
        "strace: {passed} tests passed while {interrupted} calls were interrupted, {} modules red, {:.0} s",
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

/// Returns whether a row of exceptions matches no test, because a test or its module was renamed.
fn is_vain((name, part, _): &(&str, &str, &str), modules: &[Module]) -> bool {
    !modules.iter().any(|module| module.name == *name && module.tests.iter().any(|test| test.contains(part)))
}

/// The tests of one module of a test program.
struct Module {
    /// `program::module`, or `program` for tests outside of any module.
    name: String,
    program: PathBuf,
    tests: Vec<String>,
}

/// Builds the test programs of std-rt and lists their modules, all or those whose name contains one of the words.
fn modules(root: &Path, words: &[String]) -> Result<Vec<Module>, String> {
    let mut command = cmd::cargo(
        root,
        &["test", "-p", "netpoll-rt", "--no-run", "--message-format=json-render-diagnostics", "--tests"],
    );
    let output = cmd::capture(&mut command)?;
    let executable = |line: &str| Some(line.split_once("\"executable\":\"")?.1.split('"').next()?.to_owned());
    let mut found: Vec<Module> = Vec::new();
    for program in output.lines().filter_map(executable).map(PathBuf::from) {
        let list = cmd::capture(Command::new(&program).args(["--list", "--format", "terse"]))?;
        let file = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let stem = file.rsplit_once('-').map_or(&*file, |(stem, _)| stem);
        for test in list.lines().filter_map(|line| line.strip_suffix(": test")) {
            let name =
                test.split_once("::").map_or(stem.to_owned(), |(module, _)| format!("{stem}::{module}"));
            let is_wanted = words.is_empty() || words.iter().any(|word| name.contains(word));
            match found.iter_mut().find(|module| module.name == name) {
                Some(module) => module.tests.push(test.to_owned()),
                None if is_wanted => {
                    found.push(Module { name, program: program.clone(), tests: vec![test.to_owned()] });
                }
                None => {}
            }
        }
    }
    if found.is_empty() { Err("cargo built no such test of netpoll-rt".to_owned()) } else { Ok(found) }
}

/// Runs a module under faults: tests that passed, calls that failed, seconds.
fn traced(
    root: &Path,
    module: &Module,
    faults: &[String],
    logs: &Path,
) -> Result<(usize, usize, f64), String> {
    let file = module.name.replace("::", "-");
    let trace = logs.join(format!("{file}.trace"));
    let log = logs.join(format!("{file}.log"));
    let mut command = Command::new("strace");
    // Only the calls that are named stop the program (--seccomp-bpf), only those that failed are written down (-Z).
    command.args(["--follow-forks", "--seccomp-bpf", "-q", "-Z", "-o"]).arg(&trace);
    for fault in faults {
        let calls = fault.split(':').next().unwrap_or_default();
        command.arg("-e").arg(format!("trace={calls}")).arg("-e").arg(format!("inject={fault}"));
    }
    let left_out = |test: &&String| {
        WITHOUT.iter().any(|(only, part, _)| *only == module.name && !part.is_empty() && test.contains(part))
    };
    let tests = module.tests.iter().filter(|test| !left_out(test));
    command.arg(&module.program).current_dir(root.join("std-rt")).arg("--exact").args(tests);
    let seconds = cmd::limited(&mut command, LIMIT, &log)?;
    let told = std::fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let tests = count_passed(&told);
    let traced = std::fs::read(&trace).map_err(|e| format!("{}: {e}", trace.display()))?;
    let mark = b"(INJECTED)";
    let interrupted = traced.windows(mark.len()).filter(|window| window == mark).count();
    Ok((tests, interrupted, seconds))
}
