//! Files: what a write, a read that is given up and the end of a runtime leave behind.

use std::io::{ErrorKind, Read, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use netpoll_rt::{Runtime, block_on};
use tokio::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::poll_once;

/// A directory of one test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("facade-fs-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, contents: &[u8]) -> PathBuf {
        let path = self.0.join("file");
        std::fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A runtime whose only thread for work that blocks is busy until the sender is dropped.
fn runtime_with_busy_pool() -> (Runtime, mpsc::Sender<()>) {
    let runtime = Runtime::builder().workers(1).max_blocking_threads(1).build().unwrap();
    let (busy, release) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    drop(runtime.spawn_blocking(move || {
        begun.send(()).unwrap();
        release.recv().unwrap_err();
    }));
    has_begun.recv().unwrap();
    (runtime, busy)
}

#[test]
fn write_is_ready_before_the_bytes_are_written_and_flush_waits() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    block_on(async {
        let mut file = File::from(OwnedFd::from(writer));
        let bytes = vec![7; 1 << 20];
        // More than a pipe holds: the job waits for the reader.
        assert_eq!(file.write(&bytes).await.unwrap(), bytes.len());
        assert!(poll_once(pin!(file.write(b"8"))).is_pending());
        assert!(poll_once(pin!(file.flush())).is_pending());
        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        file.flush().await.unwrap();
        drop(file);
        assert_eq!(reading.join().unwrap(), bytes);
    });
}

#[test]
fn error_of_a_write_is_that_of_the_next_write_or_flush() {
    let directory = Directory::new("write-error");
    let path = directory.file(b"abc");
    block_on(async {
        let mut file = File::open(&path).await.unwrap();
        assert_eq!(file.write(b"x").await.unwrap(), 1);
        assert_eq!(file.flush().await.unwrap_err().raw_os_error(), Some(9));
        file.flush().await.unwrap();
        assert_eq!(file.write(b"x").await.unwrap(), 1);
        // An operation that is no write keeps the error.
        file.sync_all().await.unwrap();
        assert_eq!(file.write(b"x").await.unwrap_err().raw_os_error(), Some(9));
        let mut read = String::new();
        file.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "abc");
    });
}

#[test]
fn read_that_is_given_up_keeps_its_bytes_and_a_seek_or_write_starts_behind_those_taken() {
    let directory = Directory::new("given-up");
    let path = directory.file(b"abcdef");
    let (runtime, busy) = runtime_with_busy_pool();
    let mut busy = Some(busy);
    runtime.block_on(async {
        let std = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut file = File::from_std(std);
        assert!(poll_once(pin!(file.read(&mut [0; 4]))).is_pending());
        let refused = pin!(file.seek(SeekFrom::Start(0)));
        assert!(poll_once(refused).is_pending());
        drop(busy.take());
        let mut byte = [0];
        assert_eq!(file.read(&mut byte).await.unwrap(), 1);
        assert_eq!(&byte, b"a");
        assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), 1);
        // The same before a write.
        assert_eq!(file.read(&mut byte).await.unwrap(), 1);
        file.write_all(b"C").await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"abCdef");
    });
}

#[test]
fn write_that_was_accepted_is_written_although_the_runtime_ends() {
    let directory = Directory::new("runtime-ends");
    let path = directory.file(b"");
    let (runtime, busy) = runtime_with_busy_pool();
    let mut file = File::from_std(std::fs::File::create(&path).unwrap());
    assert_eq!(runtime.block_on(file.write(b"kept")).unwrap(), 4);
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    drop(runtime);
    assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    drop(busy);
}

#[test]
fn operations_of_a_runtime_that_has_ended_fail_and_leave_the_file_usable() {
    let directory = Directory::new("ended");
    let path = directory.file(b"abc");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let std = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut file = File::from_std(std);
    {
        let _entered = handle.enter();
        let ready = |polled| matches!(polled, Poll::Ready(Err(ErrorKind::Other)));
        let kind = |error: std::io::Error| error.kind();
        assert!(ready(poll_once(pin!(file.read(&mut [0; 8]))).map(|read| read.map(drop).map_err(kind))));
        assert!(ready(poll_once(pin!(file.seek(SeekFrom::End(0)))).map(|to| to.map(drop).map_err(kind))));
        assert!(ready(poll_once(pin!(file.set_len(0))).map(|set| set.map_err(kind))));
        assert!(ready(poll_once(pin!(fs::read(&path))).map(|read| read.map(drop).map_err(kind))));
        assert!(ready(poll_once(pin!(file.write(b"x"))).map(|written| written.map(drop).map_err(kind))));
        assert!(matches!(poll_once(pin!(file.flush())), Poll::Ready(Ok(()))), "nothing was accepted");
    }
    let mut read = String::new();
    block_on(file.read_to_string(&mut read)).unwrap();
    assert_eq!(read, "abc");
}

