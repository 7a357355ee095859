//! Files. The kernel cannot report when a disk would not make a thread wait, so a thread of a pool, which
//! grows as needed, makes every operation, and the task waits for that.
//!
//! A trip to the pool costs about ten microseconds, so read and write in large pieces. For the rest of
//! [`std::fs`] use [`spawn_blocking`](crate::spawn_blocking).

mod polled;
mod queue;

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::blocking;
use crate::coop;
use crate::error::{OpError, at_path, uninterrupted};
use crate::protocol::pool::Class;
use polled::Polled;
use queue::Queue;

/// The largest number of bytes that one trip to the pool reads or writes: 2 MiB. The trip owns a buffer of
/// that length, because the future that began it may be dropped meanwhile.
pub const MAX_PIECE: usize = 2 * 1024 * 1024;

/// Reads a whole file.
///
/// # Cancel safety
///
/// Dropped before it is ready: nothing has happened.
///
/// # Errors
///
/// Returns the kernel's error: `NotFound`, `PermissionDenied` and others.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    with_path("read", path.as_ref(), |path| std::fs::read(path)).await
}

/// Reads a whole file as text.
///
/// # Cancel safety
///
/// Dropped before it is ready: nothing has happened.
///
/// # Errors
///
/// Returns the errors of [`read`]; `InvalidData` if it is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    with_path("read_to_string", path.as_ref(), |path| std::fs::read_to_string(path)).await
}

/// Creates a file, or empties it, and writes `bytes` to it.
///
/// # Cancel safety
///
/// Dropped before it is ready: it may still be written, or not at all.
///
/// # Errors
///
/// Returns the kernel's error: `NotFound` for the folder, `PermissionDenied`, `StorageFull` and others.
pub async fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]> + Send + 'static) -> io::Result<()> {
    with_path("write", path.as_ref(), move |path| std::fs::write(path, bytes)).await
}

