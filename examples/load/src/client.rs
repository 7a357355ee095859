//! The second process: the server starts its own program again as the client, so that each has the limit of descriptors
//! to itself. The client reports on its standard output, one line at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio, exit};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The figures of a run, each with its name.
pub type Figures = Vec<(String, u64)>;

/// Returns a figure by its name, or 0 if there is none.
pub fn figure(figures: &[(String, u64)], name: &str) -> u64 {
    figures.iter().find(|(other, _)| other == name).map_or(0, |&(_, number)| number)
}

/// A line of the client's output.
pub enum Line {
    /// The figures so far, once a second.
    Tick(Figures),
    /// The fault that ended the client.
    Fault(String),
    /// The figures at the end.
    Done(Figures),
}

impl Line {
    /// Parses a line. Returns `None` if the client never writes such a line.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        if word == "fault" {
            return Some(Line::Fault(rest.to_owned()));
        }
        let field = |field: &str| {
            let (name, number) = field.split_once('=')?;
            Some((name.to_owned(), number.parse().ok()?))
        };
        let figures = rest.split(';').map(field).collect::<Option<Figures>>()?;
        match word {
            "tick" => Some(Line::Tick(figures)),
            "done" => Some(Line::Done(figures)),
            _ => None,
        }
    }

    /// Writes this line to standard output.
    pub fn say(&self) {
        let fields = |figures: &Figures| {
            let fields: Vec<_> = figures.iter().map(|(name, number)| format!("{name}={number}")).collect();
            fields.join(";")
        };
        match self {
            Line::Tick(figures) => say(&format!("tick {}", fields(figures))),
            Line::Done(figures) => say(&format!("done {}", fields(figures))),
            Line::Fault(fault) => say(&format!("fault {fault}")),
        }
    }
}

/// Writes a line to standard output. Ends the process if the parent no longer reads it.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
        exit(1);
    }
}

/// Reports a fault and ends the client.
pub fn give_up(fault: &str) -> ! {
    Line::Fault(fault.to_owned()).say();
    exit(1)
}

/// Starts a thread that ends the client when its parent ends: the parent holds the other end of standard input.
pub fn end_with_parent() {
    thread::spawn(|| {
        // An error means the same as the end of the input.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        exit(1);
    });
}

/// The client as the server sees it. It is killed when this is dropped.
pub struct Client {
    child: Child,
    /// Held open here, because `Child::wait` closes the child's input and the client ends when its input does.
    _input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    /// Starts the client with these options.
    pub fn start(options: &[String]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("client").args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
            // The thread ends with the output, or when `Client` was dropped.
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, _input: input, lines })
    }

    /// Returns the process ID of the client.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line. Returns `None` if none comes within `timeout`.
    pub fn next_line(&self, timeout: Duration) -> Result<Option<Line>, String> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => match Line::parse(&line) {
                Some(line) => Ok(Some(line)),
                None => Err(format!("the client wrote an unknown line: {line}")),
            },
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("the client ended without a result".to_owned()),
        }
    }

    /// Waits for the end of the client. Returns an error if it did not succeed.
    pub fn finish(mut self) -> Result<(), String> {
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the client ended with {status}")),
            Err(error) => Err(format!("cannot wait for the client: {error}")),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both calls fail only if the client has ended and was waited for.
        let _ = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}
