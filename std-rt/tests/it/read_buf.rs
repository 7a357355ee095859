//! Reads that append to a vector: they fill its spare capacity, reserve some if there is none, and change nothing else.

use std::future::poll_fn;
use std::io::Write;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::common::*;
use netpoll_rt::is_closed;
use netpoll_rt::net::UnixStream;
use netpoll_rt::net::pipe::pipe;
use netpoll_rt::time::timeout;

#[test]
fn it_appends_what_came_and_no_more_than_there_is_room_for() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut buffer = Vec::with_capacity(16);
        buffer.extend(b"kept ");
        let room = buffer.capacity() - buffer.len();
        peer.write_all(b"ab").unwrap();
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), 2);
        assert_eq!(buffer, b"kept ab");
        let bytes = vec![b'x'; room + 7];
        peer.write_all(&bytes).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        until("all of it is there", || stream.peer_closed()).await;
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), room - 2, "the room that was left");
        assert_eq!(buffer.len(), buffer.capacity(), "it has not grown");
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), 9, "the rest, for which it has grown");
        assert!(buffer.starts_with(b"kept abx") && buffer[7..].iter().all(|&byte| byte == b'x'));
        let all = buffer.clone();
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), 0);
        assert_eq!(buffer, all, "the end appends nothing");
    });
}

/// The bytes come in order and once each, for all sizes.
async fn stream_of(read: impl AsyncFn(&mut Vec<u8>) -> usize, mut write: impl FnMut(&[u8])) {
    let mut sent = 0_u32;
    for (capacity, size) in [(0, 1), (1, 3000), (7, 8), (4096, 5000), (16, 16)] {
        let bytes: Vec<u8> = (sent..sent + size).map(|i| i as u8).collect();
        write(&bytes);
        let mut buffer = Vec::with_capacity(capacity);
        while buffer.len() < bytes.len() {
            assert_ne!(read(&mut buffer).await, 0);
        }
        assert_eq!(buffer, bytes);
        sent += size;
    }
}

#[test]
fn whatever_reads_bytes_has_it() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let read = async |buffer: &mut Vec<u8>| stream.read_buf(buffer).await.unwrap();
        stream_of(read, |bytes| peer.write_all(bytes).unwrap()).await;

        let (stream, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = UnixStream::from_std(stream).unwrap();
        let read = async |buffer: &mut Vec<u8>| stream.read_buf(buffer).await.unwrap();
        stream_of(read, |bytes| peer.write_all(bytes).unwrap()).await;

        let (reader, writer) = pipe().unwrap();
        let mut writer = std::fs::File::from(writer.into_blocking().unwrap());
        let read = async |buffer: &mut Vec<u8>| reader.read_buf(buffer).await.unwrap();
        stream_of(read, |bytes| writer.write_all(bytes).unwrap()).await;
    });
}

#[test]
fn an_error_or_a_drop_leaves_the_vector_as_it_was() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let mut buffer = b"kept".to_vec();
        stream.set_read_deadline(past()).unwrap();
        assert_timed_out(stream.read_buf(&mut buffer).await);
        stream.set_read_deadline(None).unwrap();
        assert_timed_out(timeout(Duration::from_millis(5), stream.read_buf(&mut buffer)).await); // time is tested
        assert_eq!(buffer, b"kept");
        peer.write_all(b" and more").unwrap();
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), 9);
        assert_eq!(buffer, b"kept and more");
        stream.close().await.unwrap();
        assert_closed(stream.read_buf(&mut buffer).await);
        assert_eq!(buffer, b"kept and more");
    });
}

#[test]
fn a_poll_fills_memory_that_is_not_initialized() {
    each(async || {
        let (reader, writer) = pipe().unwrap();
        let mut buffer = [MaybeUninit::uninit(); 4];
        let poll = |buffer: &mut [MaybeUninit<u8>]| {
            reader.poll_read_uninit(&mut Context::from_waker(Waker::noop()), buffer)
        };
        assert!(poll(&mut buffer).is_pending());
        writer.write_all(b"ab").await.unwrap();
        assert_eq!(poll_fn(|cx| reader.poll_read_uninit(cx, &mut buffer)).await.unwrap(), 2);
        assert!(matches!(poll(&mut []), Poll::Ready(Ok(0))));
        drop(writer);
        assert_eq!(poll_fn(|cx| reader.poll_read_uninit(cx, &mut buffer)).await.unwrap(), 0);
        reader.close().await.unwrap();
        let closed = poll_fn(|cx| reader.poll_read_uninit(cx, &mut buffer)).await.unwrap_err();
        assert!(is_closed(&closed));
    });
}
