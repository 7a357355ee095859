//! Programs with a bounded life, each on its processors.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::machine::Machine;

/// What a program may take, and what it is told to take at most.
pub const LIMIT: Duration = Duration::from_secs(150);

/// A program as it is started: what counts around it, then itself.
pub struct Program<'m> {
    pub machine: &'m Machine,
    pub processors: String,
    pub words: Vec<String>,
}

impl Program<'_> {
    /// Through the shell, which can raise the limit of descriptors; it ends by becoming the program.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        // Where the limit cannot be raised it is as it was; the workloads that need more are left out.
        command.args(["-c", "ulimit -n \"$(ulimit -Hn)\" 2>&-; exec \"$@\"", "sh"]);
        if self.machine.ties {
            command.args(["taskset", "-c", &self.processors]);
        }
        command.args(&self.words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it.
    pub fn start(&self) -> Result<Running, String> {
        let failed = |e| format!("{}: {e}", self.words[0]);
        let mut child = self.command().spawn().map_err(failed)?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            // A line that nobody waits for any more is nobody's loss.
            BufReader::new(output?).lines().map_while(Result::ok).try_for_each(|text| line.send(text).ok())
        });
        let (error, told) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            // What could be read is told; it goes into a message for people.
            let _ = errors?.read_to_string(&mut text);
            error.send(text).ok()
        });
        Ok(Running { child, input, lines, told })
    }

    /// Runs it to its end and returns what it printed.
    pub fn finish(&self) -> Result<Ended, String> {
        let running = self.start()?;
        running.end(LIMIT)
    }
}

/// Killed and waited for when it goes out of scope.
pub struct Running {
    child: Child,
    /// The program ends when this is closed.
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    told: Receiver<String>,
}

pub struct Ended {
    pub lines: Vec<String>,
    /// What it wrote to its error output.
    pub told: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn line(&mut self, patience: Duration) -> Result<String, String> {
        self.lines.recv_timeout(patience).map_err(|_| match self.child.try_wait() {
            Ok(Some(status)) => self.reason(status),
            _ => format!("it has said nothing for {patience:?}"),
        })
    }

    /// Why it has ended before its time, if it has.
    pub fn last_words(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("the server ended: {}", self.reason(status)))
    }

    /// Why it ended: its last words.
    fn reason(&self, status: ExitStatus) -> String {
        let told = self.told.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        told.lines().rfind(|line| !line.trim().is_empty()).map_or_else(|| status.to_string(), str::to_owned)
    }

    /// Closes its input and waits for its end.
    pub fn end(mut self, limit: Duration) -> Result<Ended, String> {
        self.input = None;
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => break status,
                None if began.elapsed() > limit => return Err(format!("still running after {limit:?}")),
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        if !status.success() {
            return Err(self.reason(status));
        }
        let told = self.told.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        Ok(Ended { lines: self.lines.iter().collect(), told })
    }
}
