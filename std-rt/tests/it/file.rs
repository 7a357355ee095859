//! Files on the blocking pool: one operation after another, and the effect of one that was dropped.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use crate::common::*;
use netpoll_rt::fs::{self, File, MAX_PIECE};
use netpoll_rt::net::{AsyncFd, Interest};
use netpoll_rt::{Handle, OpError, spawn};

/// A path that is removed again.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("netpoll-{}-{name}", std::process::id())))
    }

    async fn file(&self) -> File {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
        File::open_with(&options, &self.0).await.unwrap()
    }
}

impl AsRef<Path> for Temporary {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

// Case B25.
#[test]
fn no_deadline_on_a_regular_file() {
    each(async || {
        // A file that cannot be polled is refused when it is registered, and the error names its number.
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let number = file.as_raw_fd();
        let error = AsyncFd::new(file).map(|file| file.set_deadline(past())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert_eq!((op.op(), op.fd()), ("watch", Some(number)));
        assert_eq!(Handle::try_current().unwrap().metrics().timers, 0);
    });
}

// Case F08.
#[test]
fn special_files_read_by_many_at_once() {
    each(async || {
        for path in kernel::existing(["/dev/null", "/proc/stat", "/etc/passwd", "/proc/uptime"]) {
            let some = path != "/dev/null";
            let reads: Vec<_> = (0..100)
                .map(|_| {
                    spawn(async move {
                        let file = File::open(path).await.unwrap();
                        let mut all = Vec::new();
                        assert_eq!(file.read_to_end(&mut all).await.unwrap(), all.len());
                        all.len()
                    })
                })
                .collect();
            for read in reads {
                assert_eq!(read.await.unwrap() > 0, some, "{path}");
            }
        }
        // The kernel's answer for /dev/null depends on the backend.
        for path in ["/etc/passwd", "/"] {
            let error = AsyncFd::new(std::fs::File::open(path).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{path}");
        }
        // Kernels differ in whether they let it be polled, if there is one; if they do, it is always ready.
        let stat = std::fs::File::open("/proc/stat");
        if let Ok(file) = stat.and_then(AsyncFd::new) {
            let mut byte = [0];
            assert_eq!(file.with_io(Interest::Read, |mut file| file.read(&mut byte)).await.unwrap(), 1);
        }
    });
}

#[test]
fn written_and_read_in_pieces() {
    each(async || {
        let path = Temporary::new("pieces");
        let file = path.file().await;
        let bytes = pattern(MAX_PIECE * 2 + 12_345);
        assert_eq!(file.write(&bytes).await.unwrap(), MAX_PIECE, "one trip");
        file.write_all(&bytes[MAX_PIECE..]).await.unwrap();
        file.sync_data().await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), bytes.len() as u64);
        assert_eq!(file.seek(SeekFrom::Start(5)).await.unwrap(), 5);
        let mut all = b"front".to_vec();
        assert_eq!(file.read_to_end(&mut all).await.unwrap(), bytes.len() - 5);
        assert!(all[..5] == *b"front" && all[5..] == bytes[5..]);
        assert_eq!(file.read(&mut [0; 10]).await.unwrap(), 0, "the end");
        assert_eq!(file.read(&mut []).await.unwrap(), 0);

        file.seek(SeekFrom::Current(-(bytes.len() as i64))).await.unwrap();
        let mut exact = vec![0; bytes.len()];
        file.read_exact(&mut exact).await.unwrap();
        assert!(exact == bytes);
        assert_eq!(file.read_exact(&mut [0]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.set_len(3).await.unwrap();
        file.sync_all().await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), bytes[..3]);
    });
}

#[test]
fn at_a_place_the_cursor_is_not_needed() {
    each(async || {
        let path = Temporary::new("places");
        let file = Arc::new(path.file().await);
        let writes: Vec<_> = (0..64)
            .map(|i| {
                let file = file.clone();
                spawn(async move { file.write_at(&[i; 100], u64::from(i) * 100).await.unwrap() })
            })
            .collect();
        for write in writes {
            assert_eq!(write.await.unwrap(), 100);
        }
        assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), 0);
        let mut hundred = [0; 100];
        assert_eq!(file.read_at(&mut hundred, 6300).await.unwrap(), 100);
        assert_eq!(hundred, [63; 100]);
        assert_eq!(file.read_at(&mut hundred, 6350).await.unwrap(), 50);
        assert_eq!(file.read_at(&mut hundred, 6400).await.unwrap(), 0);
    });
}

