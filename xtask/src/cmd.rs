//! Functions that run cargo and other programs, and find the folders of the workspace.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The compiler flag with which tests and tools see the internals of netpoll-rt. `.cargo/config.toml` sets it, but a command
/// that sets `RUSTFLAGS` replaces what that file sets.
pub const INTERNAL: &str = "--cfg netpoll_internal";

/// Takes `--root DIR` out of the arguments; without it the root is the workspace of the program.
pub fn take_root(args: &[String]) -> Result<(PathBuf, Vec<String>), String> {
    let mut rest = args.to_vec();
    if let Some(at) = rest.iter().position(|arg| arg == "--root") {
        let dir = rest.get(at + 1).ok_or("--root needs a folder")?;
        let root = std::fs::canonicalize(dir).map_err(|e| format!("--root {dir}: {e}"))?;
        rest.drain(at..at + 2);
        return Ok((root, rest));
    }
    Ok((own_root()?, rest))
}

/// Returns the folder of the workspace whose package cargo runs.
pub fn own_root() -> Result<PathBuf, String> {
    let package =
        std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let root = Path::new(&package).ancestors().find(|folder| folder.join("Cargo.lock").exists());
    root.map(Path::to_path_buf).ok_or(format!("no folder above {package} has a Cargo.lock"))
}

/// Runs a program of another package of the tools, which reports its own errors.
pub fn tool(package: &str, program: &str, word: &str, args: &[String]) -> Result<(), String> {
    let (root, rest) = take_root(args)?;
    let run = ["run", "--quiet", "-p", package, "--bin", program, "--", word];
    self::run(cargo(&own_root()?, &run).args(rest).arg("--root").arg(root)).map_err(|_| String::new())
}

/// Returns the root, for a command that takes no other argument.
pub fn only_root(args: &[String]) -> Result<PathBuf, String> {
    let (root, rest) = take_root(args)?;
    match rest.first() {
        None => Ok(root),
        Some(arg) => Err(format!("does not understand `{arg}`")),
    }
}

/// Takes a flag out of the arguments; returns whether it was there.
pub fn take_flag(args: &[String], flag: &str) -> (bool, Vec<String>) {
    let rest: Vec<String> = args.iter().filter(|arg| *arg != flag).cloned().collect();
    (rest.len() < args.len(), rest)
}

/// Returns a command of the cargo that started this program, set up to run in the root.
pub fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(args);
    command
}

/// Returns cargo's description of the workspace, one line of JSON.
pub fn metadata(root: &Path) -> Result<String, String> {
    capture(&mut cargo(root, &["metadata", "--no-deps", "--format-version", "1"]))
}

/// Returns the folder that cargo builds in.
pub fn target_dir(root: &Path) -> Result<PathBuf, String> {
    let metadata = metadata(root)?;
    let (_, rest) =
        metadata.split_once("\"target_directory\":\"").ok_or("cargo metadata names no target folder")?;
    let dir = PathBuf::from(rest.split('"').next().unwrap_or_default());
    // Before the first build there is no folder to resolve links in.
    Ok(std::fs::canonicalize(&dir).unwrap_or(dir))
}

/// Finds every file under a folder, sorted by name. Does not follow links, and leaves out what `skip` names.
pub fn files_under(dir: &Path, skip: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| !skip(path) && !path.is_symlink()) {
        if path.is_dir() {
            files_under(&path, skip, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Builds the binaries of a package that `pick` names, in release, and returns their folder.
pub fn build(root: &Path, package: &str, pick: &[&str]) -> Result<PathBuf, String> {
    let mut command = cargo(root, &["build", "--quiet", "--release", "-p", package]);
    run(command.args(pick))?;
    Ok(target_dir(root)?.join("release"))
}

/// Runs a program to its end with the user's own terminal.
pub fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("{}: {e}", name(command)))?;
    checked(command, status)
}

/// Runs a program to its end and returns its output; its error output goes to the terminal.
pub fn capture(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("{}: {e}", name(command)))?;
    checked(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, shows both of its outputs as they come and returns them in the order in which they were
/// written. The caller judges the status.
pub fn stream(command: &mut Command) -> Result<(ExitStatus, String), String> {
    let (reader, writer) = io::pipe().map_err(|e| e.to_string())?;
    let mut spawn = || command.stdout(writer.try_clone()?).stderr(writer.try_clone()?).spawn();
    let mut child = spawn().map_err(|e| format!("{}: {e}", name(command)))?;
    // A process that the program leaves behind keeps the pipe open, so the end of the pipe is not the end of the program.
    // A mark behind all output of the program is.
    let wait = move || -> io::Result<ExitStatus> {
        let status = child.wait()?;
        (&writer).write_all(END)?;
        Ok(status)
    };
    let waiter = std::thread::spawn(wait);
    let all = show(reader).map_err(|e| format!("{}: {e}", name(command)))?;
    let status = waiter.join().map_err(|_| "the thread that waits for a program panicked")?;
    Ok((status.map_err(|e| e.to_string())?, String::from_utf8_lossy(&all).into_owned()))
}

const END: &[u8] = b"\0xtask: end of output\0";

/// Copies a program's output to ours, up to the mark. The mark is written at once; if a read still cuts it in two, the
/// terminal shows its first half, which does no harm.
fn show(mut reader: io::PipeReader) -> io::Result<Vec<u8>> {
    let (mut all, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let shown: usize = all.len();
        let count = reader.read(&mut chunk)?;
        all.extend_from_slice(&chunk[..count]);
        let from = shown.saturating_sub(END.len());
        let end = all[from..].windows(END.len()).position(|window| window == END).map(|at| from + at);
        all.truncate(end.unwrap_or(all.len()));
        io::stdout().write_all(all.get(shown..).unwrap_or_default())?;
        io::stdout().flush()?;
        if end.is_some() || count == 0 {
            return Ok(all);
        }
    }
}

/// Runs a program with its output in a file and kills it at the limit. Returns the seconds that it took.
pub fn limited(command: &mut Command, limit: Duration, log: &Path) -> Result<f64, String> {
    let start = Instant::now();
    let open = || -> io::Result<Child> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()
    };
    let mut child = { open }().map_err(|e| format!("{}: {e}", log.display()))?;
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => {
                checked(command, status)
                    .map_err(|reason| format!("{reason}; its output: {}", log.display()))?;
                return Ok(start.elapsed().as_secs_f64());
            }
            None if start.elapsed() >= limit => {
                // Either call fails only if the program has just ended by itself.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(format!("still running after {limit:?}; its output: {}", log.display()));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Returns an error that names the command if the status is not success.
pub fn checked(command: &Command, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", name(command))) }
}

fn name(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
}
