//! The sweep of `sweep.rs` for the other sources of a descriptor: pipes and FIFOs, duplicates, a socket's file, a signal, a
//! foreign descriptor, a connect with several addresses.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::Command as StdCommand;

use crate::common::*;
use crate::support::*;
use futures_lite::future;
use netpoll_rt::internal::sys::inject::{Errno, Rule};
use netpoll_rt::internal::sys::{Call, Poller};
use netpoll_rt::net::pipe::{self, PipeReader, PipeWriter};
use netpoll_rt::net::{AsyncFd, Interest, TcpListener, TcpStream, UnixListener, UnixStream};
use netpoll_rt::process::{Command, Stdio};
use netpoll_rt::signal::{SignalKind, signal};

/// The rows of every path: the descriptor is registered and deregistered.
const WATCHED: &[Row] = &[
    (Call::PollerOpen, &[Errno::NOSPC, Errno::NOMEM], Told::Error),
    (Call::PollerOpen, &[Errno::INTR], Told::Nothing),
    (Call::PollerClose, &[Errno::NOENT, Errno::BADF], Told::Nothing),
];

/// Injects each fault at each place once, and each lasting fault from there on.
async fn all(rows: &[&[Row]], way: impl AsyncFn() -> io::Result<()>) {
    for (call, errnos, told) in rows.iter().copied().flatten() {
        for errno in *errnos {
            let what = format!("{call:?} with {errno:?}");
            let places = sweep(|n| Rule::error(*call, *errno).nth(n), &what, *told, &way).await;
            assert!(places > 0, "the way never makes {call:?}");
            if ![Errno::INTR, Errno::AGAIN].contains(errno) {
                sweep(|n| Rule::error(*call, *errno).from(n), &what, *told, &way).await;
            }
        }
    }
}

/// Returns a name in the folder for files that do not last.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("netpoll-door-{}-{name}", std::process::id()))
}

async fn through(reader: PipeReader, writer: PipeWriter) -> io::Result<()> {
    let mut buffer = [0; 5];
    future::try_zip(reader.read_exact(&mut buffer), writer.write_all(b"hello")).await?;
    assert_eq!(&buffer, b"hello");
    writer.close().await?;
    reader.close().await
}

const THROUGH: &[Row] = &[
    (Call::Read, &[Errno::IO, Errno::NOMEM], Told::Error),
    (Call::Read, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::Write, &[Errno::PIPE, Errno::NOMEM], Told::Error),
    (Call::Write, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::Close, &[Errno::IO], Told::Error),
    (Call::Close, &[Errno::INTR], Told::Nothing),
];

#[test]
fn pipes() {
    const ROWS: &[Row] = &[(Call::Pipe, FULL, Told::Error), (Call::Pipe, &[Errno::INTR], Told::Nothing)];
    let way = async || {
        let (reader, writer) = pipe::pipe()?;
        through(reader, writer).await
    };
    each(async || all(&[ROWS, WATCHED, THROUGH], way).await);
}

#[test]
fn fifos() {
    const ROWS: &[Row] = &[
        (Call::OpenFile, &[Errno::MFILE, Errno::NFILE, Errno::ACCESS, Errno::NOENT], Told::Error),
        (Call::OpenFile, &[Errno::INTR], Told::Nothing),
    ];
    let fifo = path("fifo");
    assert!(StdCommand::new("mkfifo").arg(&fifo).status().unwrap().success());
    let way = async || through(PipeReader::open_fifo_for_ever(&fifo)?, PipeWriter::open_fifo(&fifo)?).await;
    each(async || all(&[ROWS, WATCHED, THROUGH], way).await);
    std::fs::remove_file(&fifo).unwrap();
}

#[test]
fn duplicates() {
    const ROWS: &[Row] = &[
        (Call::Duplicate, &[Errno::MFILE, Errno::NOMEM], Told::Error),
        (Call::Duplicate, &[Errno::INTR], Told::Nothing),
    ];
    let way = async || {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let second = listener.dup()?;
        let connecting = TcpStream::connect(listener.local_addr()?);
        let ((server, _), client) = future::try_zip(second.accept(), connecting).await?;
        let other = client.dup()?;
        drop(client);
        other.write_all(b"hello").await?;
        server.read_exact(&mut [0; 5]).await?;
        other.close().await
    };
    each(async || all(&[ROWS, WATCHED], way).await);
}

