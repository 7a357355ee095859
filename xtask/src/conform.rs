//! `conform`: the test suites of other projects, on this runtime.
//!
//! A suite is the source of a crate as the registry has it, copied to `target/conform`. There its runtime is replaced by
//! this one, by edits that fail if their text is not found. Nothing of it is part of this project.

mod list;
mod names;
mod programs;
mod tokio;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use xtask::{Outcome, cmd};

use crate::test::{Suite, minimum};
use crate::upstream::{copy_files, read, registry_source, write};

/// A crate whose tests run here.
struct Conformance {
    /// Name and version, as the folder of the registry's source is called.
    package: &'static str,
    /// The manifest, from the root, of a package that depends on exactly this version.
    manifest: &'static str,
    /// The dependencies that are added, with the root in place of `{root}`.
    dependencies: &'static str,
    /// Files of this project that are added, with the place of each.
    files: &'static [(&'static str, &'static str)],
    /// Edits: a file, a text in it, and the text instead.
    edits: &'static [(&'static str, &'static str, &'static str)],
    /// The arguments of `cargo test`.
    args: &'static [&'static str],
}

const SUITES: &[(&str, Conformance)] = &[("quinn", QUINN), ("async-io", ASYNC_IO), ("monoio", MONOIO)];

/// quinn, whose endpoints, timers and tasks are those of `examples/web`. Its two tests that build a runtime of tokio keep
/// that for the futures that they drive themselves.
const QUINN: Conformance = Conformance {
    package: "quinn-0.11.12",
    manifest: "examples/web/Cargo.toml",
    dependencies: "[dependencies.netpoll-rt]\npath = \"{root}/std-rt\"\nfeatures = [\"macros\"]\n",
    files: &[("examples/web/src/quic.rs", "src/runtime/netpoll.rs")],
    edits: &[
        // Its edition has no `Future` in the prelude.
        ("src/runtime/netpoll.rs", "use std::io::", "use std::future::Future;\nuse std::io::"),
        ("src/lib.rs", "mod runtime;", "extern crate self as quinn;\nmod runtime;"),
        (
            "src/runtime.rs",
            "pub fn default_runtime() -> Option<Arc<dyn Runtime>> {",
            "pub fn default_runtime() -> Option<Arc<dyn Runtime>> {\n    return Some(Arc::new(NetpollRuntime::new(netpoll_rt::Handle::current())));",
        ),
        (
            "src/runtime.rs",
            "mod async_io;",
            "mod async_io;\n#[path = \"runtime/netpoll.rs\"]\nmod netpoll;\npub use self::netpoll::NetpollRuntime;",
        ),
        ("src/tests.rs", "use crate::runtime::TokioRuntime;", "use crate::runtime::NetpollRuntime;"),
        (
            "src/tests.rs",
            "Arc::new(TokioRuntime)",
            "Arc::new(NetpollRuntime::new(netpoll_rt::Handle::current()))",
        ),
        ("src/tests.rs", "#[tokio::test]", "#[netpoll_rt::test]"),
        ("src/tests.rs", "tokio::spawn(", "netpoll_rt::spawn("),
        ("src/tests.rs", "use tokio::time::{sleep, timeout};", "use netpoll_rt::time::{sleep, timeout};"),
        // Our timeout's error is an `io::Error`, which cannot be compared.
        ("src/tests.rs", "assert_eq!(res, Ok(Ok(None)))", "assert_eq!(res.unwrap(), Ok(None))"),
        ("src/tests.rs", "tokio::task::spawn(", "netpoll_rt::spawn("),
        ("tests/many_connections.rs", "tokio::spawn(", "netpoll_rt::spawn("),
    ],
    args: &[
        // Tests of cryptography with limits in seconds.
        "--config",
        "profile.dev.opt-level=2",
        "--no-default-features",
        "--features",
        "rustls-ring,runtime-tokio,log",
        "--tests",
        "--no-fail-fast",
        "--",
        "--include-ignored",
    ],
};

/// async-io, whose reactor is a file of this project. Its test `issue_182` looks a public name up, and is not run.
const ASYNC_IO: Conformance = Conformance {
    package: "async-io-2.6.0",
    manifest: "examples/bench/Cargo.toml",
    dependencies: "[dependencies.netpoll-rt]\npath = \"{root}/std-rt\"\n",
    files: &[("xtask/conform/async_io.rs", "src/reactor.rs")],
    edits: &[
        ("src/lib.rs", "mod driver;", ""),
        ("src/lib.rs", "pub use driver::block_on;", "pub use netpoll_rt::block_on;"),
        ("src/os/unix.rs", "Some(crate::Reactor::get().poller.as_fd())", "None"),
    ],
    args: &["--no-fail-fast", "--test", "async", "--test", "block_on", "--test", "timer"],
};

