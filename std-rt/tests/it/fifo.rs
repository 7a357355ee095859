//! Named pipes: writers come and go, and the end of the stream is not final.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::*;
use netpoll_rt::OpError;
use netpoll_rt::net::pipe::{PipeReader, PipeWriter};
use netpoll_rt::net::{AsyncFd, Interest};

/// `O_NONBLOCK` of Linux, on all architectures but a few; here it only keeps open(2) from waiting for a writer.
const NONBLOCK: i32 = 0o4000;

/// A named pipe that is removed again.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-{}-{name}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn reader_of(path: &Path) -> AsyncFd<File> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).unwrap();
    AsyncFd::new(file).unwrap()
}

fn writer_of(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

async fn read(reader: &AsyncFd<File>) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = reader.with_io(Interest::Read, |mut fifo| fifo.read(&mut buffer)).await?;
    Ok(buffer[..n].to_vec())
}

#[test]
fn writers_come_and_go() {
    each(async || {
        let fifo = Fifo::new("writers");
        let reader = reader_of(&fifo.0);
        assert_eq!(read(&reader).await.unwrap(), b"", "nobody has opened it for writing");
        for _ in 0..20 {
            let mut writer = writer_of(&fifo.0);
            let (probe, mut reading) = (Probe::new(), Box::pin(read(&reader)));
            assert!(probe.poll(reading.as_mut()).is_pending(), "an old end is forgotten");
            writer.write_all(b"bytes").unwrap();
            probe.woken(1).await;
            assert_eq!(reading.await.unwrap(), b"bytes");

            let (probe, mut readable) = (Probe::new(), Box::pin(reader.readable()));
            assert!(probe.poll(readable.as_mut()).is_pending());
            drop(writer);
            probe.woken(1).await;
            readable.await.unwrap();
            assert_eq!(read(&reader).await.unwrap(), b"");
            reader.readable().await.unwrap();
        }
    });
}

#[test]
fn deadline_and_close_without_a_word_from_the_writer() {
    each(async || {
        let fifo = Fifo::new("silent");
        let reader = reader_of(&fifo.0);
        let _writer = writer_of(&fifo.0);
        reader.set_read_deadline(in_ms(10)).unwrap();
        assert_timed_out(read(&reader).await);
        reader.set_read_deadline(None).unwrap();
        let (probe, mut reading) = (Probe::new(), Box::pin(read(&reader)));
        assert!(probe.poll(reading.as_mut()).is_pending());
        let mut closing = Box::pin(reader.close());
        assert!(Probe::new().poll(closing.as_mut()).is_pending(), "the read is in flight");
        probe.woken(1).await;
        assert_closed(reading.await);
        closing.await.unwrap();
    });
}

async fn some(reader: &PipeReader) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = reader.read(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

// Case F19.
#[test]
fn a_writer_comes_again_after_the_end() {
    each(async || {
        let fifo = Fifo::new("again");
        let reader = PipeReader::open_fifo(&fifo.0).unwrap();
        assert_eq!(some(&reader).await.unwrap(), b"", "nobody has opened it for writing");
        for _ in 0..20 {
            let writer = PipeWriter::open_fifo(&fifo.0).unwrap();
            let (probe, mut reading) = (Probe::new(), Box::pin(some(&reader)));
            assert!(probe.poll(reading.as_mut()).is_pending(), "an old end is forgotten");
            writer.write_all(b"bytes").await.unwrap();
            probe.woken(1).await;
            assert_eq!(reading.await.unwrap(), b"bytes");
            let (probe, mut reading) = (Probe::new(), Box::pin(some(&reader)));
            assert!(probe.poll(reading.as_mut()).is_pending());
            writer.close().await.unwrap();
            probe.woken(1).await;
            assert_eq!(reading.await.unwrap(), b"");
            reader.readable().await.unwrap();
        }
    });
}

// Case F19.
#[test]
fn opened_for_ever_it_has_no_end() {
    each(async || {
        let fifo = Fifo::new("for-ever");
        let reader = PipeReader::open_fifo_for_ever(&fifo.0).unwrap();
        for _ in 0..20 {
            let (probe, mut reading) = (Probe::new(), Box::pin(some(&reader)));
            assert!(probe.poll(reading.as_mut()).is_pending(), "no writer, and no end");
            drop(PipeWriter::open_fifo(&fifo.0).unwrap());
            let writer = PipeWriter::open_fifo(&fifo.0).unwrap();
            writer.write_all(b"bytes").await.unwrap();
            assert_eq!(reading.await.unwrap(), b"bytes");
        }
    });
}

#[test]
fn a_writer_needs_a_reader_or_opens_for_ever() {
    each(async || {
        const ENXIO: i32 = 6;
        let fifo = Fifo::new("alone");
        let error = PipeWriter::open_fifo(&fifo.0).unwrap_err();
        let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert_eq!((op.op(), op.raw_os_error()), ("open_fifo", Some(ENXIO)));
        assert!(error.to_string().contains(fifo.0.to_str().unwrap()), "{error}");

        let writer = PipeWriter::open_fifo_for_ever(&fifo.0).unwrap();
        writer.write_all(b"bytes").await.unwrap();
        let reader = PipeReader::open_fifo(&fifo.0).unwrap();
        assert_eq!(some(&reader).await.unwrap(), b"bytes");
        reader.close().await.unwrap();
        writer.write_all(b"no broken pipe").await.unwrap();
    });
}

#[test]
fn what_is_no_fifo_is_refused_by_its_name() {
    each(async || {
        let program = std::env::current_exe().unwrap();
        let cases = [
            (program.as_path(), "a regular file"),
            (Path::new("/"), "a directory"),
            (Path::new("/dev/null"), "a character device"),
        ];
        for (path, what) in cases {
            let error = PipeReader::open_fifo(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()) && text.contains(what), "{text}");
        }
        let error = PipeReader::open_fifo("/nobody/here").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/nobody/here"), "{error}");
    });
}
