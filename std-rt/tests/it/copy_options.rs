//! The options of a copy: limit, offset, progress and idle timeout, on each path that the bytes take.

use std::io::{ErrorKind, SeekFrom};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::fs::File;
use netpoll_rt::io::{CopyError, CopyOptions, copy};
use netpoll_rt::net::pipe::pipe;
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::spawn;
use netpoll_rt::time::sleep;

const SHORT: Duration = Duration::from_millis(30);

/// The length of all that a source has: several pipes full.
const LENGTH: usize = 700_000;

/// Limits around the sizes of the pieces.
const LIMITS: [usize; 8] = [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 65_536, 400_001, LENGTH];

fn bytes() -> Vec<u8> {
    (0..LENGTH as u32).map(|n| (n % 251) as u8).collect()
}

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-options-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A file that is not there any more is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads all that a stream has.
async fn read_all(stream: Arc<TcpStream>) -> Vec<u8> {
    let mut all = Vec::new();
    while stream.read_buf(&mut all).await.unwrap() > 0 {}
    all
}

#[test]
fn a_limit_leaves_what_is_behind_it() {
    each(async || {
        for limit in LIMITS {
            let ((source, feeder), (sink, reader)) = (pair().await, pair().await);
            let fed = spawn(async move {
                feeder.write_all(&bytes()).await.unwrap();
                feeder.shutdown(Shutdown::Write).unwrap();
                feeder
            });
            let read = spawn(read_all(reader));
            let options = CopyOptions::new().limit(limit as u64);
            assert_eq!(options.copy(&source, &sink).await.unwrap(), limit as u64);
            sink.shutdown(Shutdown::Write).unwrap();
            assert!(read.await.unwrap() == bytes()[..limit], "limit {limit}");
            // The next copy begins behind it.
            let (sink, reader) = pair().await;
            let read = spawn(read_all(reader));
            assert_eq!(copy(&source, &sink).await.unwrap(), (LENGTH - limit) as u64);
            sink.shutdown(Shutdown::Write).unwrap();
            assert!(read.await.unwrap() == bytes()[limit..], "behind limit {limit}");
            drop(fed.await.unwrap());
        }
    });
}

