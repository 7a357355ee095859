//! Directories: their creation and their entries.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use netpoll_rt::JoinHandle;

use crate::blocking::{self, failed};

/// The number of entries that one job reads.
const CHUNK: usize = 32;

/// A builder of directories.
#[derive(Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    mode: Option<u32>,
}

impl DirBuilder {
    /// Creates a builder of one directory with the permissions that the process's mask allows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the directories above are created too, and whether one that exists is no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// Sets the permissions, from which the process's mask is taken.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Creates the directory.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::DirBuilder::create`].
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        super::on_path(path.as_ref(), move |path| builder.create(path)).await
    }
}

/// Returns the entries of a directory.
///
/// # Errors
///
/// Returns the errors of [`std::fs::read_dir`].
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let first = |path: &Path| {
        let chunk = Chunk { entries: VecDeque::with_capacity(CHUNK), rest: Some(std::fs::read_dir(path)?) };
        Ok(chunk.next())
    };
    super::on_path(path.as_ref(), first).await.map(|chunk| ReadDir { chunk, job: None })
}

/// The entries of a directory; made by [`read_dir`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReadDir {
    /// Empty while a job has it.
    chunk: Chunk,
    job: Option<JoinHandle<Chunk>>,
}

/// Entries that were read together.
#[derive(Debug, Default)]
struct Chunk {
    entries: VecDeque<io::Result<DirEntry>>,
    /// `None` once the end was found.
    rest: Option<std::fs::ReadDir>,
}

impl Chunk {
    /// Reads more entries, up to the first error.
    fn next(mut self) -> Self {
        let Some(mut rest) = self.rest.take() else { return self };
        while self.entries.len() < CHUNK {
            let Some(entry) = rest.next() else { return self };
            let failed = entry.is_err();
            self.entries.push_back(entry.map(DirEntry::new));
            if failed {
                break;
            }
        }
        self.rest = Some(rest);
        self
    }
}

impl ReadDir {
    /// Returns the next entry, or `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: no entry is lost.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_next_entry(cx)).await
    }

    /// Polls for the next entry, for a hand-written future.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            if let Some(job) = &mut self.job {
                let ended = ready!(Pin::new(job).poll(cx));
                self.job = None;
                self.chunk = ended.map_err(failed)?;
            }
            if let Some(entry) = self.chunk.entries.pop_front() {
                return Poll::Ready(entry.map(Some));
            }
            if self.chunk.rest.is_none() {
                return Poll::Ready(Ok(None));
            }
            let chunk = std::mem::take(&mut self.chunk);
            self.job = Some(blocking::spawn(|| chunk.next()));
        }
    }
}

/// An entry of a directory.
#[derive(Debug)]
pub struct DirEntry {
    /// The kind, as far as the directory says it.
    kind: Option<FileType>,
    std: Arc<std::fs::DirEntry>,
}

impl DirEntry {
    fn new(std: std::fs::DirEntry) -> Self {
        Self { kind: std.file_type().ok(), std: Arc::new(std) }
    }

    /// Returns the path: that of the directory, and the name.
    pub fn path(&self) -> PathBuf {
        self.std.path()
    }

    /// Returns the name.
    pub fn file_name(&self) -> OsString {
        self.std.file_name()
    }

    /// Returns what the system knows of the entry; of a link, not of its target.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let std = self.std.clone();
        blocking::run(move || std.metadata()).await
    }

    /// Returns the kind of the entry; of a link, not of its target.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub async fn file_type(&self) -> io::Result<FileType> {
        if let Some(kind) = self.kind {
            return Ok(kind);
        }
        let std = self.std.clone();
        blocking::run(move || std.file_type()).await
    }

    /// Returns the number of the entry's inode.
    pub fn ino(&self) -> u64 {
        self.std.ino()
    }
}
