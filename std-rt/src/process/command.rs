//! The builder of a child process.

#![expect(unsafe_code, reason = "declares `pre_exec`, whose closure runs between fork(2) and execve(2)")]

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self as std_process, ExitStatus, Output, Stdio};

use super::Child;
use crate::coop;
use crate::error::{OpError, at_path};

/// A builder of child processes, with the methods of [`std::process::Command`]; see the [module](super) for an example.
///
/// One command may start any number of children.
#[derive(Debug)]
pub struct Command {
    std: std_process::Command,
    kill_on_drop: bool,
    /// True if the standard input was chosen: [`output`](Command::output) leaves it alone then. So also for the other two.
    has_stdin: bool,
    has_stdout: bool,
    has_stderr: bool,
}

impl Command {
    /// Creates a command that starts `program`, which is searched in `PATH` if it has no slash: without arguments, in this
    /// process's directory, with its environment and its standard input, output and error.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { has_stdin: false, ..Self::from(std_process::Command::new(program)) }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.std.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.std.args(args);
        self
    }

    /// Sets the first word of the child's arguments, by default the program's name.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.std.arg0(arg);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.std.env(key, value);
        self
    }

    /// Sets several variables of the child's environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        self.std.envs(variables);
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.std.env_remove(key);
        self
    }

    /// Lets the child inherit no variable of this process, and forgets those that were set here.
    pub fn env_clear(&mut self) -> &mut Self {
        self.std.env_clear();
        self
    }

    /// Sets the child's working directory.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.std.current_dir(directory);
        self
    }

    /// Sets the child's standard input, which is inherited by default.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.has_stdin = true;
        self.std.stdin(stdio);
        self
    }

    /// Sets the child's standard output, which is inherited by default, except by [`output`](Command::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.has_stdout = true;
        self.std.stdout(stdio);
        self
    }

    /// Sets the child's standard error output, which is inherited by default, except by [`output`](Command::output).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.has_stderr = true;
        self.std.stderr(stdio);
        self
    }

    /// Sets whether the drop of a [`Child`] kills it (`SIGKILL`), which is false by default. Then a dropped future of
    /// [`status`](Command::status), [`output`](Command::output) or [`Child::wait_with_output`] ends its child. Processes
    /// that the child has started go on; a [`process_group`](Command::process_group) reaches those too.
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Self {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// Returns the value of [`kill_on_drop`](Command::kill_on_drop).
    pub fn get_kill_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    /// Sets the child's user. The start of the child fails if this process may not do that.
    pub fn uid(&mut self, id: u32) -> &mut Self {
        self.std.uid(id);
        self
    }

    /// Sets the child's group. The start of the child fails if this process may not do that.
    pub fn gid(&mut self, id: u32) -> &mut Self {
        self.std.gid(id);
        self
    }

    /// Sets the child's process group; 0 makes a new one, whose number is the child's. A signal of the terminal, such as
    /// Ctrl-C, is sent to the group of the foreground alone.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.std.process_group(group);
        self
    }

    /// Adds a closure that the child runs after fork(2) and before execve(2). Its error ends the child, and
    /// [`spawn`](Command::spawn) returns it.
    ///
    /// # Safety
    ///
    /// The child has this process's memory and only the calling thread. So the closure may call nothing but
    /// async-signal-safe functions: it must not allocate, and must not take a lock, which a thread that does not exist in
    /// the child may hold. See [`CommandExt::pre_exec`].
    pub unsafe fn pre_exec<F>(&mut self, closure: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller promises what `CommandExt::pre_exec` requires of the closure; this function says the same.
        unsafe { self.std.pre_exec(closure) };
        self
    }

    /// Returns the command of std, to read its settings.
    pub fn as_std(&self) -> &std_process::Command {
        &self.std
    }

    /// Returns the command of std, for settings that this type does not offer.
    pub fn as_std_mut(&mut self) -> &mut std_process::Command {
        &mut self.std
    }

    /// Returns the command of std.
    pub fn into_std(self) -> std_process::Command {
        self.std
    }

    /// Starts a child, in the runtime that this thread runs for or in the default one. The child runs from now on, whether
    /// or not a task awaits it.
    ///
    /// It blocks this thread until the kernel has executed the program or refused it, some hundred microseconds, and longer
    /// if this process has much memory and std has to fork it. A task that starts many children leaves that to
    /// [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error with the program's path: `NotFound` or `PermissionDenied` for the program or the
    /// directory; `WouldBlock` at the limit of processes. Returns an error if no descriptor is free (`EMFILE`, `ENFILE`): a
    /// child takes one, or where the system has no pidfds two for all children, and one for each pipe.
    /// [`runtime_ended`](crate::runtime_ended) knows the error of a runtime that has ended. A child that was started and
    /// cannot be watched is killed.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let program = Path::new(self.std.get_program()).to_owned();
        let started = Child::start(&mut self.std, self.kill_on_drop);
        started.map_err(|error| OpError::new("spawn", at_path(&program, error)).into())
    }

    /// Starts a child as [`spawn`](Command::spawn) does, and returns a future of its exit status. The ends of its pipes on
    /// this side, if there are any, are closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the child goes on, or is killed if [`kill_on_drop`](Command::kill_on_drop) is set.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`spawn`](Command::spawn) and of [`Child::wait`].
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let started = self.spawn();
        async move {
            match started {
                Ok(mut child) => {
                    drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
                    child.wait().await
                }
                Err(error) => coop::refuse(error).await,
            }
        }
    }

    /// Starts a child as [`spawn`](Command::spawn) does, and returns a future of its exit status and of the bytes that it has
    /// written. As with std, output and error output are captured and the input is empty, except those that were set; a
    /// command that was made of one of std keeps its input.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the bytes that were read are lost, and the child goes on, or is killed if
    /// [`kill_on_drop`](Command::kill_on_drop) is set.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`spawn`](Command::spawn) and of [`Child::wait_with_output`].
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        if !self.has_stdin {
            self.std.stdin(Stdio::null());
        }
        if !self.has_stdout {
            self.std.stdout(Stdio::piped());
        }
        if !self.has_stderr {
            self.std.stderr(Stdio::piped());
        }
        let started = self.spawn();
        self.inherit_defaults();
        async move {
            match started {
                Ok(child) => child.wait_with_output().await,
                Err(error) => coop::refuse(error).await,
            }
        }
    }

    /// Restores the defaults that [`output`](Command::output) has replaced.
    fn inherit_defaults(&mut self) {
        if !self.has_stdin {
            self.std.stdin(Stdio::inherit());
        }
        if !self.has_stdout {
            self.std.stdout(Stdio::inherit());
        }
        if !self.has_stderr {
            self.std.stderr(Stdio::inherit());
        }
    }
}

/// Takes over the settings of a command of std.
impl From<std_process::Command> for Command {
    fn from(std: std_process::Command) -> Self {
        Self { std, kill_on_drop: false, has_stdin: true, has_stdout: false, has_stderr: false }
    }
}
