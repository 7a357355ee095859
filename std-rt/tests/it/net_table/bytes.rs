//! The rows of byte streams: sockets, pipes, and descriptors for which this crate has no type.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::BorrowedFd;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use netpoll_rt::net::Interest;

use super::byte_kinds::{DescriptorInfo, PipeIn, PipeOut, Tcp, Unix};
use super::scene::{DATA, Dropped, Got, How, MARK, Operation, operation};

const READ: How = How::takes(Dropped::Again(Got::Bytes(DATA.len()), "nothing read"));

const READ_EXACT: How = How::takes(Dropped::Lost("its part is lost"));

pub const READABLE: How = How::takes(Dropped::Again(Got::Ready, "nothing"));

pub const WRITE: How = How::gives(Dropped::Unsent("nothing written"));

const WRITE_ALL: How = How::gives(Dropped::Part(LARGE, "a part is written"));

pub const WRITABLE: How = How::gives(Dropped::Again(Got::Ready, "nothing"));

/// More than any queue takes.
pub const LARGE: usize = 32 * 1024 * 1024;

pub const BYTES: &[u8] = &[MARK; 16];

/// Reads without this crate, for a type that has no such call.
pub fn read_from(fd: BorrowedFd<'_>) -> io::Result<Got> {
    File::from(fd.try_clone_to_owned()?).read(&mut [0; 64]).map(Got::Bytes)
}

pub fn write_to(fd: BorrowedFd<'_>) -> io::Result<Got> {
    File::from(fd.try_clone_to_owned()?).write(BYTES).map(Got::Bytes)
}

/// A row of one type; the last argument is the awaited future, with a result of `Got`.
macro_rules! row {
    ($kind:ty, $of:expr, $method:literal, $how:expr, |$here:ident| $does:expr) => {
        operation::<$kind>($of, $method, $how, |$here| Box::pin(async move { $does }))
    };
}

pub(crate) use row;

macro_rules! reads {
    ($kind:ty, $of:literal) => {
        vec![
            row!($kind, $of, "read", READ, |it| it.read(&mut [0; 64]).await.map(Got::Bytes)),
            row!($kind, $of, "read_buf", READ, |it| it.read_buf(&mut Vec::new()).await.map(Got::Bytes)),
            row!($kind, $of, "readv", READ, |it| {
                let (mut one, mut other) = ([0; 2], [0; 62]);
                let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
                it.readv(&mut buffers).await.map(Got::Bytes)
            }),
            row!($kind, $of, "poll_read", READ.polled(), |it| {
                AsyncReadExt::read(&mut &*it, &mut [0; 64]).await.map(Got::Bytes)
            }),
            row!($kind, $of, "with_io(Read, _)", READ, |it| it.with_io(Interest::Read, read_from).await),
            row!($kind, $of, "read_exact", READ_EXACT, |it| {
                it.read_exact(&mut [0; 64]).await.map(|()| Got::Ready)
            }),
            row!($kind, $of, "readable", READABLE, |it| it.readable().await.map(|()| Got::Ready)),
        ]
    };
}

macro_rules! writes {
    ($kind:ty, $of:literal) => {
        vec![
            row!($kind, $of, "write", WRITE, |it| it.write(BYTES).await.map(Got::Bytes)),
            row!($kind, $of, "writev", WRITE, |it| {
                let buffers = [IoSlice::new(&BYTES[..3]), IoSlice::new(&BYTES[3..])];
                it.writev(&buffers).await.map(Got::Bytes)
            }),
            row!($kind, $of, "poll_write", WRITE.polled(), |it| {
                AsyncWriteExt::write(&mut &*it, BYTES).await.map(Got::Bytes)
            }),
            row!($kind, $of, "with_io(Write, _)", WRITE, |it| it.with_io(Interest::Write, write_to).await),
            row!($kind, $of, "write_all", WRITE_ALL, |it| {
                it.write_all(&vec![MARK; LARGE]).await.map(|()| Got::Ready)
            }),
            row!($kind, $of, "writable", WRITABLE, |it| it.writable().await.map(|()| Got::Ready)),
        ]
    };
}

pub fn tcp() -> Vec<Operation> {
    let mut all = reads!(Tcp, "TcpStream");
    all.push(row!(Tcp, "TcpStream", "peek", READ, |it| it.peek(&mut [0; 64]).await.map(Got::Bytes)));
    all.extend(writes!(Tcp, "TcpStream"));
    all
}

pub fn unix() -> Vec<Operation> {
    let of = "UnixStream";
    let mut all = reads!(Unix, "UnixStream");
    all.extend(writes!(Unix, "UnixStream"));
    all.extend([
        row!(Unix, of, "peek", READ, |it| it.peek(&mut [0; 64]).await.map(Got::Bytes)),
        row!(Unix, of, "recv_fds", READ, |it| {
            it.recv_fds(&mut [0; 64], 1).await.map(|(n, _)| Got::Bytes(n))
        }),
        row!(Unix, of, "send_fds", WRITE, |it| it.send_fds(BYTES, &[]).await.map(Got::Bytes)),
    ]);
    all
}

pub fn pipes() -> Vec<Operation> {
    let mut all = reads!(PipeIn, "PipeReader");
    all.extend(writes!(PipeOut, "PipeWriter"));
    all
}

pub fn async_fd() -> Vec<Operation> {
    let of = "AsyncFd";
    vec![
        row!(DescriptorInfo, of, "with_io(Read, _)", READ, |it| {
            it.with_io(Interest::Read, |mut socket| socket.read(&mut [0; 64]).map(Got::Bytes)).await
        }),
        row!(DescriptorInfo, of, "with_io(Write, _)", WRITE, |it| {
            it.with_io(Interest::Write, |mut socket| socket.write(BYTES).map(Got::Bytes)).await
        }),
        row!(DescriptorInfo, of, "readable", READABLE, |it| it.readable().await.map(|()| Got::Ready)),
        row!(DescriptorInfo, of, "ready(Read)", READABLE, |it| it
            .ready(Interest::Read)
            .await
            .map(|()| Got::Ready)),
        row!(DescriptorInfo, of, "writable", WRITABLE, |it| it.writable().await.map(|()| Got::Ready)),
    ]
}
