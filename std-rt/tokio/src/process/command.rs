//! The builder of a child process.

#![expect(unsafe_code, reason = "declares `pre_exec`, whose closure runs between fork(2) and execve(2)")]

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::{Command as StdCommand, ExitStatus, Output, Stdio};

use super::Child;

/// A builder of child processes, with the methods of [`std::process::Command`].
#[derive(Debug)]
pub struct Command {
    inner: netpoll_rt::process::Command,
}

impl Command {
    /// Creates a command that starts `program`, with this process's directory, environment and standard streams.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Self { inner: netpoll_rt::process::Command::new(program) }
    }

    /// Returns the command of std, to read its settings.
    pub fn as_std(&self) -> &StdCommand {
        self.inner.as_std()
    }

    /// Returns the command of std, for settings that this type does not offer.
    pub fn as_std_mut(&mut self) -> &mut StdCommand {
        self.inner.as_std_mut()
    }

    /// Returns the command of std.
    pub fn into_std(self) -> StdCommand {
        self.inner.into_std()
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets the first word of the child's arguments, by default the program's name.
    pub fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>,
    {
        self.inner.arg0(arg);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets several variables of the child's environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// Lets the child inherit no variable of this process.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the child's working directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the child's standard input, which is inherited by default.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdin(cfg);
        self
    }

    /// Sets the child's standard output, which is inherited by default, except by [`output`](Self::output).
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdout(cfg);
        self
    }

    /// Sets the child's standard error output, which is inherited by default, except by [`output`](Self::output).
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stderr(cfg);
        self
    }

    /// Sets whether the drop of a [`Child`] kills it, which is false by default.
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Command {
        self.inner.kill_on_drop(kill_on_drop);
        self
    }

    /// Returns the value of [`kill_on_drop`](Self::kill_on_drop).
    pub fn get_kill_on_drop(&self) -> bool {
        self.inner.get_kill_on_drop()
    }

    /// Sets the child's user.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.inner.uid(id);
        self
    }

    /// Sets the child's group.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.inner.gid(id);
        self
    }

    /// Sets the child's process group; 0 makes a new one.
    pub fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.inner.process_group(pgroup);
        self
    }

    /// Adds a closure that the child runs after fork(2) and before execve(2).
    ///
    /// # Safety
    ///
    /// The closure may call nothing but async-signal-safe functions; see
    /// [`CommandExt::pre_exec`](std::os::unix::process::CommandExt::pre_exec).
    pub unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller promises what netpoll-rt's function requires of the closure; this one requires the same.
        unsafe { self.inner.pre_exec(f) };
        self
    }

    /// Starts a child, in the current runtime. It blocks this thread until the kernel has executed the program.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; `NotFound` if there is no such program.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime, and in one without sockets, whose driver tokio's children need.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        crate::runtime::assert_has_io();
        self.inner.spawn().and_then(Child::new)
    }

    /// Starts a child as [`spawn`](Self::spawn) does, and returns a future of its exit status. The ends of its pipes on this
    /// side are closed.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + use<> {
        let started = self.spawn();
        async {
            let mut child = started?;
            drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
            child.wait().await
        }
    }

    /// Starts a child as [`spawn`](Self::spawn) does, and returns a future of its exit status and of its output and error
    /// output, which are captured whatever was set. The input is inherited, unless it was set.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + use<> {
        self.stdout(Stdio::piped());
        self.stderr(Stdio::piped());
        let started = self.spawn();
        async { started?.wait_with_output().await }
    }
}

impl From<StdCommand> for Command {
    fn from(std: StdCommand) -> Command {
        Command { inner: std.into() }
    }
}
