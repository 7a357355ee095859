//! Allocations: reads and writes by the traits of hyper and tokio make none.
//!
//! This program has one test, because it counts the allocations of the whole process.

use std::future::poll_fn;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;

use netpoll_rt::net::{OwnedReadHalf, OwnedWriteHalf};
use netpoll_rt::spawn;
use test_support::counting::{Counting, allocations};
use test_support::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads by a trait into memory that is not initialized; returns the number of bytes.
macro_rules! read {
    ($read:path, $buffer:ty, $from:expr, |$cx:ident, $into:ident| $unfilled:expr) => {
        poll_fn(|$cx| {
            let mut memory = [MaybeUninit::uninit(); 64];
            let mut $into = <$buffer>::uninit(&mut memory);
            let polled = <OwnedReadHalf as $read>::poll_read(Pin::new($from), $cx, $unfilled);
            polled.map_ok(|()| $into.filled().len())
        })
    };
}

async fn by_tokio(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) -> usize {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    let slices = [IoSlice::new(b"pi"), IoSlice::new(b"ng")];
    poll_fn(|cx| AsyncWrite::poll_write_vectored(Pin::new(writer), cx, &slices)).await.unwrap();
    read!(AsyncRead, ReadBuf<'_>, reader, |cx, into| &mut into).await.unwrap()
}

async fn by_hyper(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) -> usize {
    use hyper::rt::{Read, ReadBuf, Write};
    let slices = [IoSlice::new(b"pi"), IoSlice::new(b"ng")];
    poll_fn(|cx| Write::poll_write_vectored(Pin::new(writer), cx, &slices)).await.unwrap();
    read!(Read, ReadBuf<'_>, reader, |cx, into| into.unfilled()).await.unwrap()
}

#[test]
fn what_is_allocated() {
    // Not `each`: its watching thread allocates too.
    for workers in [1, 4] {
        runtime(workers).block_on(async {
            let (one, other) = pair().await;
            let echo = spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(n @ 1..) = other.read(&mut buffer).await {
                    other.write_all(&buffer[..n]).await.unwrap();
                }
            });
            let (mut reader, mut writer) = Arc::into_inner(one).unwrap().into_split();
            let n = allocations(async || assert_eq!(by_tokio(&mut reader, &mut writer).await, 4));
            assert_eq!(n.await, 0, "tokio's traits");
            let n = allocations(async || assert_eq!(by_hyper(&mut reader, &mut writer).await, 4));
            assert_eq!(n.await, 0, "hyper's traits");
            drop(writer);
            echo.await.unwrap();
        });
    }
}
