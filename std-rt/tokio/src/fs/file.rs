//! An open file, whose jobs run one after another on threads of the pool.
//!
//! | state | the buffer holds | an operation |
//! |---|---|---|
//! | no job | bytes that were read and not taken, or nothing | a read takes them; a write or a seek moves the cursor back behind those that were taken |
//! | job | nothing: the job has it | waits for the job, whatever that is |
//!
//! The error of a write that is over is kept for the next write or flush.

#![expect(unsafe_code, reason = "declares `FromRawFd`, whose caller vouches for the descriptor")]

use std::fmt;
use std::fs::{File as StdFile, Metadata, Permissions};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use netpoll_rt::JoinHandle;
use upstream::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use upstream::sync::Mutex;

use super::{FileTimes, OpenOptions};
use crate::blocking::{self, Buffer, MAX_BUFFER, failed, refused};

/// An open file.
///
/// A write is ready once its bytes are copied; [`flush`](upstream::io::AsyncWriteExt::flush) waits until they are written, and
/// an error is that of the next write or flush. The bytes are written also if the file is dropped or its runtime ends before.
/// A read that is given up keeps the bytes that it finds for the next one.
pub struct File {
    std: Arc<StdFile>,
    inner: Mutex<Inner>,
    max_buf_size: usize,
}

/// The job of a file and what it leaves behind.
#[derive(Default)]
struct Inner {
    /// Empty while a job has it.
    buffer: Buffer,
    job: Option<JoinHandle<(Done, Buffer)>>,
    /// The error of a write that no operation has returned yet.
    write_error: Option<io::Error>,
    /// The position after the last seek.
    position: u64,
}

/// The result of a job.
enum Done {
    Read(io::Result<usize>),
    Written(io::Result<()>),
    Sought(io::Result<u64>),
    Resized(io::Result<()>),
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::open`].
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        Self::options().read(true).open(path).await
    }

    /// Opens a file for writing; creates it, or empties it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::create`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        Self::options().write(true).create(true).truncate(true).open(path).await
    }

    /// Creates a file that does not exist yet, for reading and writing.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::create_new`].
    pub async fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        Self::options().read(true).write(true).create_new(true).open(path).await
    }

    /// Returns options of which none is set.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file of std.
    pub fn from_std(std: StdFile) -> File {
        File { std: Arc::new(std), inner: Mutex::new(Inner::default()), max_buf_size: MAX_BUFFER }
    }

    /// Waits until the file and what the system knows of it are on the disk.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::sync_all`].
    pub async fn sync_all(&self) -> io::Result<()> {
        self.when_idle(StdFile::sync_all).await
    }

    /// Waits until the bytes of the file are on the disk.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::sync_data`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.when_idle(StdFile::sync_data).await
    }

    /// Sets the length of the file: cuts it off, or adds zeros.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::set_len`].
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        let mut inner = self.inner.lock().await;
        inner.idle().await;
        inner.start(&self.std, move |file, buffer| {
            Done::Resized(move_back(file, buffer.discard()).and_then(|()| file.set_len(size)))
        });
        match poll_fn(|cx| inner.poll_job(cx)).await? {
            Some(Done::Resized(result)) => result,
            _ => Ok(()),
        }
    }

    /// Returns what the system knows of the file.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::metadata`].
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.call(StdFile::metadata).await
    }

    /// Returns another handle with the same cursor.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::try_clone`].
    pub async fn try_clone(&self) -> io::Result<File> {
        let std = self.when_idle(StdFile::try_clone).await?;
        Ok(File { max_buf_size: self.max_buf_size, ..File::from_std(std) })
    }

    /// Waits for the operation that runs, and returns the file of std. Bytes that were read and not taken are lost.
    ///
    /// # Panics
    ///
    /// Panics if an operation still runs whose future was dropped, such as that of [`metadata`](Self::metadata), and no
    /// descriptor is free for a second handle.
    pub async fn into_std(mut self) -> StdFile {
        self.inner.get_mut().idle().await;
        Arc::try_unwrap(self.std).unwrap_or_else(|shared| {
            shared.try_clone().expect("the file has another user, and the system refuses a second handle")
        })
    }

    /// Returns the file of std at once.
    ///
    /// # Errors
    ///
    /// Returns the file itself if an operation runs.
    #[expect(clippy::result_large_err, reason = "tokio's signature")]
    pub fn try_into_std(mut self) -> Result<StdFile, Self> {
        match Arc::try_unwrap(self.std) {
            Ok(file) => Ok(file),
            Err(shared) => {
                self.std = shared;
                Err(self)
            }
        }
    }

    /// Sets the permissions of the file.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::set_permissions`].
    pub async fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        self.call(move |file| file.set_permissions(perm)).await
    }

    /// Sets times of the file.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::set_times`].
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.when_idle(move |file| file.set_times(times.into_std())).await
    }

    /// Sets the time of the last change.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`std::fs::File::set_modified`].
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// Sets how many bytes one job reads or writes at most, 2 MiB by default.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[track_caller]
    pub fn set_max_buf_size(&mut self, max_buf_size: usize) {
        assert!(max_buf_size > 0, "`max_buf_size` must be greater than 0");
        self.max_buf_size = max_buf_size;
    }

    /// Returns how many bytes one job reads or writes at most.
    pub fn max_buf_size(&self) -> usize {
        self.max_buf_size
    }

    /// Calls a function of std, beside the jobs.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&StdFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let std = self.std.clone();
        blocking::run(move || call(&std)).await
    }

    /// Calls a function of std after the job that runs.
    async fn when_idle<T: Send + 'static>(
        &self,
        call: impl FnOnce(&StdFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.inner.lock().await.idle().await;
        self.call(call).await
    }

    /// Accepts bytes, for a job that writes them.
    fn poll_accept(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let inner = self.inner.get_mut();
        ready!(inner.poll_written(cx))?;
        let unread = inner.buffer.discard();
        let accepted = inner.buffer.copy_from(bytes, self.max_buf_size);
        inner.start_mandatory(&self.std, move |file, buffer| {
            Done::Written(move_back(file, unread).and_then(|()| buffer.write_to(&mut &*file)))
        })?;
        Poll::Ready(Ok(accepted))
    }
}

