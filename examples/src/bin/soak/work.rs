//! What a run with `--limits` does besides: work for the pool of threads, whose every answer is compared, and waits where
//! the process has as many descriptors as it may.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use netpoll_rt::net::ToSocketAddrs;
use netpoll_rt::time::{sleep, timeout};
use netpoll_rt::{OpError, fs, spawn_blocking};

use crate::connection::PATIENCE;
use crate::tally::Tally;

/// The numbers on Linux, which has the limits that are lowered.
const EMFILE: i32 = 24;
const EAGAIN: i32 = 11;

/// For how long one waits that could have no descriptor.
const PAUSE: Duration = Duration::from_millis(10);

/// A file with known content. Removed at the end.
pub struct Work {
    path: PathBuf,
    content: Vec<u8>,
}

impl Work {
    pub fn new(content: &[u8]) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("netpoll-soak-{}", std::process::id()));
        std::fs::write(&path, content)?;
        Ok(Self { path, content: content.to_owned() })
    }

    /// Reads the file, looks a name up or runs a closure.
    pub async fn one(&self, kind: u8, tally: &Tally) -> Result<(), String> {
        let outcome = timeout(PATIENCE, async {
            match kind {
                0 => self.read().await,
                1 => look_up().await,
                _ => close(u64::from(kind)).await,
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
        // It lies where files go that nobody misses.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The resolver needs descriptors too and does not say that it had none, so an error is no fault.
async fn look_up() -> io::Result<()> {
    let found = ("localhost", 80).to_socket_addrs().await?;
    assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    Ok(())
}

async fn close(number: u64) -> io::Result<()> {
    let value = spawn_blocking(move || number * number).await?;
    if value == number * number { Ok(()) } else { Err(io::Error::other("a wrong value")) }
}

fn number(error: &io::Error) -> Option<i32> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    inner.and_then(OpError::raw_os_error).or(error.raw_os_error())
}

fn is_of_a_limit(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy || matches!(number(error), Some(EMFILE | EAGAIN))
}

/// Waits a little and returns true if the process has as many descriptors as it may.
pub async fn waits_for_descriptors(error: &io::Error, tally: &Tally) -> bool {
    let starves = number(error) == Some(EMFILE);
    if starves {
        tally.starved.inc();
        sleep(PAUSE).await;
    }
    starves
}
