//! Child processes, whose end and whose pipes tasks can await.
//!
//! ```
//! use netpoll_rt::process::{Command, Stdio};
//!
//! # netpoll_rt::block_on(async {
//! let mut child = Command::new("tr").arg("a-z").arg("A-Z").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! child.stdin.take().unwrap().write_all(b"hello").await?;
//! let output = child.wait_with_output().await?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"HELLO");
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! [`Command`] has the methods of [`std::process::Command`], which does the work: to start a child blocks the thread for some
//! hundred microseconds. Nothing else here blocks, and no child needs a thread: Linux reports its end on a descriptor of its
//! own (a pidfd), and where there is none, on other systems or under a filter of system calls, `SIGCHLD` does.
//!
//! # Pipes
//!
//! The pipes of a child are [`PipeWriter`] and [`PipeReader`], under the names of std and tokio. `try_into` makes a [`Stdio`]
//! of one for the next child of a pipeline, and [`into_blocking`](PipeReader::into_blocking) a descriptor for other uses:
//!
//! ```
//! use netpoll_rt::process::{Command, Stdio};
//!
//! # netpoll_rt::block_on(async {
//! let mut echo = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
//! let between: Stdio = echo.stdout.take().unwrap().try_into()?;
//! let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(between).output().await?;
//! assert!(echo.wait().await?.success());
//! assert_eq!(output.stdout, b"HELLO\n");
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! # Zombies
//!
//! The kernel keeps the status of a process that has ended until its parent asks for it. A [`Child`] that is dropped earlier
//! does not stay such a zombie: a task of its runtime waits for its end. If that runtime ends first, the child is reaped when
//! this process starts another one.
//!
//! # Other code that waits for children
//!
//! This module waits for its own children and for no other. Code that waits for *every* child (`waitpid(-1)`), or that makes
//! this process ignore `SIGCHLD`, takes exit statuses away. Then [`Child::wait`] fails with an error that says so, and no signal is
//! sent any more. Nor is one ever sent to another process that has the child's number meanwhile: a pidfd stands for the
//! process itself, and without one the number is the child's until this module has reaped it. (Where there are no pidfds and
//! other code reaps, a number may be given to another child of this process before this module learns of it; so keep the two
//! apart there.)
//!
//! # fork(2)
//!
//! A child of fork(2) that goes on with this program is not the parent of the children. There all operations of a `Child`
//! fail ([`runtime_ended`](crate::runtime_ended)), and its drop kills nothing.

mod command;
mod exit;
mod orphan;
mod sigchld;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::coop;
use crate::error::OpError;
use crate::net::pipe::{PipeReader, PipeWriter};
use crate::sched::SchedHandle;
use crate::signal::SignalKind;
use crate::sys::child::{self as sys, Pid};
use crate::sys::is_simulated;
pub use command::Command;
use exit::Process;

pub use std::process::{ExitStatus, Output, Stdio};

/// The pipe to the standard input of a child.
pub type ChildStdin = PipeWriter;

/// The pipe from the standard output of a child.
pub type ChildStdout = PipeReader;

/// The pipe from the standard error output of a child.
pub type ChildStderr = PipeReader;

/// A child process, created by [`Command::spawn`].
///
/// All operations take `&self`, so one task can wait for a child while another sends it signals. Those of tokio take
/// `&mut self`; code that is written for them works.
///
/// Dropping it closes its pipes and lets the child go on, unless [`kill_on_drop`](Command::kill_on_drop) was set. It does
/// not stay a [zombie](self#zombies).
#[derive(Debug)]
pub struct Child {
    /// The pipe to its standard input, if that was set to [`Stdio::piped`].
    pub stdin: Option<ChildStdin>,
    /// The pipe from its standard output, if that was set to [`Stdio::piped`].
    pub stdout: Option<ChildStdout>,
    /// The pipe from its standard error output, if that was set to [`Stdio::piped`].
    pub stderr: Option<ChildStderr>,
    process: Arc<Process>,
    kill_on_drop: bool,
}