#[test]
fn the_file_of_a_socket() {
    const ROWS: &[Row] = &[
        (Call::Bind, &[Errno::ACCESS, Errno::ADDRINUSE, Errno::NOENT], Told::Error),
        (Call::FileStatus, &[Errno::ACCESS], Told::Nothing),
        (Call::FileStatus, &[Errno::INTR], Told::Nothing),
        (Call::Unlink, &[Errno::ACCESS], Told::Nothing),
        (Call::Unlink, &[Errno::INTR], Told::Nothing),
    ];
    let file = path("socket");
    let way = async || {
        // One that could not be removed is in the way of the next.
        let _ = std::fs::remove_file(&file);
        let listener = UnixListener::bind(&file)?.unlink_on_drop(true);
        let ((server, _), client) = future::try_zip(listener.accept(), UnixStream::connect(&file)).await?;
        client.write_all(b"hello").await?;
        server.read_exact(&mut [0; 5]).await
    };
    each(async || all(&[ROWS, WATCHED], way).await);
    assert!(!file.exists(), "the last one had no fault, and its file is gone");
}

#[test]
fn a_signal() {
    let way = async || {
        let usr1 = signal(SignalKind::USER1)?;
        let mut recv = Box::pin(usr1.recv());
        assert!(Probe::new().poll(recv.as_mut()).is_pending(), "nobody has sent one");
        drop(recv);
        drop(usr1);
        Ok(())
    };
    // With kqueue the kernel says it, elsewhere a handler by a pipe.
    let made = if Poller::NAME == "kqueue" { Call::PollerInit } else { Call::Pipe };
    each(async || all(&[&[(made, FULL, Told::Error)], WATCHED], way).await);
}

#[test]
fn a_child() {
    const ROWS: &[Row] = &[
        (Call::StartChild, &[Errno::AGAIN, Errno::NOMEM], Told::Error),
        (Call::StartChild, &[Errno::INTR], Told::Nothing),
        (Call::ReapChild, &[Errno::INTR], Told::Nothing),
        (Call::SignalChild, &[Errno::PERM], Told::Error),
        (Call::SignalChild, &[Errno::INTR], Told::Nothing),
        (Call::OpenChild, &[Errno::MFILE, Errno::NFILE, Errno::NOMEM], Told::Error),
        // Without a descriptor of its own a signal tells its end.
        (Call::OpenChild, &[Errno::NOSYS, Errno::PERM, Errno::INTR], Told::Nothing),
    ];
    let way = async || {
        let mut command = Command::new("cat");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut buffer = [0; 5];
        child.stdin.as_ref().unwrap().write_all(b"hello").await?;
        child.stdout.as_ref().unwrap().read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"hello");
        child.start_kill()?;
        child.wait().await.map(drop)
    };
    each(async || all(&[ROWS, WATCHED], way).await);
}

#[test]
fn a_foreign_descriptor() {
    let rows: &[Row] = &[(Call::SetNonblocking, &[Errno::NOMEM, Errno::BADF], Told::Error)];
    let way = async || {
        let (ours, mut theirs) = StdStream::pair()?;
        let ours = AsyncFd::new(ours)?;
        let mut buffer = [0; 8];
        let reading = ours.with_io(Interest::Read, |mut stream| stream.read(&mut buffer));
        let ((), read) = future::try_zip(async { theirs.write_all(b"hello") }, reading).await?;
        assert_eq!(read, 5);
        ours.close().await
    };
    each(async || all(&[rows, WATCHED], way).await);
}

/// An address that fails is no error while there is another.
#[test]
fn a_connect_with_two_addresses() {
    const ROWS: &[Row] = &[
        (Call::Socket, FULL, Told::Nothing),
        (Call::Connect, &[Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::NETUNREACH], Told::Nothing),
        (Call::Connect, &[Errno::ADDRNOTAVAIL, Errno::INTR], Told::Nothing),
        (Call::PollerOpen, &[Errno::NOSPC, Errno::NOMEM], Told::Nothing),
        (Call::PollerClose, &[Errno::NOENT], Told::Nothing),
    ];
    const EACH: &[Row] = &[
        (Call::Socket, FULL, Told::Error),
        (Call::Connect, &[Errno::CONNREFUSED, Errno::ADDRNOTAVAIL], Told::Error),
        (Call::PollerOpen, &[Errno::NOSPC], Told::Error),
    ];
    each(async || {
        // Accepted by std, so that all faults are the client's.
        let listeners = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| {
            listener.set_nonblocking(true).unwrap();
            listener.local_addr().unwrap()
        });
        let way = async || {
            let stream = TcpStream::connect(&addresses[..]).await;
            // The queue of a listener has an end.
            listeners.iter().for_each(|listener| while listener.accept().is_ok() {});
            stream?.close().await
        };
        for (call, errnos, told) in ROWS {
            for errno in *errnos {
                let what = format!("{call:?} with {errno:?}");
                let places = sweep(|n| Rule::error(*call, *errno).nth(n), &what, *told, &way).await;
                assert!(places > 0, "the way never makes {call:?}");
            }
        }
        for (call, errnos, told) in EACH {
            for errno in *errnos {
                let what = format!("{call:?} with {errno:?}, whichever the address");
                let places = sweep(|n| Rule::error(*call, *errno).from(n), &what, *told, &way).await;
                assert!(places > 0, "the way never makes {call:?}");
            }
        }
    });
}
