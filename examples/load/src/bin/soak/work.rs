//! The additional work with `--limits`: work for the pool of blocking threads, whose every result is checked, and waits
//! for a descriptor when the process has as many as it may.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use netpoll_rt::net::ToSocketAddrs;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{OpError, fs, spawn_blocking};
use rustix::io::Errno;

use crate::connection::PATIENCE;
use crate::tally::Tally;

/// The pause of a task that could get no descriptor.
const PAUSE: Duration = Duration::from_millis(10);

/// A file with known content, removed when this is dropped.
pub struct Work {
    path: PathBuf,
    content: Vec<u8>,
}

impl Work {
    pub fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("netpoll-soak-{}", std::process::id()));
        let mut content = vec![0; 4096];
        fastrand::fill(&mut content);
        std::fs::write(&path, &content)?;
        Ok(Self { path, content })
    }

    /// Reads the file, looks a name up or runs a closure.
    pub async fn one(&self, kind: u8, tally: &Tally) -> Result<(), String> {
        let outcome = timeout(PATIENCE, async {
            match kind {
                0 => self.read().await,
                1 => look_up().await,
                _ => run_closure(u64::from(kind)).await,
            }
        });
        match outcome.await.map_err(|_| format!("work of kind {kind} has not ended for {PATIENCE:?}"))? {
            Ok(()) => tally.work.inc(),
            Err(error) if kind == 1 || is_of_a_limit(&error) => tally.refused.inc(),
            Err(error) => return Err(format!("work of kind {kind}: {error}")),
        }
        Ok(())
    }

    async fn read(&self) -> io::Result<()> {
        let read = fs::read(&self.path).await?;
        if read == self.content { Ok(()) } else { Err(io::Error::other("wrong bytes in the file")) }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A file that cannot be removed stays in the system's temporary folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Looks a name up. Any error counts as refused: the resolver needs descriptors too and does not say that it got none.
async fn look_up() -> io::Result<()> {
    let found = ("localhost", 80).to_socket_addrs().await?;
    assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    Ok(())
}

async fn run_closure(number: u64) -> io::Result<()> {
    let value = spawn_blocking(move || number * number).await?;
    if value == number * number { Ok(()) } else { Err(io::Error::other("a wrong value")) }
}

fn errno(error: &io::Error) -> Option<Errno> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    inner.and_then(OpError::raw_os_error).or(error.raw_os_error()).map(Errno::from_raw_os_error)
}

fn is_of_a_limit(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy || matches!(errno(error), Some(Errno::MFILE | Errno::AGAIN))
}

/// Pauses and returns true if the error says that the process has as many descriptors as it may.
pub async fn wait_for_descriptor(error: &io::Error, tally: &Tally) -> bool {
    let starves = errno(error) == Some(Errno::MFILE);
    if starves {
        tally.starved.inc();
        sleep(PAUSE).await;
    }
    starves
}
