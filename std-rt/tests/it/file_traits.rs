//! A file by the traits of futures-io: the state that a poll keeps, and the position of the cursor afterwards.

use std::future::poll_fn;
use std::io::{ErrorKind, SeekFrom};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::*;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use netpoll_rt::fs::{self, File, MAX_PIECE};

/// A path that is removed again.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("netpoll-{}-traits-{name}", std::process::id())))
    }

    async fn file(&self) -> File {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        File::open_with(&options, &self.0).await.unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn written_sought_and_read_back() {
    each(async || {
        let path = Temporary::new("back");
        let mut file = path.file().await;
        let bytes: Vec<u8> = (0..MAX_PIECE + 1000).map(|i| (i % 251) as u8).collect();
        AsyncWriteExt::write_all(&mut file, &bytes).await.unwrap();
        AsyncWriteExt::flush(&mut file).await.unwrap();
        assert_eq!(fs::read(&path.0).await.unwrap(), bytes);
        assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::Start(0)).await.unwrap(), 0);
        let mut back = Vec::new();
        AsyncReadExt::read_to_end(&mut file, &mut back).await.unwrap();
        assert!(back == bytes, "{} bytes came back", back.len());
        assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::End(-1)).await.unwrap(), bytes.len() as u64 - 1);
        assert_eq!(AsyncReadExt::read(&mut file, &mut [0; 8]).await.unwrap(), 1);
        assert_eq!(AsyncReadExt::read(&mut file, &mut [0; 8]).await.unwrap(), 0, "the end");
        assert_eq!(AsyncReadExt::read(&mut file, &mut []).await.unwrap(), 0);
    });
}

/// Polls a read of this length once, and gives it up.
fn poll_read(file: &mut File, length: usize) -> Poll<std::io::Result<usize>> {
    let mut buffer = vec![0; length];
    Pin::new(file).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer)
}

/// Gives up a read at a position after it has begun. One that the thread has completed before the poll returns is repeated.
async fn give_up_read(file: &mut File, at: u64, length: usize) {
    for _ in 0..1000 {
        AsyncSeekExt::seek(file, SeekFrom::Start(at)).await.unwrap();
        if poll_read(file, length).is_pending() {
            return;
        }
    }
    panic!("each of 1000 reads was complete at its first poll");
}

#[test]
fn a_read_that_is_given_up_keeps_its_bytes_for_the_next() {
    each(async || {
        let path = Temporary::new("kept");
        let mut file = path.file().await;
        file.write_at(b"0123456789", 0).await.unwrap();
        give_up_read(&mut file, 0, 8).await;
        let mut buffer = [0; 3];
        assert_eq!(AsyncReadExt::read(&mut file, &mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer, b"012");
        // Five more bytes were read already; the write goes behind those that were taken.
        AsyncWriteExt::write_all(&mut file, b"abc").await.unwrap();
        AsyncWriteExt::flush(&mut file).await.unwrap();
        assert_eq!(fs::read(&path.0).await.unwrap(), b"012abc6789");
        give_up_read(&mut file, 6, 4).await;
        let at = AsyncSeekExt::seek(&mut file, SeekFrom::Current(1)).await.unwrap();
        assert_eq!(at, 7, "from behind the bytes that were taken");
        let mut rest = Vec::new();
        AsyncReadExt::read_to_end(&mut file, &mut rest).await.unwrap();
        assert_eq!(rest, b"789");
    });
}

#[test]
fn bytes_that_were_accepted_are_written_though_the_file_is_dropped() {
    each(async || {
        let path = Temporary::new("dropped");
        let mut file = path.file().await;
        let accepted = poll_fn(|cx| Pin::new(&mut file).poll_write(cx, b"accepted")).await.unwrap();
        assert_eq!(accepted, 8);
        let std = file.into_std().await;
        drop(std);
        assert_eq!(fs::read(&path.0).await.unwrap(), b"accepted");
    });
}

#[test]
fn the_error_of_a_write_is_that_of_the_next_one() {
    each(async || {
        let path = Temporary::new("error");
        drop(path.file().await);
        let mut file = File::open(&path.0).await.unwrap();
        assert_eq!(AsyncWriteExt::write(&mut file, b"refused").await.unwrap(), 7);
        let error = AsyncWriteExt::flush(&mut file).await.unwrap_err();
        assert_eq!(error.to_string().matches("write").count(), 1, "{error}");
        assert_ne!(error.kind(), ErrorKind::TimedOut);
        AsyncWriteExt::flush(&mut file).await.unwrap();
        assert_eq!(AsyncWriteExt::write(&mut file, b"refused").await.unwrap(), 7);
        AsyncWriteExt::write(&mut file, b"too").await.unwrap_err();
        AsyncWriteExt::close(&mut file).await.unwrap();
    });
}

#[test]
fn a_seek_that_is_given_up_leaves_the_next_one_alone() {
    each(async || {
        let path = Temporary::new("seek");
        let mut file = path.file().await;
        file.write_at(b"0123456789", 0).await.unwrap();
        {
            let mut seek = pin!(AsyncSeekExt::seek(&mut file, SeekFrom::Start(2)));
            // Whether or not the thread has made it already.
            let _ = Probe::new().poll(seek.as_mut());
        }
        assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::Start(5)).await.unwrap(), 5);
        let error = AsyncSeekExt::seek(&mut file, SeekFrom::Current(-7)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let mut rest = Vec::new();
        AsyncReadExt::read_to_end(&mut file, &mut rest).await.unwrap();
        assert_eq!(rest, b"56789");
    });
}

#[test]
fn a_read_wakes_the_task_that_polled_last() {
    each(async || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        let (first, last) = (Probe::new(), Probe::new());
        for probe in [&first, &last] {
            let waker = Waker::from(Arc::clone(probe));
            let polled = Pin::new(&mut file).poll_read(&mut Context::from_waker(&waker), &mut [0; 8]);
            assert!(polled.is_pending());
        }
        std::io::Write::write_all(&mut writer, b"bytes").unwrap();
        last.woken(1).await;
        assert_eq!(first.wakes.get(), 0);
        let mut buffer = [0; 8];
        assert_eq!(AsyncReadExt::read(&mut file, &mut buffer).await.unwrap(), 5);
    });
}
