//! Files. The kernel cannot say when a disk would not make a thread wait, so every operation is made by a thread of a pool
//! that grows when it is needed, and the task waits for that.
//!
//! A trip to the pool costs some ten microseconds: read and write in large pieces. What is left of [`std::fs`] goes
//! through [`spawn_blocking`](crate::spawn_blocking).

mod queue;

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::blocking;
use crate::coop;
use crate::error::{OpError, at_path};
use crate::protocol::pool::Class;
use queue::Queue;

/// The most bytes that one trip to the pool reads or writes: 2 MiB. So long a buffer belongs to the trip, for the future
/// that began it may be dropped on the way.
pub const MAX_PIECE: usize = 2 * 1024 * 1024;

/// The whole content of a file.
///
/// Dropped: nothing has happened.
///
/// # Errors
///
/// The kernel's: `NotFound`, `PermissionDenied` and others.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    with_path("read", path.as_ref(), |path| std::fs::read(path)).await
}

/// The whole content of a file that is text.
///
/// Dropped: nothing has happened.
///
/// # Errors
///
/// As [`read`], and `InvalidData` if it is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    with_path("read_to_string", path.as_ref(), |path| std::fs::read_to_string(path)).await
}

/// Makes a file, or empties it, and writes `bytes` to it.
///
/// Dropped: it may still be written, or not at all.
///
/// # Errors
///
/// The kernel's: `NotFound` for the folder, `PermissionDenied`, `StorageFull` and others.
pub async fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]> + Send + 'static) -> io::Result<()> {
    with_path("write", path.as_ref(), move |path| std::fs::write(path, bytes)).await
}

/// One trip to the pool for something that has a name.
async fn with_path<T: Send + 'static>(
    op: &'static str,
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_owned();
    let call = move || call(&path).map_err(|error| at_path(&path, error));
    let called = blocking::run(Class::File, call).await;
    called.and_then(|result| result).map_err(|error| OpError::new(op, error).into())
}

/// An open file.
///
/// All operations take `&self`. Those that use the cursor (`read`, `write`, `seek`) and those that concern the whole file
/// (`set_len`, `sync_all`, `metadata`) are done one after another, in the order of their first polls. `read_at` and
/// `write_at` know no cursor and wait for nobody.
///
/// An operation whose future is dropped before its turn does not happen. One that a thread has begun goes on to its end:
/// the bytes are written, the cursor has moved, and the operations behind it wait for that.
///
/// An operation needs no poll to go on: one whose future is kept and not polled holds nobody up. One that panics on its
/// thread, or that the pool drops when it ends, says so by an error of kind `Other`; the others go on.
///
/// Dropped: it is closed, after the operation that is under way.
#[derive(Debug)]
pub struct File {
    queue: Queue,
}

