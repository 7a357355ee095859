//! `soak`: a long run under deadlines, random closes and cancelled reads, with a watchdog for lost wakeups.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

/// As many descriptors as may be had: each process needs one for each connection.
const RAISED: &str = "ulimit -n \"$(ulimit -Hn)\" 2>&-; exec \"$@\"";

/// Limits are lowered for so long and then raised for so long.
const PHASE: Duration = Duration::from_millis(700);

/// What both processes may have meanwhile: no descriptor and no thread more than they have.
const LOWERED: [&str; 2] = ["--nofile=32:", "--nproc=1:"];

/// Builds the soak and runs it: its arguments, its output, its verdict. With `--limits` the kernel's limits of the two
/// processes are changed while it runs.
pub fn run(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    let soak = cmd::build_examples(&root, &["--bin", "soak"])?.join("soak");
    let mut command = Command::new("sh");
    command.args(["-c", RAISED, "sh"]).arg(soak).args(&rest);
    if rest.iter().any(|arg| arg == "--limits") { limited(command) } else { cmd::run(&mut command) }
}

/// Runs it as a user whom the kernel holds to a number of threads, which the superuser is not.
fn limited(mut command: Command) -> Outcome {
    let user = is_superuser()?.then(|| 20_000 + std::process::id() % 30_000);
    as_user(&mut command, user);
    let mut child = command.spawn().map_err(|e| format!("sh: {e}"))?;
    let changed = change_limits(&mut child, user);
    if changed.is_err() {
        // It fails only if the soak has just ended.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| format!("soak: {e}"))?;
    let times = changed?;
    println!("soak: the limits of descriptors and threads were lowered and raised {times} times");
    match (status.success(), times) {
        (false, _) => Err(format!("soak: {status}")),
        (true, 0) => Err("soak: it ended before a limit was changed".to_owned()),
        (true, _) => Ok(()),
    }
}

/// Until the soak has ended; how often.
fn change_limits(child: &mut Child, user: Option<u32>) -> Result<usize, String> {
    let (mut times, began) = (0, Instant::now());
    while child.try_wait().map_err(|e| format!("soak: {e}"))?.is_none() {
        thread::sleep(PHASE);
        // All connections are made first.
        if began.elapsed() < 4 * PHASE {
            continue;
        }
        let processes = processes(child.id());
        let raised = processes.iter().filter_map(|process| raised(process).ok()).collect::<Vec<_>>();
        for process in &processes {
            set(process, &LOWERED, user)?;
        }
        thread::sleep(PHASE);
        for (process, raised) in processes.iter().zip(&raised) {
            set(process, &[&raised[0], &raised[1]], user)?;
        }
        times += 1;
    }
    Ok(times)
}

/// The soak and its client.
fn processes(soak: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{soak}/task/{soak}/children")).unwrap_or_default();
    std::iter::once(soak.to_string()).chain(children.split_whitespace().map(str::to_owned)).collect()
}

/// The limits of a process as they are, as options of prlimit(1).
fn raised(process: &str) -> Result<[String; 2], String> {
    let path = format!("/proc/{process}/limits");
    let limits = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let soft = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next())
            .ok_or(format!("{path}: no {name}"))
            .map(str::to_owned)
    };
    Ok([format!("--nofile={}:", soft("Max open files")?), format!("--nproc={}:", soft("Max processes")?)])
}

/// Only its own user may change a process's limits, in a container also where the superuser may not.
fn set(process: &str, limits: &[&str], user: Option<u32>) -> Result<(), String> {
    let mut command = Command::new("prlimit");
    let done = as_user(&mut command, user).args(["--pid", process]).args(limits).output();
    let done = done.map_err(|e| format!("prlimit(1) of util-linux: {e}"))?;
    // One that has just ended has no limits any more.
    if done.status.success() || !Path::new("/proc").join(process).join("exe").exists() {
        return Ok(());
    }
    Err(format!("prlimit {}: {}", limits.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

fn as_user(command: &mut Command, user: Option<u32>) -> &mut Command {
    match user {
        Some(user) => command.uid(user).gid(user),
        None => command,
    }
}

fn is_superuser() -> Result<bool, String> {
    cmd::capture(Command::new("id").arg("-u")).map(|id| id.trim() == "0")
}
