//! Descriptors of any kind that the kernel can poll, and those that it cannot.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::*;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::net::{AsyncFd, Interest};
use netpoll_rt::{Handle, OpError, spawn, spawn_blocking};

type Reader = AsyncFd<PipeReader>;
type Writer = AsyncFd<PipeWriter>;

fn pipe() -> (Arc<Reader>, Arc<Writer>) {
    let (reader, writer) = io::pipe().unwrap();
    (Arc::new(AsyncFd::new(reader).unwrap()), Arc::new(AsyncFd::new(writer).unwrap()))
}

async fn read(reader: &Reader) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = reader.with_io(Interest::Read, |mut pipe| pipe.read(&mut buffer)).await?;
    Ok(buffer[..n].to_vec())
}

async fn write(writer: &Writer, bytes: &[u8]) -> io::Result<usize> {
    writer.with_io(Interest::Write, |mut pipe| pipe.write(bytes)).await
}

/// Writes until the pipe is full.
fn fill_pipe(writer: &Writer) {
    while uninterrupted(|| writer.get_ref().write(&[0; 4096])).is_ok() {}
}

#[test]
fn lines_through_a_pipe_until_its_end() {
    each(async || {
        let (reader, writer) = pipe();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reading = spawn({
            let lines = lines.clone();
            async move {
                loop {
                    match read(&reader).await.unwrap() {
                        line if line.is_empty() => return,
                        line => lines.lock().unwrap().push(String::from_utf8(line).unwrap()),
                    }
                }
            }
        });
        for (already, line) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
            until("it was read", || lines.lock().unwrap().len() == already).await;
            parked(1).await;
            assert_eq!(write(&writer, line.as_bytes()).await.unwrap(), line.len());
        }
        until("it was read", || lines.lock().unwrap().len() == 3).await;
        parked(1).await;
        drop(writer);
        reading.await.unwrap();
        assert_eq!(*lines.lock().unwrap(), ["one\n", "two\n", "three\n"]);
    });
}

#[test]
fn close_races_a_read_or_a_write() {
    each(async || {
        for round in 0..100 {
            let (reader, writer) = pipe();
            let reading = spawn({
                let reader = reader.clone();
                async move { read(&reader).await }
            });
            if round % 3 == 0 {
                write(&writer, b"bytes").await.unwrap();
            }
            if round % 2 == 0 {
                until("it has begun", || Arc::strong_count(&reader) == 1 || parked_now() == 1).await;
            }
            reader.close().await.unwrap();
            match reading.await.unwrap() {
                Ok(bytes) => assert_eq!(bytes, b"bytes"),
                error => assert_closed(error),
            }
            assert_closed(reader.close().await);

            let (_reader, writer) = pipe();
            fill_pipe(&writer);
            let writing = spawn({
                let writer = writer.clone();
                async move { write(&writer, b"bytes").await }
            });
            if round % 2 == 0 {
                parked(1).await;
            }
            writer.close().await.unwrap();
            assert_closed(writing.await.unwrap());
        }
    });
}

fn parked_now() -> usize {
    Handle::try_current().unwrap().waiters()
}

