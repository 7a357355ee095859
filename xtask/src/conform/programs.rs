//! Builds test programs and runs each test of them, with a limit for each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use xtask::cmd;

use crate::json::Json;

/// The programs that a build made, by the name of the file, and for the others the first error.
pub struct Built {
    pub programs: BTreeMap<String, PathBuf>,
    pub errors: BTreeMap<String, String>,
}

/// The time for a test that is known to fail.
const KNOWN: Duration = Duration::from_secs(5);

/// The result of a test: its message if it did not pass.
pub type Verdict = Result<(), String>;

/// Runs a command of cargo that prints JSON, to its end: a file that does not compile stops no other.
pub fn build(command: &mut Command) -> Result<Built, String> {
    let output = command.stdout(Stdio::piped()).output().map_err(|e| format!("cargo: {e}"))?;
    let (mut programs, mut errors) = (BTreeMap::new(), BTreeMap::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message = Json::parse(line)?;
        let Some(name) = message.at("target.name").text().map(str::to_owned) else { continue };
        if let Some(program) = message.at("executable").text() {
            programs.insert(name, PathBuf::from(program));
        } else if message.at("message.level").text() == Some("error") {
            let rendered = message.at("message.rendered").text().unwrap_or_default();
            let place = rendered.lines().find(|line| line.trim_start().starts_with("-->"));
            let first = rendered.lines().next().unwrap_or_default();
            errors.entry(name).or_insert(format!("{first}{}", place.map_or("", str::trim_end)));
        }
    }
    if programs.is_empty() && errors.is_empty() {
        return Err(format!("cargo built nothing: {}", output.status));
    }
    Ok(Built { programs, errors })
}

/// A program of tests.
pub struct Program<'a> {
    pub path: &'a Path,
    /// The folder that it runs in, which gets its output.
    pub dir: &'a Path,
    /// The time that a test may take.
    pub limit: Duration,
}

impl Program<'_> {
    /// Runs every test: all at once, then one by one those that had no result, that failed, or that are known to fail.
    /// Returns also those that passed only alone. `listed` leaves out those that are known to fail.
    pub fn run(
        &self,
        file: &str,
        known: &BTreeSet<&str>,
        listed: bool,
    ) -> Result<(BTreeMap<String, Verdict>, Vec<String>), String> {
        let list = cmd::capture(Command::new(self.path).args(["--list", "--format=terse"]))?;
        let mut names: Vec<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
        names.retain(|name| !listed || !known.contains(name));
        let log = self.dir.join(format!("{file}.log"));
        let skipped = known.iter().flat_map(|name| ["--skip", name]);
        self.watch(
            Command::new(self.path).args(["--include-ignored", "--exact"]).args(skipped),
            self.limit,
            &log,
        )?;
        let output = text(&log)?;
        let (mut verdicts, mut second) = (BTreeMap::new(), Vec::new());
        for name in names {
            // A test that is known to fail may be one that never ends.
            let limit = if known.contains(name) { self.limit.min(KNOWN) } else { self.limit };
            let alone = || self.alone(name, limit, &self.dir.join(format!("{file}-one.log")));
            let verdict = if passed(&output, name) { Ok(()) } else { alone()? };
            if verdict.is_ok() && !passed(&output, name) && !known.contains(name) {
                second.push(name.to_owned());
            }
            verdicts.insert(name.to_owned(), verdict);
        }
        Ok((verdicts, second))
    }

    /// Runs one test, for at most this time.
    fn alone(&self, name: &str, limit: Duration, log: &Path) -> Result<Verdict, String> {
        let args = ["--include-ignored", "--exact", name, "--test-threads=1"];
        let status = self.watch(Command::new(self.path).args(args), limit, log)?;
        let said = || said(&text(log).unwrap_or_default());
        Ok(match status {
            None => Err(format!("still running after {limit:?}")),
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(said().unwrap_or_else(|| status.to_string())),
        })
    }

    /// Runs a command until it ends, or until no further test has ended within the limit.
    fn watch(
        &self,
        command: &mut Command,
        limit: Duration,
        log: &Path,
    ) -> Result<Option<ExitStatus>, String> {
        let spawn = || -> io::Result<Child> {
            let file = File::create(log)?;
            command.current_dir(self.dir).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()
        };
        let mut child = { spawn }().map_err(|e| format!("{}: {e}", self.path.display()))?;
        let (mut ended, mut since) = (0, Instant::now());
        loop {
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                return Ok(Some(status));
            }
            let now = text(log)?.matches(" ... ").count();
            if now > ended {
                (ended, since) = (now, Instant::now());
            }
            if since.elapsed() >= limit {
                // Either call fails only if the program has just ended by itself.
                let _ = child.kill().and_then(|()| child.wait());
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn text(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn passed(output: &str, name: &str) -> bool {
    [" ... ok", " - should panic ... ok"].iter().any(|end| output.contains(&format!("test {name}{end}\n")))
}

/// Returns what the first panic said.
fn said(output: &str) -> Option<String> {
    let (_, rest) = output.split_once(" panicked at ")?;
    Some(rest.lines().take(2).collect::<Vec<_>>().join(" "))
}
