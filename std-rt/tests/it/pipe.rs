//! Pipes: bytes in one direction, the end of the stream, and each side when the other is gone.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::common::*;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys;
use netpoll_rt::net::Interest;
use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};
use netpoll_rt::{Handle, OpError, spawn};

fn shared() -> (Arc<PipeReader>, Arc<PipeWriter>) {
    let (reader, writer) = pipe().unwrap();
    (Arc::new(reader), Arc::new(writer))
}

async fn some(reader: &PipeReader) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = reader.read(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

fn fill(writer: &PipeWriter) -> usize {
    let mut filled = 0;
    while let Ok(n) = writer.try_write(&[7; 4096]) {
        filled += n;
    }
    filled
}

// Case C14.
#[test]
fn close_races_a_read_or_a_write() {
    each(async || {
        for round in 0..100 {
            let (reader, writer) = shared();
            let reading = spawn({
                let reader = reader.clone();
                async move { some(&reader).await }
            });
            if round % 3 == 0 {
                writer.write_all(b"bytes").await.unwrap();
            }
            if round % 2 == 0 {
                let parked = || Handle::try_current().unwrap().waiters() == 1;
                until("it has begun", || reading.is_finished() || parked()).await;
            }
            reader.close().await.unwrap();
            match reading.await.unwrap() {
                Ok(bytes) => assert_eq!(bytes, b"bytes"),
                error => assert_closed(error),
            }
            assert_closed(reader.close().await);
            assert_eq!(writer.write(b"bytes").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

            let (_reader, writer) = shared();
            fill(&writer);
            let writing = spawn({
                let writer = writer.clone();
                async move { writer.write_all(b"bytes").await }
            });
            if round % 2 == 0 {
                parked(1).await;
            }
            writer.close().await.unwrap();
            assert_closed(writing.await.unwrap());
        }
    });
}

// Case C15.
#[test]
fn lines_and_then_the_end() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reading = spawn({
            let lines = lines.clone();
            async move {
                loop {
                    match some(&reader).await.unwrap() {
                        line if line.is_empty() => return reader,
                        line => lines.lock().unwrap().push(String::from_utf8(line).unwrap()),
                    }
                }
            }
        });
        for (already, line) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
            until("it was read", || lines.lock().unwrap().len() == already).await;
            parked(1).await;
            writer.write_all(line.as_bytes()).await.unwrap();
        }
        until("it was read", || lines.lock().unwrap().len() == 3).await;
        parked(1).await;
        drop(writer);
        let reader = reading.await.unwrap();
        assert_eq!(*lines.lock().unwrap(), ["one\n", "two\n", "three\n"]);
        assert!(reader.peer_closed());
        assert_eq!(some(&reader).await.unwrap(), b"", "it stays the end");
    });
}

// Case F07.
#[test]
fn a_pipe_without_a_reader() {
    each(async || {
        let (reader, writer) = shared();
        fill(&writer);
        let writing = spawn({
            let writer = writer.clone();
            async move { writer.write(b"bytes").await }
        });
        parked(1).await;
        drop(reader);
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        assert_eq!(writer.write(b"bytes").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.try_write(b"bytes").unwrap_err().kind(), ErrorKind::BrokenPipe);
        writer.writable().await.unwrap();
        assert!(writer.peer_closed());
        if !sys::Poller::ERROR_ALONE {
            return;
        }
        // The kernel reports an error and nothing else: that is no readiness to read.
        let read: io::Result<()> =
            writer.with_io(Interest::Read, |_| Err(ErrorKind::WouldBlock.into())).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Unsupported);
    });
}

/// A pipe's reading end as the layer below `PipeReader` has it, with its system calls counted.
struct Counted {
    fd: Fd,
    calls: Cell<usize>,
}

impl Counted {
    fn pair() -> (Self, OwnedFd) {
        let (reader, writer) = sys::pipe::pipe().unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), reader, FdKind::ByteStream).unwrap();
        (Self { fd, calls: Cell::new(0) }, writer)
    }

    async fn read(&self, buffer: &mut [u8]) -> usize {
        let read = self.fd.read(false, |fd| {
            self.calls.set(self.calls.get() + 1);
            sys::socket::read(fd, buffer)
        });
        read.await.unwrap()
    }
}