#[test]
fn a_limit_and_an_offset_of_a_file() {
    each(async || {
        let (from, to) = (Temporary::new("from", &bytes()), Temporary::new("to", b""));
        for limit in LIMITS {
            for offset in [0, 12_345, LENGTH] {
                let expected = &bytes()[offset..LENGTH.min(offset + limit)];
                let options = CopyOptions::new().limit(limit as u64).offset(offset as u64);
                let source = File::open(&from.0).await.unwrap();
                let (sink, reader) = pair().await;
                let read = spawn(read_all(reader));
                assert_eq!(options.copy(&source, &sink).await.unwrap(), expected.len() as u64);
                sink.shutdown(Shutdown::Write).unwrap();
                assert!(read.await.unwrap() == expected, "limit {limit}, offset {offset}");
                let cursor = source.seek(SeekFrom::Current(0)).await.unwrap();
                assert_eq!(cursor, (offset + expected.len()) as u64);

                let sink = File::create(&to.0).await.unwrap();
                assert_eq!(options.copy(&source, &sink).await.unwrap(), expected.len() as u64);
                assert!(std::fs::read(&to.0).unwrap() == expected, "limit {limit}, offset {offset}");
            }
        }
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (_end, writer) = pipe().unwrap();
        let error = CopyOptions::new().offset(0).copy(&stream, &writer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    });
}

#[test]
fn a_limit_of_a_copy_to_a_file_and_through_pipes() {
    each(async || {
        let to = Temporary::new("sink", b"");
        for limit in LIMITS {
            let (source, feeder) = pipe().unwrap();
            let fed = spawn(async move { feeder.write_all(&bytes()).await });
            let sink = File::create(&to.0).await.unwrap();
            let options = CopyOptions::new().limit(limit as u64);
            assert_eq!(options.copy(&source, &sink).await.unwrap(), limit as u64);
            assert!(std::fs::read(&to.0).unwrap() == bytes()[..limit], "limit {limit}");
            let mut rest = Vec::new();
            while source.read_buf(&mut rest).await.unwrap() > 0 {}
            assert!(rest == bytes()[limit..], "behind limit {limit}");
            fed.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_limit_of_a_copy_both_ways_ends_each_direction() {
    each(async || {
        let ((a, client), (b, server)) = (pair().await, pair().await);
        let forwarded = spawn(async move { CopyOptions::new().limit(5).copy_bidirectional(&a, &b).await });
        client.write_all(b"there, and more").await.unwrap();
        let mut got = Vec::new();
        while server.read_buf(&mut got).await.unwrap() > 0 {}
        assert_eq!(got, b"there");
        server.write_all(b"back").await.unwrap();
        assert_eq!(read_once(&client).await.unwrap(), b"back");
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_once(&client).await.unwrap(), b"");
        assert_eq!(forwarded.await.unwrap().unwrap(), (5, 4));
    });
}

#[test]
fn progress_is_told_of_every_byte() {
    each(async || {
        let from = Temporary::new("progress", &bytes());
        let (calls, sum) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let options = {
            let (calls, sum) = (calls.clone(), sum.clone());
            CopyOptions::new().on_progress(move |n| {
                calls.inc();
                sum.add(n as usize);
            })
        };
        assert!(format!("{options:?}").contains("has_hook: true"));
        let source = File::open(&from.0).await.unwrap();
        let (sink, reader) = pair().await;
        let read = spawn(read_all(reader));
        options.copy(&source, &sink).await.unwrap();
        drop(sink);
        assert_eq!((read.await.unwrap().len(), sum.get()), (LENGTH, LENGTH));
        assert!(calls.get() > 1, "one call for all");
        let ((a, client), (b, server)) = (pair().await, pair().await);
        client.write_all(b"there").await.unwrap();
        server.write_all(b"back").await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(options.copy_bidirectional(&a, &b).await.unwrap(), (5, 4));
        assert_eq!(sum.get(), LENGTH + 9);
    });
}

#[test]
fn a_copy_that_is_idle_ends_with_its_counts() {
    each(async || {
        let options = CopyOptions::new().idle_timeout(SHORT);
        // The source is silent.
        let ((source, feeder), (sink, reader)) = (pair().await, pair().await);
        feeder.write_all(b"bytes").await.unwrap();
        let error = options.copy(&source, &sink).await.unwrap_err();
        assert_timed_out(Err::<(), _>(error_of(&error)));
        assert_eq!(CopyError::of(&error).unwrap().copied(), 5);
        assert_eq!(read_once(&reader).await.unwrap(), b"bytes");
        // The streams are as they were.
        feeder.write_all(b"more").await.unwrap();
        let error = options.copy(&source, &sink).await.unwrap_err();
        assert_eq!(CopyError::of(&error).unwrap().copied(), 4);
        // The sink takes nothing.
        let (source, feeder) = pair().await;
        fill(&sink).await;
        feeder.write_all(b"bytes").await.unwrap();
        let error = options.copy(&source, &sink).await.unwrap_err();
        assert_eq!((error.kind(), CopyError::of(&error).unwrap().copied()), (ErrorKind::TimedOut, 0));
        // Both directions are silent.
        let ((a, client), (b, _server)) = (pair().await, pair().await);
        client.write_all(b"there").await.unwrap();
        let error = options.copy_bidirectional(&a, &b).await.unwrap_err();
        let counts = CopyError::of(&error).map(|error| (error.copied(), error.copied_back()));
        assert_eq!((error.kind(), counts), (ErrorKind::TimedOut, Some((5, Some(0)))));
    });
}

/// Returns an error of the same kind.
fn error_of(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}

#[test]
fn a_copy_with_bytes_in_one_direction_is_not_idle() {
    const IDLE: Duration = Duration::from_millis(200);
    each(async || {
        let forward = async || {
            let ((a, client), (b, server)) = (pair().await, pair().await);
            let options = CopyOptions::new().idle_timeout(IDLE);
            let forwarded = spawn(async move { options.copy_bidirectional(&a, &b).await });
            for _ in 0..12 {
                sleep(IDLE / 8).await; // time is tested
                client.write_all(b"x").await?;
            }
            client.shutdown(Shutdown::Write)?;
            server.shutdown(Shutdown::Write)?;
            let counts = forwarded.await.unwrap()?;
            assert_eq!(counts, (12, 0));
            std::io::Result::Ok(())
        };
        // A busy machine may be idle for so long.
        for attempt in 0.. {
            let machine = Lateness::watch();
            let result = forward().await;
            let late = machine.end();
            match result {
                Ok(()) => break,
                Err(error) => assert!(late > IDLE / 10 && attempt < 20, "{error}, late by {late:?}"),
            }
        }
        // Options without a limit are the functions of the same names.
        let ((source, feeder), (sink, reader)) = (pair().await, pair().await);
        feeder.write_all(b"bytes").await.unwrap();
        drop(feeder);
        let options = CopyOptions::new().idle_timeout(Duration::MAX).limit(u64::MAX);
        assert_eq!(options.copy(&source, &sink).await.unwrap(), 5);
        assert_eq!(read_once(&reader).await.unwrap(), b"bytes");
    });
}

/// The bytes that the hook was told of have gone.
#[test]
fn a_hook_that_panics_leaves_the_cursor_behind_the_bytes_that_were_taken() {
    each(async || {
        let from = Temporary::new("panics", &bytes());
        let source = Arc::new(File::open(&from.0).await.unwrap());
        let (reader, writer) = pipe().unwrap();
        let options = CopyOptions::new().on_progress(|_| panic!("on purpose"));
        let file = source.clone();
        let copied = spawn(async move { options.copy(&*file, &writer).await });
        let mut taken = Vec::new();
        while reader.read_buf(&mut taken).await.unwrap() > 0 {}
        assert!(copied.await.unwrap_err().is_panic());
        assert!(!taken.is_empty() && bytes().starts_with(&taken));
        assert_eq!(source.seek(SeekFrom::Current(0)).await.unwrap(), taken.len() as u64);
    });
}
