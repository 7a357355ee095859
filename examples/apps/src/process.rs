//! A server in a program of its own: its start, its costs and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::options::BoxError;

/// The time in which a server must listen.
const STARTS: Duration = Duration::from_secs(10);

/// A running server, killed when it is dropped.
pub struct Server {
    child: Child,
    /// Its port on the loopback.
    pub port: u16,
}

impl Server {
    /// Starts a server that prints its port first, or its address, behind the word LISTENING or without it. The rest of its first line is returned, too. It may serve until its
    /// standard input ends.
    pub fn telling(mut command: Command) -> Result<(Self, String), BoxError> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        let mut server = Self { child, port: 0 };
        BufReader::new(output).read_line(&mut line)?;
        let line = line.trim();
        let line = line.strip_prefix("LISTENING ").unwrap_or(line);
        let (port, rest) = line.split_once(' ').unwrap_or((line, ""));
        let port = port.rsplit(':').next().unwrap_or_default();
        server.port = port.parse().map_err(|_| format!("the server printed no port: `{line}`"))?;
        Ok((server, rest.to_owned()))
    }

    /// Starts a server on a port that it was told, and waits until it accepts connections.
    pub fn on_port(mut command: Command, port: u16) -> Result<Self, BoxError> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { child: command.spawn()?, port };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{}: {status}", command.get_program().display()).into());
            }
            if began.elapsed() > STARTS {
                return Err(format!("{} does not listen", command.get_program().display()).into());
            }
            // No event tells when a foreign server listens.
            sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Returns the CPU time of the server's threads so far, in seconds.
    pub fn seconds(&self) -> Result<f64, BoxError> {
        thread_seconds(&self.child.id().to_string())
    }

    /// Returns the resident memory of the server, in KB.
    pub fn memory(&self) -> Result<f64, BoxError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no resident memory")?;
        Ok(line.split_whitespace().nth(1).ok_or("no resident memory")?.parse()?)
    }

    /// Closes the server's input, which ends it, and waits for its end.
    pub fn end(mut self) -> Result<(), BoxError> {
        drop(self.child.stdin.take());
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("the server failed: {status}").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both calls fail only if the server has ended and was waited for.
        let _ = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}

/// Returns the CPU time of the threads of this program so far, in seconds.
pub fn own_seconds() -> Result<f64, BoxError> {
    thread_seconds("self")
}

/// Returns the CPU time of the threads of a process that run now, in seconds. It counts nanoseconds, where the times in `stat`
/// are multiples of 10 ms.
fn thread_seconds(process: &str) -> Result<f64, BoxError> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between the two calls.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_cpu = text.split_whitespace().next().ok_or("no CPU time of a thread")?;
        nanoseconds += on_cpu.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Returns a port of the loopback that is free now.
pub fn free_port() -> Result<u16, BoxError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