#[test]
fn a_short_read_is_followed_by_an_edge_whatever_comes() {
    each(async || {
        let (reader, writer) = Counted::pair();
        let mut buffer = [0; 64];
        rustix_write(&writer, b"first");
        assert_eq!(reader.read(&mut buffer).await, 5);
        let calls = reader.calls.get();
        for round in 0..500 {
            // Written before the read or after it has parked; in one piece or in two, of which the read may see one.
            let mut reading = Box::pin(reader.read(&mut buffer));
            let probe = Probe::new();
            if round % 2 == 0 {
                assert!(probe.poll(reading.as_mut()).is_pending(), "nothing is there");
            }
            rustix_write(&writer, b"bytes");
            assert_eq!(reading.await, 5);
        }
        let calls = reader.calls.get() - calls;
        // With the short-read hint an empty pipe costs no read; without it there is one.
        let in_vain = if sys::Poller::SHORT_IS_ALL { 0 } else { 250 };
        // The event of bytes that were already read may come late, from another worker's poll, and cause one more read.
        let late = if Handle::try_current().unwrap().metrics().workers == 1 { 0 } else { 250 };
        let expected = 500 + in_vain..=500 + in_vain + late;
        assert!(expected.contains(&calls), "one call for each message: {calls}");
        // The end, after a short read; and behind bytes, in the same edge.
        let mut reading = Box::pin(reader.read(&mut buffer));
        assert!(Probe::new().poll(reading.as_mut()).is_pending());
        rustix_write(&writer, b"bytes");
        drop(writer);
        assert_eq!(reading.await, 5);
        assert_eq!(reader.read(&mut buffer).await, 0);

        let (reader, writer) = Counted::pair();
        rustix_write(&writer, b"bytes");
        assert_eq!(reader.read(&mut buffer).await, 5);
        drop(writer);
        assert_eq!(reader.read(&mut buffer).await, 0);
    });
}

fn rustix_write(pipe: &OwnedFd, bytes: &[u8]) {
    use std::os::fd::AsFd;
    assert_eq!(sys::socket::write(pipe.as_fd(), bytes).unwrap(), bytes.len());
}

#[test]
fn deadlines_of_each_end() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        reader.set_read_deadline(in_ms(10)).unwrap();
        assert_timed_out(some(&reader).await);
        writer.write_all(b"bytes").await.unwrap();
        assert_timed_out(some(&reader).await);
        assert_timed_out(reader.readable().await);
        reader.set_read_deadline(None).unwrap();
        assert_eq!(some(&reader).await.unwrap(), b"bytes");

        fill(&writer);
        writer.set_write_deadline(in_ms(10)).unwrap();
        assert_timed_out(writer.write(b"bytes").await);
        assert_timed_out(writer.writable().await);
        writer.set_write_deadline(None).unwrap();
        let (probe, mut writing) = (Probe::new(), Box::pin(writer.write(b"bytes")));
        assert!(probe.poll(writing.as_mut()).is_pending());
        reader.read_exact(&mut [0; 8192]).await.unwrap();
        assert_eq!(writing.await.unwrap(), 5);
        writer.close().await.unwrap();
        assert_closed(writer.set_write_deadline(None));
    });
}

#[test]
fn everything_through_a_full_pipe() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
        let sent = bytes.clone();
        let writing = spawn(async move {
            let (front, back) = sent.split_at(1000);
            let n = writer.writev(&[IoSlice::new(&front[..400]), IoSlice::new(&front[400..])]).await.unwrap();
            assert_eq!(n, 1000);
            writer.write_all(back).await.unwrap();
        });
        let mut got = vec![0; 1000];
        let (one, other) = got.split_at_mut(300);
        let n = reader.readv(&mut [IoSliceMut::new(one), IoSliceMut::new(other)]).await.unwrap();
        got.truncate(n);
        (&reader).read_to_end(&mut got).await.unwrap();
        assert!(got == bytes);
        writing.await.unwrap();
    });
}

#[test]
fn traits_of_futures_io() {
    each(async || {
        let (reader, mut writer) = pipe().unwrap();
        AsyncWriteExt::write_all(&mut writer, b"bytes").await.unwrap();
        writer.flush().await.unwrap();
        // To close a writer is to end the stream; again it is nothing.
        AsyncWriteExt::close(&mut writer).await.unwrap();
        AsyncWriteExt::close(&mut writer).await.unwrap();
        assert_closed(writer.write(b"more").await);
        let mut text = String::new();
        (&reader).read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "bytes");

        // While another task waits for room it is thrown out.
        let (_reader, writer) = shared();
        fill(&writer);
        let writing = spawn({
            let writer = writer.clone();
            async move { writer.write_all(b"bytes").await }
        });
        parked(1).await;
        AsyncWriteExt::close(&mut &*writer).await.unwrap();
        assert_closed(writing.await.unwrap());
    });
}