#[test]
fn file_outside_of_a_runtime_panics() {
    crate::assert_needs_runtime(|| drop(poll_once(pin!(fs::read("/")))));
}

#[test]
fn file_of_std_comes_back_at_once_only_if_nothing_runs() {
    let directory = Directory::new("into-std");
    let path = directory.file(b"abc");
    let (runtime, busy) = runtime_with_busy_pool();
    runtime.block_on(async {
        let mut file = File::from_std(std::fs::File::create(&path).unwrap());
        file.write_all(b"d").await.unwrap();
        let file = file.try_into_std().unwrap_err();
        // A dropped operation that still runs keeps the file too.
        assert!(poll_once(pin!(file.metadata())).is_pending());
        drop(busy);
        let mut std = file.into_std().await;
        std.write_all(b"e").unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"de");
        File::from_std(std).try_into_std().unwrap();
    });
}

#[test]
fn clone_shares_the_cursor_and_the_limit() {
    let directory = Directory::new("clone");
    let path = directory.file(b"abcdef");
    block_on(async {
        let mut file = File::open(&path).await.unwrap();
        file.set_max_buf_size(2);
        let mut buffer = [0; 6];
        assert_eq!(file.read(&mut buffer).await.unwrap(), 2);
        let mut clone = file.try_clone().await.unwrap();
        assert_eq!(clone.max_buf_size(), 2);
        assert_eq!(clone.read(&mut buffer).await.unwrap(), 2);
        assert_eq!(&buffer[..2], b"cd");
    });
}

#[test]
fn options_permissions_and_times_reach_the_file() {
    let directory = Directory::new("options");
    let path = directory.0.join("new");
    block_on(async {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).await.unwrap();
        assert_eq!(options.open(&path).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(file.metadata().await.unwrap().permissions().mode() & 0o777, 0o600);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_times(FileTimes::new().set_accessed(time).set_modified(time)).await.unwrap();
        assert_eq!(fs::metadata(&path).await.unwrap().modified().unwrap(), time);
        file.set_len(3).await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), [0; 3]);
        let mut appending = File::options().append(true).open(&path).await.unwrap();
        appending.write_all(b"x").await.unwrap();
        appending.shutdown().await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "\0\0\0x");
    });
}

#[test]
fn directory_gives_every_entry_once() {
    let directory = Directory::new("entries");
    block_on(async {
        let below = directory.0.join("a/b");
        DirBuilder::new().recursive(true).mode(0o700).create(&below).await.unwrap();
        for number in 0..100 {
            fs::write(below.join(number.to_string()), "").await.unwrap();
        }
        fs::symlink("0", below.join("link")).await.unwrap();
        let mut entries = fs::read_dir(&below).await.unwrap();
        let (mut names, mut links) = (Vec::new(), 0);
        while let Some(entry) = entries.next_entry().await.unwrap() {
            assert_eq!(entry.path(), below.join(entry.file_name()));
            assert_eq!(entry.ino(), std::os::unix::fs::MetadataExt::ino(&entry.metadata().await.unwrap()));
            links += usize::from(entry.file_type().await.unwrap().is_symlink());
            names.push(entry.file_name());
        }
        assert!(entries.next_entry().await.unwrap().is_none());
        names.sort();
        names.dedup();
        assert_eq!((names.len(), links), (101, 1));
        assert_eq!(fs::read_dir("/no such directory").await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn functions_on_paths_do_as_those_of_std() {
    let directory = Directory::new("paths");
    let (one, other) = (directory.file(b"abc"), directory.0.join("other"));
    block_on(async {
        assert_eq!(fs::copy(&one, &other).await.unwrap(), 3);
        fs::remove_file(&one).await.unwrap();
        assert!(!fs::try_exists(&one).await.unwrap());
        fs::rename(&other, &one).await.unwrap();
        fs::hard_link(&one, &other).await.unwrap();
        let link = directory.0.join("link");
        fs::symlink(&one, &link).await.unwrap();
        assert_eq!(fs::read_link(&link).await.unwrap(), one);
        assert!(fs::symlink_metadata(&link).await.unwrap().is_symlink());
        assert_eq!(fs::canonicalize(&link).await.unwrap(), fs::canonicalize(&one).await.unwrap());
        fs::set_permissions(&one, PermissionsExt::from_mode(0o400)).await.unwrap();
        assert_eq!(fs::metadata(&other).await.unwrap().permissions().mode() & 0o777, 0o400);
        let below = directory.0.join("a");
        fs::create_dir(&below).await.unwrap();
        fs::create_dir_all(below.join("b/c")).await.unwrap();
        assert_eq!(fs::remove_dir(&below).await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_dir_all(&below).await.unwrap();
    });
}