/// Moves the cursor back behind the bytes that were taken.
fn move_back(mut file: &StdFile, unread: usize) -> io::Result<()> {
    match unread {
        0 => Ok(()),
        // No buffer is longer than `isize::MAX`.
        _ => file.seek(SeekFrom::Current(-(unread as i64))).map(drop),
    }
}

impl Inner {
    /// Starts a job, which has the buffer meanwhile.
    fn start(
        &mut self,
        file: &Arc<StdFile>,
        job: impl FnOnce(&StdFile, &mut Buffer) -> Done + Send + 'static,
    ) {
        self.job = Some(blocking::spawn(self.job(file, job)));
    }

    /// Starts a job that runs in any case, unless the runtime has ended already.
    fn start_mandatory(
        &mut self,
        file: &Arc<StdFile>,
        job: impl FnOnce(&StdFile, &mut Buffer) -> Done + Send + 'static,
    ) -> io::Result<()> {
        self.job = Some(blocking::spawn_mandatory(self.job(file, job)).ok_or_else(refused)?);
        Ok(())
    }

    fn job<J: FnOnce(&StdFile, &mut Buffer) -> Done + Send + 'static>(
        &mut self,
        file: &Arc<StdFile>,
        job: J,
    ) -> impl FnOnce() -> (Done, Buffer) + Send + use<J> {
        let (file, mut buffer) = (file.clone(), std::mem::take(&mut self.buffer));
        move || (job(&file, &mut buffer), buffer)
    }

    /// Waits for the job, and returns its result, or `None` if there is no job. The error of a write is kept.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Done>>> {
        let Some(job) = &mut self.job else { return Poll::Ready(Ok(None)) };
        let ended = ready!(Pin::new(job).poll(cx));
        self.job = None;
        let (mut done, buffer) = ended.map_err(failed)?;
        self.buffer = buffer;
        match &mut done {
            Done::Written(result) => {
                if let Err(error) = std::mem::replace(result, Ok(())) {
                    self.write_error = Some(error);
                }
            }
            Done::Sought(Ok(position)) => self.position = *position,
            _ => {}
        }
        Poll::Ready(Ok(Some(done)))
    }

    /// Waits until no job runs, and returns the error of a write.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while ready!(self.poll_job(cx))?.is_some() {}
        Poll::Ready(self.write_error.take().map_or(Ok(()), Err))
    }

    /// Waits until no job runs. An error is kept for the next write or flush.
    async fn idle(&mut self) {
        self.write_error = poll_fn(|cx| self.poll_written(cx)).await.err();
    }
}

impl AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, dst: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let inner = this.inner.get_mut();
        loop {
            match ready!(inner.poll_job(cx))? {
                Some(Done::Read(read)) => {
                    read?;
                    break;
                }
                Some(_) => {}
                None if !inner.buffer.is_empty() || dst.remaining() == 0 => break,
                None => {
                    let most = dst.remaining().min(this.max_buf_size);
                    inner.start(&this.std, move |mut file, buffer| {
                        Done::Read(buffer.read_from(&mut file, most))
                    });
                }
            }
        }
        inner.buffer.move_to(dst);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, src: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_accept(cx, &[IoSlice::new(src)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_accept(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.get_mut().poll_written(cx)
    }

    /// Flushes.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl AsyncSeek for File {
    /// Starts a seek.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Other` while another operation runs, for which `poll_complete` waits.
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let inner = this.inner.get_mut();
        if inner.job.is_some() {
            return Err(io::Error::other(
                "other file operation is pending, call poll_complete before start_seek",
            ));
        }
        let unread = inner.buffer.discard();
        inner.start(&this.std, move |mut file, _| {
            Done::Sought(move_back(file, unread).and_then(|()| file.seek(position)))
        });
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let inner = self.inner.get_mut();
        loop {
            match ready!(inner.poll_job(cx))? {
                Some(Done::Sought(sought)) => return Poll::Ready(sought),
                Some(_) => {}
                None => return Poll::Ready(Ok(inner.position)),
            }
        }
    }
}

impl From<StdFile> for File {
    fn from(std: StdFile) -> Self {
        Self::from_std(std)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("tokio::fs::File").field("std", &self.std).finish()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        Self::from_std(StdFile::from(fd))
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller promises what std's function requires of the descriptor: that it is open and that this is its
        // owner. This one requires the same.
        Self::from_std(unsafe { StdFile::from_raw_fd(fd) })
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}