#[test]
fn operations_are_done_in_the_order_of_their_first_polls() {
    each(async || {
        let path = Temporary::new("order");
        let file = path.file().await;
        let probe = Probe::new();
        let mut writes: Vec<_> = (0..100_u8)
            .map(|i| {
                let file = &file;
                Box::pin(async move { file.write_all(&[i; 10]).await })
            })
            .collect();
        let mut done: Vec<_> = writes.iter_mut().map(|write| probe.poll(write.as_mut()).is_ready()).collect();
        while !done.iter().all(|done| *done) {
            for (write, done) in writes.iter_mut().zip(&mut done).filter(|(_, done)| !**done) {
                *done = probe.poll(write.as_mut()).is_ready();
            }
            netpoll_rt::yield_now().await;
        }
        let expected: Vec<u8> = (0..100).flat_map(|i| [i; 10]).collect();
        assert_eq!(fs::read(&path).await.unwrap(), expected);
    });
}

#[test]
fn given_up_before_its_turn_it_does_not_happen() {
    each(async || {
        // A pipe stands for a slow disk: a read of it takes until the test writes.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        let probe = Probe::new();
        let mut buffer = [0; 10];
        let mut first = Box::pin(file.read(&mut buffer));
        assert!(probe.poll(first.as_mut()).is_pending());
        // Behind it in the queue: given up, it never begins.
        let mut other = [0; 10];
        let mut second = Box::pin(file.read(&mut other));
        assert!(probe.poll(second.as_mut()).is_pending());
        drop(second);
        writer.write_all(b"first").unwrap();
        assert_eq!(first.await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"first");
        writer.write_all(b"second").unwrap();
        assert_eq!(file.read(&mut buffer).await.unwrap(), 6, "the one that was given up has taken nothing");
    });
}

#[test]
fn given_up_in_its_turn_it_is_done_and_the_next_one_waits() {
    if !kernel::has_proc() {
        return;
    }
    each(async || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        {
            let mut buffer = [0; 5];
            let mut read = pin!(file.read(&mut buffer));
            assert!(Probe::new().poll(read.as_mut()).is_pending());
            // Only once a thread is in the call does giving up come too late.
            until("a thread reads", || a_thread_sleeps_on(&file)).await;
        }
        let mut buffer = [0; 10];
        let (probe, mut next) = (Probe::new(), Box::pin(file.read(&mut buffer)));
        assert!(probe.poll(next.as_mut()).is_pending());
        writer.write_all(b"first").unwrap();
        // The bytes that the first has taken are lost.
        until("the first has taken it", || !kernel::is_readable(&file)).await;
        writer.write_all(b"next").unwrap();
        assert_eq!(next.await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"next");
    });
}

/// Returns whether a thread of this process sleeps in a call on the file: the kernel shows the call's number, then its
/// arguments.
fn a_thread_sleeps_on(file: &File) -> bool {
    let number = format!("{:#x}", file.as_fd().as_raw_fd());
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads.flatten().any(|thread| {
        let call = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        call.split(' ').nth(1) == Some(&number)
    })
}

#[test]
fn to_std_and_back() {
    each(async || {
        let path = Temporary::new("std");
        let mut std = std::fs::File::create_new(&path).unwrap();
        std.write_all(b"front").unwrap();
        let number = std.as_raw_fd();
        let file = File::from_std(std);
        assert_eq!(file.as_fd().as_raw_fd(), number);
        // A write whose future was dropped still completes before the file is given away.
        let _ = Probe::new().poll(pin!(file.write_all(b" and back")));
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let mut std = file.into_std().await;
        assert_eq!((std.as_raw_fd(), std.stream_position().unwrap()), (number, 0), "the very same");
        drop(std);
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length == 5 || length == 14, "all of it or nothing: {length}");
    });
}

#[test]
fn closed_when_it_is_dropped_and_not_later() {
    each(async || {
        for _ in 0..200 {
            let file = File::open("/etc/passwd").await.unwrap();
            let number = file.as_fd().as_raw_fd().to_string();
            file.read(&mut [0; 10]).await.unwrap();
            drop(file);
            assert!(!open_descriptors().get(&number).is_some_and(|target| target.ends_with("/passwd")));
        }
    });
}

#[test]
fn errors_name_the_path_or_the_descriptor() {
    each(async || {
        let missing = "/nobody/here";
        for error in [
            File::open(missing).await.unwrap_err(),
            File::create(missing).await.unwrap_err(),
            fs::read(missing).await.unwrap_err(),
            fs::read_to_string(missing).await.unwrap_err(),
            fs::write(missing, "text").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(missing), "{error}");
            let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
            assert_eq!(op.raw_os_error(), Some(2));
        }
        let file = File::open("/etc/passwd").await.unwrap();
        let error = file.write(b"bytes").await.unwrap_err();
        let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert_eq!((op.op(), op.fd(), op.raw_os_error()), ("write", Some(file.as_fd().as_raw_fd()), Some(9)));
    });
}

#[test]
fn whole_files() {
    each(async || {
        let path = Temporary::new("whole");
        fs::write(&path, "text").await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "text");
        fs::write(&path, vec![0xff]).await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(fs::read(&path).await.unwrap(), [0xff]);
        let file = File::create(&path).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 0, "emptied");
    });
}