/// Makes one trip to the pool for an operation on a path.
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
/// All operations take `&self`. Those that use the cursor (`read`, `write`, `seek`) and those that concern
/// the whole file (`set_len`, `sync_all`, `metadata`) run one after another, in the order of their first
/// polls. `read_at` and `write_at` use no cursor, and wait for no other operation.
///
/// An operation whose future is dropped before its turn does not happen. An operation that a thread has begun
/// runs to its end: the bytes are written, the cursor has moved, and the operations behind it wait for that.
///
/// An operation proceeds without polls, so a future that is kept and not polled delays no other. An operation
/// that panics on its thread, or that the pool drops when it ends, returns an error of kind `Other`; the
/// others continue.
///
/// Dropping the file closes it after the operation that runs now.
///
/// # The traits of other crates
///
/// It is a reader, a writer and seekable by the traits of futures-io and, with the feature `tokio`, of tokio. As with
/// tokio's `File`, a write is complete when it has copied the bytes, at most [`MAX_PIECE`]: a flush waits until they are
/// written, and an error of a write is that of the next write or flush. The bytes are written also if the file is dropped,
/// unless the runtime ends first, so flush before that. A read that is given up keeps the bytes that it finds for the next
/// one; a write or a seek moves the cursor back behind the bytes that were taken. The methods of this type do not, so do not
/// mix the two without a seek in between.
#[derive(Debug)]
pub struct File {
    queue: Queue,
    /// The state of the traits of other crates.
    polled: Polled,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the file may still be opened, and is closed again.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: `NotFound`, `PermissionDenied` and others.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().read(true), path).await
    }

    /// Opens a file for writing; creates it, or empties it.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the file may still be created, and is closed again.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::open`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(OpenOptions::new().write(true).create(true).truncate(true), path).await
    }

    /// Opens a file with the options of std.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the file may still be opened, and is closed again.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::open`]; `InvalidInput` for options that contradict each other.
    pub async fn open_with(options: &OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
        let options = options.clone();
        with_path("open", path.as_ref(), move |path| options.open(path)).await.map(File::from_std)
    }

    /// Takes over a file of std.
    pub fn from_std(file: std::fs::File) -> File {
        File { queue: Queue::new(file), polled: Polled::default() }
    }

    /// Returns the file as one of std, once the operation that runs now has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the file is closed.
    pub async fn into_std(self) -> std::fs::File {
        self.queue.release().await
    }

    /// Reads at the cursor, up to the length of `buffer` and [`MAX_PIECE`]. Returns 0 at the end of the file,
    /// and for an empty buffer.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the cursor may have moved, and the bytes that were read are lost.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = vec![0; buffer.len().min(MAX_PIECE)];
        let read = move |mut file: &std::fs::File| Ok((uninterrupted(|| file.read(&mut piece))?, piece));
        let (n, piece) = self.run_ordered("read", read).await?;
        buffer[..n].copy_from_slice(&piece[..n]);
        Ok(n)
    }

    /// Reads at the cursor until `buffer` is full. A buffer longer than [`MAX_PIECE`] is read in several
    /// pieces, between which another task may use the cursor.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the cursor may have moved, and the bytes that were read are lost.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::read`]; `UnexpectedEof` if the file ends first.
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

    /// Reads from the cursor to the end of the file, appends the bytes to `buffer`, and returns how many
    /// these are. Another task may use the cursor after each piece of [`MAX_PIECE`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the cursor may have moved; the complete pieces are at the end of `buffer`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::read`]; the complete pieces are at the end of `buffer`.
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

    /// Reads at a position, up to the length of `buffer` and [`MAX_PIECE`]. The cursor does not move.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: nothing has happened.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub async fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut piece = vec![0; buffer.len().min(MAX_PIECE)];
        let read =
            move |file: &std::fs::File| Ok((uninterrupted(|| file.read_at(&mut piece, offset))?, piece));
        let read = self.queue.run_unordered(read).await;
        let (n, piece) = read.map_err(|error| self.error("read_at", error))?;
        buffer[..n].copy_from_slice(&piece[..n]);
        Ok(n)
    }

    /// Writes at the cursor, at most [`MAX_PIECE`], and returns how many bytes were written. With the option
    /// `append` it writes at the end of the file.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the bytes may still be written.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: `StorageFull`, `QuotaExceeded` and others.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes[..bytes.len().min(MAX_PIECE)].to_vec();
        self.run_ordered("write", move |mut file| uninterrupted(|| file.write(&piece))).await
    }

    /// Writes all of `bytes` at the cursor. More than [`MAX_PIECE`] is written in several pieces, between
    /// which another task may use the cursor.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: any part of the bytes may be written.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::write`]; any part may have been written.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            coop::proceed().await;
        }
        for part in bytes.chunks(MAX_PIECE) {
            self.write_owned(part.to_vec(), part.len()).await?;
        }
        Ok(())
    }

    /// Writes the front of a buffer at the cursor, in one trip, and returns the buffer.
    pub(crate) async fn write_owned(&self, buffer: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
        let write = move |mut file: &std::fs::File| file.write_all(&buffer[..length]).map(|()| buffer);
        self.run_ordered("write", write).await
    }

    /// Writes at a position, at most [`MAX_PIECE`], and returns how many bytes were written. The cursor does
    /// not move. With the option `append` Linux writes at the end of the file, whatever the position.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the bytes may still be written.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::write`].
    pub async fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let piece = bytes[..bytes.len().min(MAX_PIECE)].to_vec();
        let write = move |file: &std::fs::File| uninterrupted(|| file.write_at(&piece, offset));
        self.queue.run_unordered(write).await.map_err(|error| self.error("write_at", error))
    }

    /// Moves the cursor, and returns its position in bytes from the beginning.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the cursor may have moved.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` for a position before the beginning; `NotSeekable` for a file without
    /// positions.
    pub async fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        self.run_ordered("seek", move |mut file| file.seek(to)).await
    }

    /// Truncates the file to a length in bytes, or extends it with zeros. The cursor does not move.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the operation may still happen.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; `InvalidInput` if it is not open for writing.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.run_ordered("set_len", move |file| file.set_len(length)).await
    }

    /// Waits until everything that was written, and the metadata of it, is on the disk (fsync(2)).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the operation may still happen.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if a write to the disk failed; the kernel reports each failure once.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.run_ordered("sync_all", std::fs::File::sync_all).await
    }

    /// Waits as [`File::sync_all`] does, but not for metadata that is not needed to read the bytes, such as
    /// times (fdatasync(2)).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: the operation may still happen.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`File::sync_all`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.run_ordered("sync_data", std::fs::File::sync_data).await
    }

    /// Returns its length, times, permissions and kind.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready: nothing has happened.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.run_ordered("metadata", std::fs::File::metadata).await
    }

    /// Runs an operation on the pool, after those that began before it.
    pub(crate) async fn run_ordered<T: Send + 'static>(
        &self,
        op: &'static str,
        call: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.queue.run_ordered(call).await.map_err(|error| self.error(op, error))
    }

    /// Runs an operation on the pool, after those that began before it, in any case and without a task that
    /// waits for it.
    pub(crate) fn run_ordered_detached(&self, call: impl FnOnce(&std::fs::File) + Send + 'static) {
        self.queue.run_ordered_detached(call);
    }

    pub(crate) fn error(&self, op: &'static str, error: io::Error) -> io::Error {
        OpError::new(op, error).on(self.as_fd().as_raw_fd()).into()
    }
}

/// Borrows the descriptor, for calls that this type does not offer and that do not wait for the disk. Reads
/// and writes through it compete for the cursor with the operations of this value.
impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.file().as_fd()
    }
}
