//! tokio's traits on every type that has them.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, SeekFrom};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;

use netpoll_rt::fs::File;
use netpoll_rt::net::pipe::pipe;
use netpoll_rt::net::{AsyncFd, TcpStream, UnixStream};
use netpoll_rt::spawn;
use test_support::*;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Sends lines one way and reads them, the end included.
async fn lines<R, W>(reader: R, mut writer: W)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    let read = spawn(async move {
        let mut lines = tokio::io::BufReader::new(reader).lines();
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            all.push(line);
        }
        all
    });
    for i in 0..1000 {
        AsyncWriteExt::write_all(&mut writer, format!("line {i}\n").as_bytes()).await.unwrap();
    }
    AsyncWriteExt::flush(&mut writer).await.unwrap();
    AsyncWriteExt::shutdown(&mut writer).await.unwrap();
    drop(writer);
    let expected: Vec<_> = (0..1000).map(|i| format!("line {i}")).collect();
    assert_eq!(read.await.unwrap(), expected);
}

async fn tcp() -> (TcpStream, TcpStream) {
    let (one, other) = pair().await;
    (Arc::into_inner(one).unwrap(), Arc::into_inner(other).unwrap())
}

#[test]
fn lines_through_every_type() {
    each(async || {
        let (one, other) = tcp().await;
        lines(one, other).await;
        let (one, other) = tcp().await;
        let (_writer, reader) = (&one, other.into_split().0);
        lines(reader, &one).await;
        let (one, other) = tcp().await;
        lines(one.into_split().0, other.into_split().1).await;
        let (one, other) = UnixStream::pair().unwrap();
        lines(one, &other).await;
        let (one, other) = UnixStream::pair().unwrap();
        lines(one.into_split().0, other.into_split().1).await;
        let (reader, writer) = pipe().unwrap();
        lines(reader, writer).await;
        let (reader, writer) = std::io::pipe().unwrap();
        lines(AsyncFd::new(reader).unwrap(), AsyncFd::new(writer).unwrap()).await;
    });
}

#[test]
fn a_read_initializes_only_the_bytes_that_came() {
    each(async || {
        let (mut one, other) = tcp().await;
        other.write_all(b"five!").await.unwrap();
        let mut memory = [MaybeUninit::new(0xAA_u8); 4096];
        let mut buffer = ReadBuf::uninit(&mut memory);
        poll_fn(|cx| Pin::new(&mut one).poll_read(cx, &mut buffer)).await.unwrap();
        assert_eq!((buffer.filled(), buffer.initialized().len()), (&b"five!"[..], 5));
        let mut full = ReadBuf::new(&mut []);
        poll_fn(|cx| Pin::new(&mut one).poll_read(cx, &mut full)).await.unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        poll_fn(|cx| Pin::new(&mut one).poll_read(cx, &mut buffer)).await.unwrap();
        assert_eq!(buffer.filled().len(), 5, "the end");
    });
}

#[test]
fn several_buffers_are_one_write() {
    each(async || {
        let (mut one, other) = tcp().await;
        assert!(one.is_write_vectored());
        let slices = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"write")];
        assert_eq!(AsyncWriteExt::write_vectored(&mut one, &slices).await.unwrap(), 9);
        let mut got = [0; 9];
        other.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"one write");
    });
}

#[test]
fn a_shutdown_after_a_reset_is_no_error() {
    each(async || {
        let (mut one, other) = tcp().await;
        one.write_all(b"never read").await.unwrap();
        until("it has arrived", || other.try_read(&mut []).is_ok() && kernel::is_readable(&other)).await;
        drop(other);
        let error = AsyncReadExt::read(&mut one, &mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        AsyncWriteExt::shutdown(&mut one).await.unwrap();
    });
}

#[test]
fn deadlines_and_close_apply() {
    each(async || {
        let (mut one, _other) = tcp().await;
        one.set_read_deadline(in_ms(5)).unwrap();
        assert_timed_out(AsyncReadExt::read(&mut one, &mut [0]).await);
        one.close().await.unwrap();
        assert_closed(AsyncReadExt::read(&mut one, &mut [0]).await);
        assert_closed(AsyncWriteExt::write(&mut one, b"late").await);
    });
}

#[test]
fn a_file_is_written_sought_and_read() {
    each(async || {
        let path = std::env::temp_dir().join(format!("netpoll-features-{}", std::process::id()));
        let mut file = File::create(&path).await.unwrap();
        AsyncWriteExt::write_all(&mut file, b"0123456789").await.unwrap();
        AsyncWriteExt::shutdown(&mut file).await.unwrap();
        let mut file = File::open(&path).await.unwrap();
        assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::Start(4)).await.unwrap(), 4);
        let mut rest = Vec::new();
        AsyncReadExt::read_to_end(&mut file, &mut rest).await.unwrap();
        assert_eq!(rest, b"456789");
        assert_eq!(AsyncSeekExt::rewind(&mut file).await.unwrap(), 0);
        let (mut from, mut to) = (file, UnixStream::pair().unwrap());
        assert_eq!(tokio::io::copy(&mut from, &mut to.0).await.unwrap(), 10);
        drop(to.0);
        let mut got = Vec::new();
        AsyncReadExt::read_to_end(&mut to.1, &mut got).await.unwrap();
        assert_eq!(got, b"0123456789");
        std::fs::remove_file(&path).unwrap();
    });
}
