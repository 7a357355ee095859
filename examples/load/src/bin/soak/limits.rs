//! The limits of descriptors and threads, which a process lowers and raises while it runs with `--limits`.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// The time for which the limits stay lowered, and for which they then stay raised.
const PHASE: Duration = Duration::from_millis(700);

/// The lowered limits: no descriptor and no thread beyond those that the process has.
const LOWERED: [(Resource, u64); 2] = [(Resource::Nofile, 32), (Resource::Nproc, 1)];

/// Continues this program as an unprivileged user if the superuser runs it, because the kernel does not hold the
/// superuser to a number of threads. Returns only if there is nothing to do, or with an error.
pub fn leave_superuser() -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    // A user that runs nothing else, so that only the threads of this run are counted.
    let user = 20_000 + std::process::id() % 30_000;
    let error = Command::new(program).args(std::env::args_os().skip(1)).uid(user).gid(user).exec();
    Err(format!("cannot continue as user {user}: {error}"))
}

/// A thread that lowers and raises the limits of this process.
pub struct ChangingLimits {
    stop: Sender<()>,
    thread: JoinHandle<io::Result<usize>>,
}

impl ChangingLimits {
    /// Starts the thread. The first change comes after four phases, when the connections have been made.
    pub fn start() -> Self {
        let (stop, stopped) = channel();
        Self { stop, thread: thread::spawn(move || change(&stopped)) }
    }

    /// Stops the thread with the limits raised. Returns how often they were lowered, or an error if that is never.
    pub fn stop(self) -> Result<usize, String> {
        drop(self.stop);
        match self.thread.join() {
            Ok(Ok(0)) => Err("the run ended before a limit was changed".to_owned()),
            Ok(Ok(times)) => Ok(times),
            Ok(Err(error)) => Err(format!("cannot change the limits: {error}")),
            Err(_) => Err("the thread that changes the limits panicked".to_owned()),
        }
    }
}

fn change(stopped: &Receiver<()>) -> io::Result<usize> {
    let raised = LOWERED.map(|(resource, _)| (resource, getrlimit(resource)));
    // The sender sends nothing: it is dropped at the end.
    let pause = |phases| stopped.recv_timeout(phases * PHASE) == Err(RecvTimeoutError::Timeout);
    let mut times = 0;
    let mut goes_on = pause(4);
    while goes_on {
        for ((resource, low), (_, limit)) in LOWERED.into_iter().zip(&raised) {
            setrlimit(resource, Rlimit { current: Some(low), ..*limit })?;
        }
        goes_on = pause(1);
        for (resource, limit) in &raised {
            setrlimit(*resource, *limit)?;
        }
        times += 1;
        goes_on = goes_on && pause(1);
    }
    Ok(times)
}