/// monoio, whose driver is a file of this project. These tests are left out:
///
/// - `connect_timeout_dst` connects to a public address.
/// - `fs_*` would pass without this runtime: monoio without io_uring calls the kernel for files on the thread of the task.
/// - `ctrlc_uring` needs io_uring. `ctrlc_legacy` needs a driver that its thread for signals can wake.
/// - The unit tests are about buffers, lists and monoio's own timer wheel, which nothing here uses.
const MONOIO: Conformance = Conformance {
    package: "monoio-0.2.4",
    manifest: "examples/bench/Cargo.toml",
    dependencies: "[dependencies.netpoll-rt]\npath = \"{root}/std-rt\"\n",
    files: &[("xtask/conform/monoio.rs", "src/driver/legacy/mod.rs")],
    edits: &[
        ("src/driver/mod.rs", "mod legacy;", "pub(crate) mod legacy;"),
        ("src/driver/mod.rs", "Rc<std::cell::UnsafeCell<LegacyInner>>", "Rc<LegacyInner>"),
        // The driver calls before it waits, so a readiness must be true. Otherwise a socket would count as connected at once.
        ("src/driver/op/poll.rs", "if !self.relaxed {", "{"),
        (
            "src/lib.rs",
            "pub use runtime::{spawn, Runtime};",
            "pub use {driver::legacy::spawn, runtime::Runtime};",
        ),
        // `test_all` makes two tests of each function, one of them with io_uring.
        ("src/lib.rs", "{main, test, test_all}", "{main, test, test as test_all}"),
        // Linux refuses this option for Unix sockets since 6.12.9.
        ("src/net/unix/listener.rs", "sys_listener.set_reuse_port(true)?;", ""),
        (
            "src/runtime.rs",
            "let mut join = ",
            "return crate::driver::legacy::block_on(join);\n let mut join = ",
        ),
        ("src/time/driver/sleep.rs", "driver::{Handle, TimerEntry},", "driver::Handle,"),
        (
            "src/time/driver/sleep.rs",
            "use crate::time::{",
            "use crate::driver::legacy::TimerEntry;\nuse crate::time::{",
        ),
        // A listener of this process in place of a public one.
        (
            "tests/tcp_connect.rs",
            "\"rsproxy.cn:80\"",
            "Box::leak(Box::new(std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap())).local_addr().unwrap()",
        ),
    ],
    args: &[
        "--no-default-features",
        "--features",
        "async-cancel,bytes,legacy,macros,utils,splice",
        "--no-fail-fast",
        "--test",
        "buf_writter",
        "--test",
        "tcp_*",
        "--test",
        "udp",
        "--test",
        "uds_*",
        "--test",
        "unix_*",
        "--test",
        "zero_copy",
        "--",
        "--skip=connect_timeout_dst",
    ],
};

/// Runs all suites, or the one that is named.
pub fn run(args: &[String]) -> Outcome {
    let (bless, args) = cmd::take_flag(args, "--bless");
    let (root, names) = cmd::take_root(&args)?;
    if names == ["tokio-names"] {
        return names::run(&root);
    }
    if let Some(("tokio", options)) = names.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        return tokio::run(&root, options, bless);
    }
    if let Some(unknown) = names.iter().find(|name| !SUITES.iter().any(|(suite, _)| suite == name)) {
        let known: Vec<&str> = SUITES.iter().map(|(suite, _)| *suite).collect();
        return Err(format!("no suite `{unknown}`; the suites are {}", known.join(", ")));
    }
    let mut counts = Vec::new();
    for (name, conformance) in
        SUITES.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name))
    {
        println!("-- {name}");
        let start = Instant::now();
        let source = conformance.prepare(&root)?;
        let target = cmd::target_dir(&root)?.join("conform/build");
        let mut command = cmd::cargo(&source, &["test"]);
        // Its own warnings are not ours.
        command.args(conformance.args).env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "--cap-lints=allow");
        let suite = Suite::run(&mut command)?;
        suite.print(start.elapsed());
        suite.red.clone().map_or(Ok(()), Err)?;
        minimum(&root, &format!("conform-{name}"), suite.passed(), bless)?;
        counts.push(format!("{} tests of {}", suite.passed(), conformance.package));
    }
    println!("conform: {}", counts.join(", "));
    Ok(())
}

impl Conformance {
    /// Copies the source and edits it; returns its folder.
    fn prepare(&self, root: &Path) -> Result<PathBuf, String> {
        let copy = cmd::target_dir(root)?.join("conform").join(self.package);
        if copy.exists() {
            fs::remove_dir_all(&copy).map_err(|e| format!("{}: {e}", copy.display()))?;
        }
        copy_files(&registry_source(root, self.manifest, self.package)?, &copy)?;
        for (file, place) in self.files {
            write(&copy.join(place), &read(&root.join(file))?)?;
        }
        for (file, old, new) in self.edits {
            let (path, text) = (copy.join(file), read(&copy.join(file))?);
            if !text.contains(old) {
                return Err(format!("{} of {} does not contain `{old}`", file, self.package));
            }
            write(&path, &text.replace(old, new))?;
        }
        let manifest = copy.join("Cargo.toml");
        let dependencies = self.dependencies.replace("{root}", &root.display().to_string());
        // The tests of a copy are its own workspace, wherever it stands.
        write(&manifest, &format!("{}\n[workspace]\n\n{dependencies}", read(&manifest)?))?;
        Ok(copy)
    }
}