impl File {
    /// Opens a file for reading.
    ///
    /// Dropped: it may be opened all the same, and is closed again.
    ///
    /// # Errors
    ///
    /// The kernel's: `NotFound`, `PermissionDenied` and others.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().read(true), path).await
    }

    /// Opens a file for writing; makes it, or empties it.
    ///
    /// Dropped: it may be made all the same, and is closed again.
    ///
    /// # Errors
    ///
    /// As [`File::open`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().write(true).create(true).truncate(true), path).await
    }

    /// Opens a file as the options of std say.
    ///
    /// Dropped: it may be opened all the same, and is closed again.
    ///
    /// # Errors
    ///
    /// As [`File::open`]; `InvalidInput` for options that contradict each other.
    pub async fn open_with(options: &OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
        let options = options.clone();
        with_path("open", path.as_ref(), move |path| options.open(path)).await.map(File::from_std)
    }

    /// Takes a file of std over.
    pub fn from_std(file: std::fs::File) -> File {
        File { queue: Queue::new(file) }
    }

    /// Gives the file away, once the operation that is under way has ended.
    ///
    /// Dropped: the file is closed.
    pub async fn into_std(self) -> std::fs::File {
        self.queue.release().await
    }

    /// Reads from the cursor on, up to the length of `buffer` and [`MAX_PIECE`]; 0 is the end of the file, or an empty
    /// buffer.
    ///
    /// Dropped: the cursor may have moved, and what was read is lost.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = vec![0; buffer.len().min(MAX_PIECE)];
        let read = move |mut file: &std::fs::File| Ok((retry(|| file.read(&mut piece))?, piece));
        let (n, piece) = self.run_ordered("read", read).await?;
        buffer[..n].copy_from_slice(&piece[..n]);
        Ok(n)
    }

    /// Reads from the cursor on until `buffer` is full. A buffer longer than [`MAX_PIECE`] is read in several pieces,
    /// between which another task may use the cursor.
    ///
    /// Dropped: the cursor may have moved, and what was read is lost.
    ///
    /// # Errors
    ///
    /// As [`File::read`], and `UnexpectedEof` if the file ends first.
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() {
            coop::proceed().await;
        }
        for part in buffer.chunks_mut(MAX_PIECE) {
            let mut piece = vec![0; part.len()];
            let read = move |mut file: &std::fs::File| file.read_exact(&mut piece).map(|()| piece);
            part.copy_from_slice(&self.run_ordered("read_exact", read).await?);
        }
        Ok(())
    }

    /// Appends all that stands from the cursor to the end of the file; returns how many bytes that is. Another task may use
    /// the cursor after each piece of [`MAX_PIECE`].
    ///
    /// Dropped: the cursor may have moved; what came is at the end of `buffer`.
    ///
    /// # Errors
    ///
    /// As [`File::read`]; what came before is at the end of `buffer`.
    pub async fn read_to_end(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let before = buffer.len();
        loop {
            let mut piece = Vec::new();
            let read = move |file: &std::fs::File| {
                file.take(MAX_PIECE as u64).read_to_end(&mut piece).map(|_| piece)
            };
            let piece = self.run_ordered("read_to_end", read).await?;
            buffer.extend_from_slice(&piece);
            if piece.len() < MAX_PIECE {
                return Ok(buffer.len() - before);
            }
        }
    }

    /// Reads from a place on, up to the length of `buffer` and [`MAX_PIECE`], and leaves the cursor alone.
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub async fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut piece = vec![0; buffer.len().min(MAX_PIECE)];
        let read = move |file: &std::fs::File| Ok((retry(|| file.read_at(&mut piece, offset))?, piece));
        let (n, piece) =
            self.queue.run_unordered(read).await.map_err(|error| self.error("read_at", error))?;
        buffer[..n].copy_from_slice(&piece[..n]);
        Ok(n)
    }

    /// Writes at the cursor, at most [`MAX_PIECE`]; returns how many bytes were written. With the option `append` it
    /// writes at the end of the file.
    ///
    /// Dropped: the bytes may be written all the same.
    ///
    /// # Errors
    ///
    /// The kernel's: `StorageFull`, `QuotaExceeded` and others.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes[..bytes.len().min(MAX_PIECE)].to_vec();
        self.run_ordered("write", move |mut file| retry(|| file.write(&piece))).await
    }

    /// Writes all of `bytes` at the cursor. More than [`MAX_PIECE`] is written in several pieces, between which another
    /// task may use the cursor.
    ///
    /// Dropped: any part of the bytes may be written.
    ///
    /// # Errors
    ///
    /// As [`File::write`]; any part may have been written.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            coop::proceed().await;
        }
        for part in bytes.chunks(MAX_PIECE) {
            self.write_owned(part.to_vec(), part.len()).await?;
        }
        Ok(())
    }

    /// Writes the front of a buffer at the cursor, in one trip, and gives the buffer back.
    pub(crate) async fn write_owned(&self, buffer: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
        let write = move |mut file: &std::fs::File| file.write_all(&buffer[..length]).map(|()| buffer);
        self.run_ordered("write", write).await
    }

    /// Reads at the cursor into a buffer, in one trip, and gives the buffer back.
    pub(crate) async fn read_owned(&self, mut buffer: Vec<u8>) -> io::Result<(usize, Vec<u8>)> {
        let read = move |mut file: &std::fs::File| Ok((retry(|| file.read(&mut buffer))?, buffer));
        self.run_ordered("read", read).await
    }

    /// Writes at a place, at most [`MAX_PIECE`], and leaves the cursor alone; returns how many bytes were written. With the
    /// option `append` Linux writes at the end of the file all the same.
    ///
    /// Dropped: the bytes may be written all the same.
    ///
    /// # Errors
    ///
    /// As [`File::write`].
    pub async fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let piece = bytes[..bytes.len().min(MAX_PIECE)].to_vec();
        let write = move |file: &std::fs::File| retry(|| file.write_at(&piece, offset));
        self.queue.run_unordered(write).await.map_err(|error| self.error("write_at", error))
    }

    /// Moves the cursor; returns where it is then, in bytes from the beginning.
    ///
    /// Dropped: it may have moved.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a place before the beginning; `NotSeekable` for what has no places.
    pub async fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        self.run_ordered("seek", move |mut file| file.seek(to)).await
    }

    /// Cuts the file off at a length in bytes, or extends it with zeroes. The cursor stays.
    ///
    /// Dropped: it may happen all the same.
    ///
    /// # Errors
    ///
    /// The kernel's; `InvalidInput` if it is not open for writing.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.run_ordered("set_len", move |file| file.set_len(length)).await
    }

    /// Waits until everything that was written, and what belongs to it, is on the disk (fsync(2)).
    ///
    /// Dropped: it may happen all the same.
    ///
    /// # Errors
    ///
    /// The kernel's: what could not be written, said once.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.run_ordered("sync_all", std::fs::File::sync_all).await
    }

    /// As [`File::sync_all`], without what is not needed to read it again, such as times (fdatasync(2)).
    ///
    /// Dropped: it may happen all the same.
    ///
    /// # Errors
    ///
    /// As [`File::sync_all`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.run_ordered("sync_data", std::fs::File::sync_data).await
    }

    /// Length, times, permissions, kind.
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.run_ordered("metadata", std::fs::File::metadata).await
    }

    /// Runs an operation on the pool, after those that were begun before.
    pub(crate) async fn run_ordered<T: Send + 'static>(
        &self,
        op: &'static str,
        call: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.queue.run_ordered(call).await.map_err(|error| self.error(op, error))
    }

    /// Runs an operation on the pool, after those that were begun before, in any case and without a task that waits for it.
    pub(crate) fn run_ordered_detached(&self, call: impl FnOnce(&std::fs::File) + Send + 'static) {
        self.queue.run_ordered_detached(call);
    }

    pub(crate) fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        OpError::new(op, error).on(self.as_fd().as_raw_fd()).into()
    }
}

/// For calls that this type does not have, and that do not wait for the disk. To read or write through it is to compete
/// for the cursor with the operations of this value.
impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.file().as_fd()
    }
}

/// A signal ends a call of some file systems early.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