#[test]
fn an_end_for_a_child() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        let stdout = Stdio::from(writer.into_blocking().unwrap());
        let mut child =
            Command::new("sh").arg("-c").arg("printf one; printf two").stdout(stdout).spawn().unwrap();
        let mut text = String::new();
        (&reader).read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "onetwo");
        child.wait().unwrap();
    });
}

#[test]
fn descriptors_of_others() {
    each(async || {
        let (reader, writer) = io::pipe().unwrap();
        let number = reader.as_raw_fd();
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        let wrong = PipeWriter::from_owned(reader.try_clone().unwrap()).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput, "{wrong}");
        assert!(wrong.to_string().contains("cannot be written"), "{wrong}");
        let wrong = PipeReader::from_owned(writer.try_clone().unwrap()).unwrap_err();
        assert!(wrong.to_string().contains("cannot be read"), "{wrong}");

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = listener.as_raw_fd();
        let wrong = PipeReader::from_owned(listener.into()).unwrap_err();
        assert!(wrong.to_string().contains("a socket, not a pipe"), "{wrong}");
        let op = wrong.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert_eq!((op.op(), op.fd()), ("from_owned", Some(socket)));

        let (reader, writer) =
            (PipeReader::from_owned(reader).unwrap(), PipeWriter::from_owned(writer).unwrap());
        let (probe, mut reading) = (Probe::new(), Box::pin(some(&reader)));
        assert!(probe.poll(reading.as_mut()).is_pending());
        writer.write_all(b"bytes").await.unwrap();
        assert_eq!(reading.await.unwrap(), b"bytes");
        assert_eq!(reader.into_owned().unwrap().as_raw_fd(), number);
    });
}

#[test]
fn capacity() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        assert_eq!(reader.capacity().unwrap(), fill(&writer));
        assert_eq!(writer.set_capacity(100_000).unwrap(), 131_072, "a power of two, and no less");
        assert_eq!((reader.capacity().unwrap(), writer.capacity().unwrap()), (131_072, 131_072));
        assert_eq!(reader.set_capacity(4096).unwrap_err().kind(), ErrorKind::ResourceBusy);
        writer.close().await.unwrap();
        assert_closed(writer.capacity());
    });
}

#[test]
fn several_readers_are_served_in_order() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        let (one, two) = (Probe::new(), Probe::new());
        let (mut first, mut second) = (pin!(some(&reader)), pin!(some(&reader)));
        assert!(one.poll(first.as_mut()).is_pending());
        assert!(two.poll(second.as_mut()).is_pending());
        writer.write_all(b"first").await.unwrap();
        one.woken(1).await;
        assert_eq!(first.await.unwrap(), b"first");
        writer.write_all(b"second").await.unwrap();
        assert_eq!(second.await.unwrap(), b"second");
    });
}

/// The text of a pipe in place of the addresses of a socket.
#[test]
fn an_error_names_the_descriptor() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let error = writer.write(b"bytes").await.unwrap_err();
        let op = error.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert!(op.local().is_none() && op.peer().is_none(), "{error}");
        assert_eq!((op.op(), op.raw_os_error()), ("write", Some(32)));
        assert!(error.to_string().starts_with(&format!("write (fd {}): ", op.fd().unwrap())), "{error}");
    });
}

/// A read of packets returns one, with more behind it: a short read is no sign that there is nothing.
#[test]
fn packets_of_a_child_are_read_to_their_end() {
    const PACKETS: usize = 5;
    let dd = format!("dd if=/dev/zero bs=1000 count={PACKETS} oflag=direct");
    let shell = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).stdin(Stdio::piped()).stderr(Stdio::piped());
        shell
    };
    let has_packets = || {
        // It opens descriptors for a moment, and the others count them.
        let _alone = alone();
        shell(&dd).output().is_ok_and(|it| it.status.success())
    };
    if !kernel::has_proc() || !has_packets() {
        return;
    }
    each(async || {
        let (reader, writer) = pipe().unwrap();
        // The hint is there from before.
        writer.write_all(b"bytes").await.unwrap();
        assert_eq!(reader.read(&mut [0; 64]).await.unwrap(), 5);
        // It says when all packets are there, and keeps the pipe open until its input ends.
        let line = format!("{dd} 2>/dev/null; echo there >&2; cat");
        let mut child = shell(&line).stdout(writer.into_blocking().unwrap()).spawn().unwrap();
        io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut [0; 6]).unwrap();
        for _ in 0..PACKETS {
            assert_eq!(reader.read(&mut [0; 4096]).await.unwrap(), 1000);
        }
        drop(child.stdin.take());
        assert_eq!(reader.read(&mut [0; 4096]).await.unwrap(), 0);
        assert!(child.wait().unwrap().success());
    });
}
