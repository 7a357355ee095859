//! Programs of Debian against the server.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{env, fs, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use netpoll_web::client::client;
use netpoll_web::server::Limits;
use netpoll_web::{BoxError, app};

use crate::{Site, block_on};

/// The folder of the servers of Postgres, which are not on the path.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Returns a program, or says that its test is skipped.
pub fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    folders
        .extend(fs::read_dir(POSTGRES).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A folder of its own for a test, for any user to write into, which is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    /// Creates it.
    pub fn new() -> io::Result<Self> {
        let mut number = 0;
        let path = loop {
            let path = env::temp_dir().join(format!("netpoll-web-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                result => break result.map(|()| path)?,
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(path))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Runs a program while the server works; fails with its output unless it succeeds.
async fn run(mut command: Command) -> Result<Output, BoxError> {
    let output = netpoll_rt::spawn_blocking(move || command.output()).await??;
    if output.status.success() { Ok(output) } else { Err(format!("{output:?}").into()) }
}

/// Runs a program, and fails unless its output has all of `wanted` and none of `unwanted`.
async fn check(command: Command, wanted: &[&str], unwanted: &[&str]) -> Result<(), BoxError> {
    let output = String::from_utf8_lossy(&run(command).await?.stdout).into_owned();
    // Colors: an escape, then numbers up to a letter.
    let parts = output.split('\x1b').enumerate();
    let text: String = parts
        .map(
            |(at, part)| {
                if at == 0 { part } else { part.split_once(char::is_alphabetic).unwrap_or_default().1 }
            },
        )
        .collect();
    // Numbers are in columns.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let missing = wanted.iter().find(|part| !words.contains(**part));
    match missing.or_else(|| unwanted.iter().find(|part| words.contains(**part))) {
        None => Ok(()),
        Some(part) => Err(format!("`{part}` in\n{text}").into()),
    }
}

#[test]
fn curl_gets_and_sends_the_same_bytes() {
    let Some(curl) = find("curl") else { return };
    block_on(async || {
        let folder = Folder::new()?;
        let upload = folder.path().join("upload");
        fs::write(&upload, app::pattern(24 << 20))?;
        for (tls, version) in
            [(false, "--http1.1"), (false, "--http2-prior-knowledge"), (true, "--http1.1"), (true, "--http2")]
        {
            let site = Site::start(tls, Limits::default()).await?;
            let call = |path: &str| {
                let mut command = Command::new(&curl);
                let url = site.url(if tls { "https" } else { "http" }, path).to_string();
                command.args(["--silent", "--show-error", "--fail", "--insecure", version, &url]);
                command
            };
            assert_eq!(run(call("/bytes/3000000")).await?.stdout, app::pattern(3_000_000));
            let mut post = call("/echo");
            post.arg("--data-binary").arg(format!("@{}", upload.display()));
            // Without it curl waits a second for the permission to send.
            post.args(["--header", "Expect:"]);
            assert!(run(post).await?.stdout == app::pattern(24 << 20), "{version}");
        }
        Ok(())
    });
}

#[test]
fn wrk_sees_no_error() {
    let Some(wrk) = find("wrk") else { return };
    block_on(async || {
        for (tls, scheme) in [(false, "http"), (true, "https")] {
            let site = Site::start(tls, Limits::default()).await?;
            for (connections, path) in [("-c64", "/"), ("-c16", "/bytes/102400")] {
                let mut command = Command::new(&wrk);
                command.args(["-t1", "-d2s", connections, &site.url(scheme, path).to_string()]);
                check(command, &["Requests/sec:"], &["Socket errors", "Non-2xx", " 0 requests in"]).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn h2load_sees_no_error() {
    let Some(h2load) = find("h2load") else { return };
    block_on(async || {
        for (tls, scheme) in [(false, "http"), (true, "https")] {
            let site = Site::start(tls, Limits::default()).await?;
            for (requests, path) in [("4000", "/"), ("400", "/bytes/102400")] {
                let mut command = Command::new(&h2load);
                command.args(["-n", requests, "-c", "8", "-m", "10", &site.url(scheme, path).to_string()]);
                let all = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
                check(command, &[&all], &[]).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn ab_sees_no_error() {
    let Some(ab) = find("ab") else { return };
    block_on(async || {
        for (tls, scheme) in [(false, "http"), (true, "https")] {
            let site = Site::start(tls, Limits::default()).await?;
            for (requests, keep, path) in
                [("4000", true, "/"), ("400", true, "/bytes/102400"), ("200", false, "/")]
            {
                let mut command = Command::new(&ab);
                command.args(keep.then_some("-k"));
                command.args(["-q", "-n", requests, "-c", "16", &site.url(scheme, path).to_string()]);
                let complete = format!("Complete requests: {requests}");
                check(command, &[&complete, "Failed requests: 0"], &["Non-2xx", "Write errors: 1"]).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn slowhttptest_is_cut_off_while_others_are_served() {
    let Some(slow) = find("slowhttptest") else { return };
    block_on(async || {
        let second = Duration::from_secs(1);
        let limits = Limits { head: second, handler: second, idle: 2 * second, ..Limits::default() };
        let site = Site::start(false, limits).await?;
        let other = client::<Empty<Bytes>>(site.trust(&[]), false);
        // Heads in pieces, and bodies in pieces: the program sees that it is cut off. Responses that are hardly read: it does
        // not see that, because it has not read what came before the end.
        let modes: [(&str, &[&str], &str, &str); 3] = [
            ("-H", &["-i1", "-l30"], "/", "Exit status: No open connections left"),
            ("-B", &["-i1", "-l30"], "/count", "Exit status: No open connections left"),
            (
                "-X",
                &["-n1", "-z1", "-w512", "-y1024", "-l8"],
                "/bytes/6000000",
                "Exit status: Hit test time limit",
            ),
        ];
        for (mode, args, path, end) in modes {
            let mut command = Command::new(&slow);
            command.args([mode, "-c", "100", "-r", "200", "-p", "3"]).args(args);
            command.args(["-u", &site.url("http", path).to_string()]);
            let (wanted, unwanted) = (["service available: YES", end], ["service available: NO"]);
            let attack = netpoll_rt::spawn(async move { check(command, &wanted, &unwanted).await });
            let (mut served, before, mut failed) = (0, *site.failed.lock().unwrap(), 0);
            while !attack.is_finished() {
                let body = other.get(site.url("http", "/bytes/1000")).await?.into_body().collect().await?;
                assert_eq!(body.to_bytes(), app::pattern(1000));
                served += 1;
                failed = *site.failed.lock().unwrap() - before;
            }
            attack.await??;
            // A body in pieces gets its answer, so the connection has not failed.
            assert!(failed >= 100 || mode == "-B", "{mode}: {failed} connections were cut off");
            println!("{mode}: {served} requests of another client were served meanwhile");
        }
        Ok(())
    });
}
