//! Child processes, whose end and whose pipes tasks can await.
//!
//! The end of a child is an event of its runtime, on Linux of a descriptor (a pidfd). A [`Child`] that is dropped leaves no
//! zombie as long as its runtime lives, or when this process starts another child.

mod command;
mod pipes;

use std::io;
use std::process::{ExitStatus, Output};

pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};

/// A child process; made by [`Command::spawn`].
///
/// Dropped: the child goes on, unless [`kill_on_drop`](Command::kill_on_drop) was set.
#[derive(Debug)]
pub struct Child {
    inner: netpoll_rt::process::Child,
    /// The number of the process.
    id: u32,
    /// How it has ended, once a wait has returned that.
    status: Option<ExitStatus>,
    /// The pipe to its standard input, if that was set to [`Stdio::piped`](std::process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The pipe from its standard output, if that was set to [`Stdio::piped`](std::process::Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// The pipe from its standard error output, if that was set to [`Stdio::piped`](std::process::Stdio::piped).
    pub stderr: Option<ChildStderr>,
}

impl Child {
    fn new(mut inner: netpoll_rt::process::Child) -> io::Result<Self> {
        // It can only have been reaped by other code of this process, just now.
        let id = inner.id().ok_or(io::ErrorKind::NotFound)?;
        let stdin = inner.stdin.take().map(ChildStdin::new);
        let stdout = inner.stdout.take().map(ChildStdout::new);
        let stderr = inner.stderr.take().map(ChildStderr::new);
        Ok(Self { inner, id, status: None, stdin, stdout, stderr })
    }

    /// Returns the number of the process, until a wait has returned how it has ended.
    pub fn id(&self) -> Option<u32> {
        self.status.is_none().then_some(self.id)
    }

    /// Kills the child and does not wait for its end. One that has ended is no error.
    ///
    /// # Errors
    ///
    /// Returns `PermissionDenied` if the child runs as another user.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.inner.start_kill()
    }

    /// Kills the child and waits for its end.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the signal was sent at the first poll.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`start_kill`](Self::start_kill) and of [`wait`](Self::wait).
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Closes [`stdin`](Self::stdin), waits until the child has ended, and returns how. It may be called again.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the status is not lost, and the next call returns it. `stdin` stays closed.
    ///
    /// # Errors
    ///
    /// Returns an error if other code of this process has taken the status.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let status = self.inner.wait().await?;
        self.status = Some(status);
        Ok(status)
    }

    /// Returns how the child has ended, or `None` if it has not. It closes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if other code of this process has taken the status.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.inner.try_wait()?;
        self.status = self.status.or(status);
        Ok(status)
    }

    /// Closes [`stdin`](Self::stdin), and waits until the child has ended while it reads the other pipes to their ends.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the bytes that were read are lost, and so is the child's handle.
    ///
    /// # Errors
    ///
    /// Returns the errors of reads and of [`wait`](Self::wait).
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        self.inner.stdout = self.stdout.take().map(ChildStdout::into_inner);
        self.inner.stderr = self.stderr.take().map(ChildStderr::into_inner);
        self.inner.wait_with_output().await
    }
}