#[test]
fn a_pipe_whose_reader_has_gone() {
    each(async || {
        let (reader, writer) = pipe();
        fill_pipe(&writer);
        let writing = spawn({
            let writer = writer.clone();
            async move { write(&writer, b"bytes").await }
        });
        parked(1).await;
        drop(reader);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(write(&writer, b"bytes").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        if Poller::ERROR_ALONE {
            // The kernel reports an error and nothing else: that is no readiness to read. With a level-triggered backend the last
            // event may be one that only the writer has requested: it says nothing of reads, and the wait ends as a hint.
            match writer.readable().await {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
                Ok(()) if Poller::EDGES => panic!("there is nothing to read"),
                Ok(()) => {}
            }
        }
        writer.writable().await.unwrap();
    });
}

#[test]
fn readiness_is_there_as_long_as_the_bytes() {
    each(async || {
        let (reader, writer) = pipe();
        let probe = Probe::new();
        let mut readable = Box::pin(reader.readable());
        assert!(probe.poll(readable.as_mut()).is_pending());
        write(&writer, b"abc").await.unwrap();
        probe.woken(1).await;
        readable.await.unwrap();
        let mut byte = [0];
        for _ in 0..3 {
            // Past the runtime: the report was used up by the first wait.
            reader.readable().await.unwrap();
            reader.get_ref().read_exact(&mut byte).unwrap();
        }
        let nothing = uninterrupted(|| reader.get_ref().read(&mut byte)).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        let mut readable = Box::pin(reader.readable());
        assert!(Probe::new().poll(readable.as_mut()).is_pending());
    });
}

#[test]
fn room_in_a_pipe() {
    each(async || {
        let events = || Handle::try_current().unwrap().metrics().events;
        let before = events();
        let (reader, writer) = pipe();
        until("its room is reported", || events() > before).await;
        writer.writable().await.unwrap();
        // The report is old by the time the pipe is full.
        let twin = AsyncFd::new(writer.as_fd().try_clone_to_owned().unwrap()).unwrap();
        until("its room is reported", || events() > before + 1).await;
        fill_pipe(&writer);
        let mut writable = Box::pin(twin.writable());
        assert!(Probe::new().poll(writable.as_mut()).is_pending());
        drop(writable);
        drop(twin);
        let (probe, mut writable) = (Probe::new(), Box::pin(writer.writable()));
        assert!(probe.poll(writable.as_mut()).is_pending());
        let mut buffer = vec![0; 1 << 20];
        assert!(uninterrupted(|| reader.get_ref().read(&mut buffer)).unwrap() > 0);
        probe.woken(1).await;
        writable.await.unwrap();
        assert_eq!(write(&writer, b"bytes").await.unwrap(), 5);
    });
}

#[test]
fn deadlines() {
    each(async || {
        let (reader, writer) = pipe();
        reader.set_read_deadline(in_ms(10)).unwrap();
        assert_timed_out(read(&reader).await);
        assert_timed_out(reader.readable().await);
        reader.set_deadline(None).unwrap();
        write(&writer, b"bytes").await.unwrap();
        assert_eq!(read(&reader).await.unwrap(), b"bytes");
        fill_pipe(&writer);
        writer.set_write_deadline(in_ms(10)).unwrap();
        assert_timed_out(write(&writer, b"bytes").await);
        assert_timed_out(writer.writable().await);
        writer.close().await.unwrap();
        assert_closed(writer.set_deadline(None));
    });
}

#[test]
fn interrupted_is_tried_again_and_other_errors_are_handed_up() {
    each(async || {
        let (reader, _writer) = pipe();
        let mut calls = 0;
        let result: io::Result<()> = reader
            .with_io(Interest::Read, |_| {
                calls += 1;
                Err(if calls < 3 { ErrorKind::Interrupted.into() } else { io::Error::other("mine") })
            })
            .await;
        assert_eq!(result.unwrap_err().to_string(), "mine");
        assert_eq!(calls, 3);
    });
}

#[test]
fn a_socket_of_another_kind_shared_by_tasks() {
    each(async || {
        let (one, two) = UnixDatagram::pair().unwrap();
        let (one, two) = (Arc::new(AsyncFd::new(one).unwrap()), Arc::new(AsyncFd::new(two).unwrap()));
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let two = two.clone();
                spawn(async move {
                    let mut got = Vec::new();
                    for _ in 0..25 {
                        let mut message = [0; 8];
                        let n =
                            two.with_io(Interest::Read, |socket| socket.recv(&mut message)).await.unwrap();
                        got.push(str::from_utf8(&message[..n]).unwrap().parse::<usize>().unwrap());
                    }
                    got
                })
            })
            .collect();
        for i in 0..100 {
            let message = i.to_string();
            one.with_io(Interest::Write, |socket| socket.send(message.as_bytes())).await.unwrap();
        }
        let mut all = Vec::new();
        for receiver in receivers {
            all.extend(receiver.await.unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    });
}

/// A value that writes down, when it is dropped, how many pollers still watch it.
struct DescriptorInfo {
    pipe: PipeReader,
    at_drop: Arc<Mutex<Option<usize>>>,
}

impl AsFd for DescriptorInfo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for DescriptorInfo {
    fn drop(&mut self) {
        let number = self.pipe.as_raw_fd().to_string();
        assert!(open_descriptors().contains_key(&number));
        *self.at_drop.lock().unwrap() = Some(watched(&number));
    }
}

/// Returns the number of pollers of the process that watch the descriptor, from the kernel's own tables.
fn watched(number: &str) -> usize {
    let pollers = open_descriptors().into_iter().filter(|(_, target)| target.contains("[eventpoll]"));
    let tables =
        pollers.map(|(poller, _)| std::fs::read_to_string(format!("/proc/self/fdinfo/{poller}")).unwrap());
    let lines = tables.flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut numbers =
        lines.filter_map(|line| line.strip_prefix("tfd:").map(str::trim_start).map(str::to_owned));
    numbers.by_ref().filter(|line| line.split_whitespace().next() == Some(number)).count()
}

/// `/proc` shows what an epoll watches; other backends have no such file.
#[test]
fn the_poller_forgets_it_before_the_value_is_dropped() {
    if Poller::NAME != "epoll" {
        return;
    }
    each(async || {
        for close_first in [false, true] {
            let (pipe, _writer) = io::pipe().unwrap();
            let at_drop = Arc::new(Mutex::new(None));
            let number = pipe.as_raw_fd().to_string();
            let value = DescriptorInfo { pipe, at_drop: at_drop.clone() };
            let fd = AsyncFd::new(value).unwrap();
            assert_eq!(watched(&number), 1);
            if close_first {
                fd.close().await.unwrap();
                assert_eq!(watched(&number), 0);
                assert_eq!(*at_drop.lock().unwrap(), None, "the number is the value's");
            }
            drop(fd);
            assert_eq!(*at_drop.lock().unwrap(), Some(0));
        }
    });
}

#[test]
fn the_value_comes_back() {
    each(async || {
        for close_first in [false, true] {
            let (reader, mut writer) = io::pipe().unwrap();
            let number = reader.as_raw_fd();
            let fd = AsyncFd::new(reader).unwrap();
            let mut readable = Box::pin(fd.readable());
            assert!(Probe::new().poll(readable.as_mut()).is_pending());
            drop(readable);
            if close_first {
                fd.close().await.unwrap();
            }
            let mut reader = fd.into_inner();
            assert_eq!(reader.as_raw_fd(), number);
            writer.write_all(b"bytes").unwrap();
            reader.read_exact(&mut [0; 5]).unwrap();
            assert_eq!(
                uninterrupted(|| reader.read(&mut [0])).unwrap_err().kind(),
                ErrorKind::WouldBlock,
                "still non-blocking"
            );
            // And in once more.
            drop(AsyncFd::new(reader).unwrap());
        }
    });
}

#[test]
fn what_cannot_be_polled_is_refused_by_name() {
    each(async || {
        let program = std::env::current_exe().unwrap();
        // The kernel's answer for /dev/null depends on the backend.
        let null = (Poller::NAME == "epoll").then_some(Path::new("/dev/null"));
        for path in null.into_iter().chain([Path::new("/"), &program]) {
            let file = File::open(path).unwrap();
            let number = file.as_raw_fd();
            let error = AsyncFd::new(file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{path:?}: {error}");
            let op = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>()).unwrap();
            assert_eq!((op.op(), op.fd()), ("watch", Some(number)));
            let text = error.to_string();
            assert!(text.contains(&format!("fd {number}")) && text.contains("spawn_blocking"), "{text}");
        }
        let metrics = Handle::try_current().unwrap().metrics();
        assert_eq!(metrics.descriptors, 0, "nothing is left behind");
    });
}

/// Kernels differ in whether they let a file of /proc be polled; if they do, it is always ready.
#[test]
fn a_file_of_proc_is_refused_or_ready() {
    if !kernel::has_proc() {
        return;
    }
    each(async || match AsyncFd::new(File::open("/proc/stat").unwrap()) {
        Ok(file) => {
            file.readable().await.unwrap();
            let mut text = String::new();
            file.with_io(Interest::Read, |mut file| file.read_to_string(&mut text)).await.unwrap();
            assert!(text.starts_with("cpu"));
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
    });
}

#[test]
fn special_files_are_read_by_threads() {
    each(async || {
        let read = |path: &'static str| {
            let reads =
                (0..100).map(move |_| spawn_blocking(move || std::fs::read(path).map(|text| text.len())));
            reads.collect::<Vec<_>>()
        };
        for path in kernel::existing(["/dev/null", "/proc/stat", "/etc/passwd", "/proc/uptime"]) {
            let some = path != "/dev/null";
            for task in read(path) {
                assert_eq!(task.await.unwrap().unwrap() > 0, some, "{path}");
            }
        }
    });
}

#[test]
fn one_descriptor_twice() {
    each(async || {
        let (reader, _writer) = io::pipe().unwrap();
        let fd = AsyncFd::new(reader.as_fd()).unwrap();
        let error = AsyncFd::new(reader.as_fd()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        drop(fd);
        AsyncFd::new(reader.as_fd()).unwrap();
    });
}

#[test]
fn the_traits_of_futures_io() {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    each(async || {
        let (reader, writer) = pipe();
        // By a reference, for the value is shared.
        let (mut from, mut to) = (&*reader, &*writer);
        AsyncWriteExt::write_all(&mut to, b"one, two").await.unwrap();
        AsyncWriteExt::flush(&mut to).await.unwrap();
        let mut buffer = [0; 4];
        AsyncReadExt::read_exact(&mut from, &mut buffer).await.unwrap();
        assert_eq!(&buffer, b"one,");
        drop(writer);
        // By the value itself.
        let mut reader = Arc::into_inner(reader).unwrap();
        let mut rest = Vec::new();
        AsyncReadExt::read_to_end(&mut reader, &mut rest).await.unwrap();
        assert_eq!(rest, b" two");
    });
}

#[test]
fn a_poll_of_the_traits_waits_and_ends_by_deadline_and_interest() {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    each(async || {
        let (reader, writer) = pipe();
        let read = spawn({
            let reader = reader.clone();
            async move {
                let mut buffer = [0; 8];
                let n = AsyncReadExt::read(&mut &*reader, &mut buffer).await.unwrap();
                buffer[..n].to_vec()
            }
        });
        parked(1).await;
        AsyncWriteExt::write_all(&mut &*writer, b"woken").await.unwrap();
        assert_eq!(read.await.unwrap(), b"woken");
        reader.set_read_deadline(past()).unwrap();
        assert_timed_out(AsyncReadExt::read(&mut &*reader, &mut [0]).await);
        fill_pipe(&writer);
        writer.set_write_deadline(in_ms(5)).unwrap();
        assert_timed_out(AsyncWriteExt::write_all(&mut &*writer, &[0; 8192]).await);
        writer.close().await.unwrap();
        assert_closed(AsyncWriteExt::write(&mut &*writer, b"late").await);
    });
}