impl Child {
    fn start(command: &mut std::process::Command, kill_on_drop: bool) -> io::Result<Self> {
        if is_simulated() {
            let what =
                "a simulation has no processes: start the program outside of it, or run its code as a host";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let sched = SchedHandle::current().map_or_else(crate::default_sched, Ok)?;
        sched.netpoll().check()?;
        orphan::reap_left();
        let child = sys::spawn(command)?;
        let pid = Pid::from_child(&child);
        let watched = Self::watch(child, sched, kill_on_drop);
        if watched.is_err() {
            orphan::give_up(pid);
        }
        watched
    }

    fn watch(
        mut child: std::process::Child,
        sched: Arc<SchedHandle>,
        kill_on_drop: bool,
    ) -> io::Result<Self> {
        let stdin = child.stdin.take().map(|pipe| PipeWriter::from_owned(pipe.into())).transpose()?;
        let stdout = child.stdout.take().map(|pipe| PipeReader::from_owned(pipe.into())).transpose()?;
        let stderr = child.stderr.take().map(|pipe| PipeReader::from_owned(pipe.into())).transpose()?;
        let process = Arc::new(Process::watch(Pid::from_child(&child), sched)?);
        Ok(Self { stdin, stdout, stderr, process, kill_on_drop })
    }

    /// Returns the number of the process, until this process has learned of its end by one of the functions that wait.
    /// After that the number may be another process's.
    pub fn id(&self) -> Option<u32> {
        self.process.id().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Waits until the child has ended, and returns how. It may be called again, and by several tasks.
    ///
    /// It closes [`stdin`](Child::stdin) first, if that is still there: a child that reads to the end of its input would
    /// not end otherwise. A child that writes more than a pipe holds waits for a reader; use
    /// [`wait_with_output`](Child::wait_with_output), or take the pipes out and read them beside this.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the status is not lost, and the next call returns it. `stdin` stays closed.
    ///
    /// # Errors
    ///
    /// Returns an error if [other code](self#other-code-that-waits-for-children) has taken the status. If the runtime in which
    /// the child was started has ended, the runtime of the task that waits watches the child; outside of a runtime the wait
    /// then fails with an error that [`runtime_ended`](crate::runtime_ended) knows, and [`try_wait`](Child::try_wait) works
    /// on.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        if let Some(stdin) = &self.stdin {
            // The number is free even if close(2) fails.
            let _ = stdin.close_now();
        }
        self.process.wait().await.map_err(|error| OpError::new("wait", error).into())
    }

    /// Returns how the child has ended, or `None` if it has not. It does not wait, closes nothing, and needs no runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if [other code](self#other-code-that-waits-for-children) has taken the status.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait().map_err(|error| OpError::new("try_wait", error).into())
    }

    /// Kills the child (`SIGKILL`) and waits for its end; [`wait`](Child::wait) then returns the status. A child that has
    /// ended already is no error.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the signal was sent at the first poll.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`start_kill`](Child::start_kill) and of [`wait`](Child::wait).
    pub async fn kill(&self) -> io::Result<()> {
        match self.start_kill() {
            Ok(()) => self.wait().await.map(drop),
            Err(error) => coop::refuse(error).await,
        }
    }

    /// Kills the child (`SIGKILL`) and does not wait for its end. A child that has ended is sent nothing, which is no error.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_signal`](Child::send_signal).
    pub fn start_kill(&self) -> io::Result<()> {
        self.process.signal(sys::KILL).map_err(|error| OpError::new("kill", error).into())
    }

    /// Sends a signal to the child, such as [`SignalKind::TERMINATE`]. A child that has ended is sent nothing, which is no
    /// error.
    ///
    /// # Errors
    ///
    /// Returns `PermissionDenied` if the child runs as another user; `InvalidInput` for a number that no signal has, and for
    /// real-time signals; the errors of [`try_wait`](Child::try_wait).
    pub fn send_signal(&self, kind: SignalKind) -> io::Result<()> {
        self.process.signal(kind).map_err(|error| OpError::new("send_signal", error).into())
    }

    /// Closes [`stdin`](Child::stdin), reads [`stdout`](Child::stdout) and [`stderr`](Child::stderr) side by side until both
    /// have ended, and waits for the child. It returns the bytes; a pipe that is not there gives nothing.
    ///
    /// A process to which the child has passed a pipe keeps it open, so this waits for that process too.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the bytes that were read are lost, and so is the child's handle.
    ///
    /// # Errors
    ///
    /// Returns the errors of reads and of [`wait`](Child::wait).
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (stdout, stderr) = both(read_to_end(stdout), read_to_end(stderr)).await?;
        let status = self.wait().await?;
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // An error says that the child has been reaped, or that it is another user's: then it ends when it likes.
            let _ = self.process.signal(sys::KILL);
        }
        orphan::adopt(self.process.clone());
    }
}

/// Makes the standard input of another child of the standard output of this one.
impl TryFrom<PipeReader> for Stdio {
    type Error = io::Error;

    /// Returns the descriptor in blocking mode.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PipeReader::into_blocking`].
    fn try_from(pipe: PipeReader) -> io::Result<Self> {
        pipe.into_blocking().map(Self::from)
    }
}

/// Makes the standard output of another child of the standard input of this one.
impl TryFrom<PipeWriter> for Stdio {
    type Error = io::Error;

    /// Returns the descriptor in blocking mode.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PipeWriter::into_blocking`].
    fn try_from(pipe: PipeWriter) -> io::Result<Self> {
        pipe.into_blocking().map(Self::from)
    }
}

async fn read_to_end(pipe: Option<PipeReader>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        while pipe.read_buf(&mut bytes).await? > 0 {}
    }
    Ok(bytes)
}

/// Runs two futures side by side until both have succeeded or one has failed.
async fn both<T, E>(
    first: impl Future<Output = Result<T, E>>,
    second: impl Future<Output = Result<T, E>>,
) -> Result<(T, T), E> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(move |cx| {
        if one.is_none()
            && let Poll::Ready(result) = first.as_mut().poll(cx)
        {
            one = Some(result?);
        }
        if other.is_none()
            && let Poll::Ready(result) = second.as_mut().poll(cx)
        {
            other = Some(result?);
        }
        match (one.take(), other.take()) {
            (Some(one), Some(other)) => Poll::Ready(Ok((one, other))),
            (first, second) => {
                (one, other) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}
