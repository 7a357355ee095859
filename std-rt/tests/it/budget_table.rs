//! Every future and stream of the crate that can be ready without a wait, each in a loop beside a task that must get its
//! turns. It is a table of one line each, and a test finds functions of the sources that the table lacks.

use std::collections::BTreeSet;
use std::fs;
use std::future::{Future, pending, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::*;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use netpoll_rt::io::{CopyOptions, copy, copy_bidirectional};
use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};

use netpoll_rt::net::unix::abstract_address;
use netpoll_rt::net::{
    AsyncFd, Datagram, Evented, Interest, ReadySet, RecvBatch, TcpListener, TcpSocket, TcpStream,
    ToSocketAddrs, UdpConfig, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use netpoll_rt::process::{Child, Command};
use netpoll_rt::task::{JoinSet, cooperative, poll_take_turn, take_turn, unconstrained};
use netpoll_rt::time::{interval_at, sleep, sleep_until, timeout};
use netpoll_rt::{JoinHandle, Runtime, fs as files, spawn, yield_now};

/// The number of times that each is awaited, ten times the budget.
const TIMES: usize = 100;

const HOUR: Duration = Duration::from_secs(3600);

type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The objects of the operations.
struct Scene {
    /// Bytes lie in it.
    full: Arc<TcpStream>,
    _writer: Arc<TcpStream>,
    /// A closed stream.
    closed: UnixStream,
    gone: Arc<TcpStream>,
    /// A stream at its end.
    ended: (PipeReader, UnixStream),
    sink: PipeWriter,
    _source: PipeReader,
    udp: UdpSocket,
    datagram: UnixDatagram,
    /// Their deadline has passed.
    late: (TcpListener, UnixListener),
    room: AsyncFd<std::os::unix::net::UnixStream>,
    _peer: std::os::unix::net::UnixStream,
    evented: Evented<std::os::unix::net::UnixStream>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// It has ended.
    child: Child,
}

impl Scene {
    async fn new() -> Arc<Self> {
        let (full, writer) = pair().await;
        writer.write_all(&[0; 8 * TIMES]).await.unwrap();
        while full.peek(&mut [0; 8 * TIMES]).await.unwrap() < 8 * TIMES {
            yield_now().await;
        }
        let (closed, _) = UnixStream::pair().unwrap();
        closed.close().await.unwrap();
        let (gone, _) = pair().await;
        gone.close().await.unwrap();
        let ended = (pipe().unwrap().0, UnixStream::pair().unwrap().0);
        let (source, sink) = pipe().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.connect(udp.local_addr().unwrap()).await.unwrap();
        let late = (listener().await, UnixListener::bind_addr(&nameless("listener")).unwrap());
        late.0.set_deadline(past()).unwrap();
        late.1.set_deadline(past()).unwrap();
        let datagram = UnixDatagram::bind_addr(&nameless("datagram")).unwrap();
        datagram.connect_addr(&nameless("datagram")).unwrap();
        let (room, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let evented = Evented::new(peer.try_clone().unwrap()).map_err(|(_, error)| error).unwrap();
        // Later waits are ready at once.
        evented.ready(ReadySet::WRITABLE).await.unwrap();
        let room = AsyncFd::new(room).unwrap();
        let tasks: Vec<_> = (0..2 * TIMES).map(|_| spawn(async {})).collect();
        until("they have ended", || tasks.iter().all(JoinHandle::is_finished)).await;
        let tasks = Mutex::new(tasks);
        let child = Command::new("true").spawn().unwrap();
        child.wait().await.unwrap();
        Arc::new(Scene {
            full,
            _writer: writer,
            closed,
            gone,
            ended,
            sink,
            _source: source,
            udp,
            datagram,
            late,
            room,
            _peer: peer,
            evented,
            tasks,
            child,
        })
    }

    /// Puts a datagram into each socket.
    fn fed(&self) -> &Self {
        self.udp.try_send(b"x").unwrap();
        // The queue may be full, of peeks.
        let _ = self.datagram.try_send(b"x");
        self
    }

    fn task(&self) -> JoinHandle<()> {
        self.tasks.lock().unwrap().pop().unwrap()
    }
}

fn nameless(of: &str) -> std::os::unix::net::SocketAddr {
    abstract_address(format!("netpoll-budget-{}-{of}", std::process::id())).unwrap()
}

fn nowhere() -> SocketAddr {
    (Ipv4Addr::BROADCAST, 1).into()
}

struct Row {
    name: &'static str,
    run: fn(Arc<Scene>) -> Later,
}

macro_rules! rows {
    ($($name:literal: |$scene:pat_param| $future:expr,)*) => {
        vec![$(Row {
            name: $name,
            run: |scene| Box::pin(async move {
                let $scene = &*scene;
                // Other tests judge its result; here it only has to be ready.
                let _ = $future.await;
            }),
        }),*]
    };
}

/// Returns the rows, in groups.
fn rows() -> Vec<Row> {
    let groups = [of_time_and_tasks(), of_sockets(), of_bytes(), of_messages(), of_copies_and_files()];
    groups.into_iter().flatten().collect()
}

#[rustfmt::skip]
fn of_time_and_tasks() -> Vec<Row> {
    rows! {
        "sleep": |_| sleep(Duration::ZERO), // time is tested
        "sleep_until": |_| sleep_until(Instant::now()),
        "timeout": |_| timeout(HOUR, ready(())),
        "timeout of nothing": |_| timeout(Duration::ZERO, pending::<()>()),
        "timeout of what counts": |s| timeout(HOUR, s.full.peek(&mut [0])),
        "tick": |_| async { interval_at(Instant::now() - HOUR, HOUR / 2).tick().await },
        "poll_tick": |_| async {
            let mut behind = interval_at(Instant::now() - HOUR, HOUR / 2);
            std::future::poll_fn(|cx| behind.poll_tick(cx)).await
        },
        "take_turn": |_| take_turn(),
        "poll_take_turn": |_| async { std::future::poll_fn(poll_take_turn).await.made_progress() },
        "cooperative": |_| cooperative(ready(())),
        "cooperative of what counts": |s| cooperative(s.full.peek(&mut [0])),
        "JoinHandle": |s| s.task(),
    }
}

#[rustfmt::skip]
fn of_sockets() -> Vec<Row> {
    rows! {
        "to_socket_addrs": |_| nowhere().to_socket_addrs(),
        "to_socket_addrs of a text": |_| "127.0.0.1:1".to_socket_addrs(),
        "to_socket_addrs of nonsense": |_| "nonsense".to_socket_addrs(),
        "bind": |_| TcpListener::bind("127.0.0.1:0"),
        "UdpSocket::bind": |_| UdpSocket::bind("127.0.0.1:0"),
        "UdpConfig::bind": |_| async { UdpConfig::new().bind(nowhere()).await },
        "accept": |s| s.late.0.accept(),
        "UnixListener::accept": |s| s.late.1.accept(),
        "next": |s| async { s.late.0.incoming().next().await },
        "poll_next": |s| async { StreamExt::next(&mut s.late.0.incoming()).await },
        "connect": |_| TcpStream::connect(nowhere()),
        "connect by name": |_| TcpStream::connect("nonsense"),
        "connect to several": |_| TcpStream::connect([nowhere(), nowhere()]),
        "connect_deadline": |_| TcpStream::connect_deadline(nowhere(), Instant::now()),
        "connect_timeout": |_| TcpStream::connect_timeout(nowhere(), HOUR),
        "TcpSocket::connect": |_| TcpSocket::new_v4().unwrap().connect(nowhere()),
        "UdpSocket::connect": |_| async { UdpSocket::bind("127.0.0.1:0").await.unwrap().connect(nowhere()).await },
        "UnixStream::connect": |_| UnixStream::connect("/nowhere"),
        "UnixStream::connect to nonsense": |_| UnixStream::connect("x".repeat(200)),
        "connect_addr": |_| async { UnixStream::connect_addr(&nameless("listener")).await },
        "UnixStream::connect_timeout": |_| async { UnixStream::connect_timeout(&nameless("none"), HOUR).await },
    }
}

#[rustfmt::skip]
fn of_bytes() -> Vec<Row> {
    rows! {
        "read": |s| async { s.full.read(&mut [0]).await },
        "read of nothing": |s| async { s.full.read(&mut []).await },
        "read of closed": |s| async { s.closed.read(&mut [0]).await },
        "read at the end": |s| async { s.ended.0.read(&mut [0]).await },
        "read_buf": |s| async { s.ended.0.read_buf(&mut Vec::new()).await },
        "readv": |s| async { s.full.readv(&mut [std::io::IoSliceMut::new(&mut [0])]).await },
        "read_exact": |s| async { s.full.read_exact(&mut [0]).await },
        "read_exact of nothing": |s| s.full.read_exact(&mut []),
        "peek": |s| async { s.full.peek(&mut [0]).await },
        "readable": |s| s.full.readable(),
        "peer_gone": |s| s.ended.1.peer_gone(),
        "readable of a datagram": |s| s.fed().udp.readable(),
        "writable": |s| s.full.writable(),
        "write": |s| s.full.write(b"x"),
        "write of nothing": |s| s.full.write(b""),
        "write_all": |s| s.full.write_all(b"x"),
        "write_all of nothing": |s| s.full.write_all(b""),
        "writev": |s| async { s.full.writev(&[std::io::IoSlice::new(b"x")]).await },
        "with_io": |s| s.full.with_io(Interest::Write, |_| Ok(())),
        "AsyncFd::with_io": |s| s.room.with_io(Interest::Write, |_| Ok(())),
        "AsyncFd::writable": |s| s.room.writable(),
        "ready": |s| s.room.ready(Interest::Write),
        "async_io": |s| s.evented.async_io(ReadySet::WRITABLE, || Ok(())),
        "poll_write_io": |s| async { std::future::poll_fn(|cx| s.evented.poll_write_io(cx, || Ok(()))).await },
        "ready of what is not watched for": |s| s.room.ready(Interest::Priority),
        "poll_read": |s| async { AsyncReadExt::read(&mut &*s.full, &mut [0]).await },
        "poll_read of closed": |s| async { AsyncReadExt::read(&mut &s.closed, &mut [0]).await },
        "poll_write": |s| async { AsyncWriteExt::write(&mut &*s.full, b"x").await },
        "poll_flush": |s| async { AsyncWriteExt::flush(&mut &*s.full).await },
        "poll_close": |s| async { AsyncWriteExt::close(&mut &s.closed).await },
        "close": |_| async { UnixStream::pair().unwrap().0.close().await },
        "close of closed": |s| s.closed.close(),
        "close_lingering of closed": |s| s.gone.close_lingering(HOUR, 1),
        "OwnedWriteHalf::shutdown": |_| async { UnixStream::pair().unwrap().0.into_split().1.shutdown().await },
    }
}

#[rustfmt::skip]
fn of_messages() -> Vec<Row> {
    rows! {
        "send": |s| s.udp.send(b"x"),
        "send_to": |s| s.udp.send_to(b"x", s.udp.local_addr().unwrap()),
        "send_batch": |s| async { s.udp.send_batch(&[Datagram::new(b"x")]).await },
        "send_segments": |s| s.udp.send_segments(b"xx", 1, None),
        "send_segments of nothing": |s| s.udp.send_segments(b"", 1, None),
        "send_segments of nonsense": |s| s.udp.send_segments(b"x", 0, None),
        "recv": |s| async { s.fed().udp.recv(&mut [0]).await },
        "recv_from": |s| async { s.fed().udp.recv_from(&mut [0]).await },
        "recv_batch": |s| async { s.fed().udp.recv_batch(&mut RecvBatch::new(1, 1)).await },
        "peek_from": |s| async { s.fed().udp.peek_from(&mut [0]).await },
        "UnixDatagram::recv": |s| async { s.fed().datagram.recv(&mut [0]).await },
        "UnixDatagram::send_to": |s| s.datagram.send_to(b"x", "/nowhere"),
        "UnixDatagram::send_to nonsense": |s| s.datagram.send_to(b"x", "x".repeat(200)),
        "send_to_addr": |s| async { s.datagram.send_to_addr(b"x", &nameless("none")).await },
        "send_fds_to_addr": |s| async { s.datagram.send_fds_to_addr(b"x", &[], &nameless("none")).await },
        "recv_fds_from": |s| async { s.fed().datagram.recv_fds_from(&mut [0], 1).await },
        "send_fds": |s| s.closed.send_fds(b"x", &[]),
        "recv_fds": |s| async { s.closed.recv_fds(&mut [0], 1).await },
    }
}

#[rustfmt::skip]
fn of_copies_and_files() -> Vec<Row> {
    rows! {
        "copy": |s| copy(&s.ended.0, &s.sink),
        "copy_bidirectional": |s| copy_bidirectional(&s.ended.1, &s.ended.1),
        "CopyOptions::copy of nothing": |s| async { CopyOptions::new().limit(0).copy(&s.ended.0, &s.sink).await },
        "CopyOptions::copy of nothing to a file": |s| async {
            CopyOptions::new().limit(0).copy(&s.ended.0, &file()).await
        },
        "CopyOptions::copy_bidirectional of nothing": |s| async {
            CopyOptions::new().limit(0).copy_bidirectional(&s.ended.1, &s.ended.1).await
        },
        "File::read_exact of nothing": |_| async { file().read_exact(&mut []).await },
        "File::write_all of nothing": |_| async { file().write_all(&[]).await },
        "wait": |s| s.child.wait(),
        "kill": |s| s.child.kill(),
        "status": |_| Command::new("/nowhere").status(),
        "output": |_| Command::new("/nowhere").output(),
        "JoinSet::join_next of nothing": |_| async { JoinSet::<()>::new().join_next().await },
        "JoinSet::join_next_with_id of nothing": |_| async { JoinSet::<()>::new().join_next_with_id().await },
        "JoinSet::join_all of nothing": |_| JoinSet::<()>::new().join_all(),
        "JoinSet::shutdown of nothing": |_| async { JoinSet::<()>::new().shutdown().await },
    }
}

fn file() -> files::File {
    files::File::from_std(fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap())
}

fn again_and_again(row: &Row, scene: Arc<Scene>) -> Later {
    let run = row.run;
    Box::pin(async move {
        for _ in 0..TIMES {
            run(scene.clone()).await;
        }
    })
}

#[test]
fn what_is_always_ready_leaves_the_others_their_turns() {
    let _alone = alone();
    let runtime = Runtime::builder().workers(1).budget(TIMES as u32 / 10).build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    runtime.block_on(async {
        let mut wrong = Vec::new();
        for row in rows() {
            let scene = Scene::new().await;
            // Without a bound it keeps the worker: so it is ready each time.
            let free = turns_beside(unconstrained(again_and_again(&row, scene.clone()))).await;
            drop(scene);
            let bound = turns_beside(again_and_again(&row, Scene::new().await)).await;
            if free > 1 || bound < 8 {
                wrong.push(format!("{}: {free} turns of others without a bound, {bound} with it", row.name));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

/// Functions and types of the sources without a row, and why.
const NO_ROW: [(&str, &[&str]); 5] = [
    (
        "it is counted and never refused, as tokio's: a loop of it and of attempts keeps its turn",
        &["Ready", "ready_mut"],
    ),
    ("it always waits", &["advance", "yield_now", "Yield"]),
    (
        "it waits for a thread of the pool",
        &[
            "Receiver",
            "Run",
            "create",
            "into_std",
            "metadata",
            "open",
            "open_with",
            "read_at",
            "read_to_end",
            "read_to_string",
            "seek",
            "set_len",
            "sync_all",
            "sync_data",
            "write_at",
        ],
    ),
    (
        "a layer below a row",
        &["Op", "Readiness", "Proceed", "race", "readiness", "retry_self_connect", "refuse", "run", "shared"],
    ),
    (
        "it costs what the future in it does",
        &[
            "both",
            "reap",
            "run_until",
            "wait_with_output",
            "Budgeted",
            "LocalFuture",
            "LocalSet",
            "NamedFuture",
            "Next",
            "TaskLocalFuture",
            "Traced",
            "Wrapped",
            "Signal",
            "MapErr",
        ],
    ),
];

/// Rows that a type has by another name.
const TYPES: [(&str, &str); 6] = [
    ("Cooperative", "cooperative"),
    ("Incoming", "poll_next"),
    ("JoinHandle", "JoinHandle"),
    ("Sleep", "sleep"),
    ("TakeTurn", "take_turn"),
    ("Timeout", "timeout"),
];

#[test]
fn every_future_of_the_sources_is_in_the_table() {
    // It opens files, and the others count descriptors.
    let _alone = alone();
    let name =
        |row: &Row| row.name.rsplit("::").next().and_then(|name| name.split(' ').next().map(str::to_owned));
    let rows: BTreeSet<String> = rows().iter().filter_map(name).collect();
    let has_row = |name: &str| {
        let row = TYPES.iter().find(|(of, _)| *of == name).map_or(name, |(_, row)| row);
        rows.contains(row)
    };
    let has_reason = |name: &str| NO_ROW.iter().any(|(_, names)| names.contains(&name));
    let (mut missing, sources) = (Vec::new(), sources());
    assert!(sources.len() > 50, "{} sources", sources.len());
    for source in &sources {
        let names = async_functions(source).into_iter().chain(future_types(source));
        missing.extend(names.filter(|name| !has_row(name) && !has_reason(name)));
    }
    assert!(missing.is_empty(), "without a row: {missing:?}");
}

/// Returns the types of a source that are futures or streams.
fn future_types(source: &str) -> impl Iterator<Item = String> {
    let name = |rest: &str| {
        let rest = rest.trim_start_matches("&mut ");
        rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
    };
    let after = move |found: &'static str| source.split(found).skip(1).map(name);
    after(" Future for ").chain(after(" Stream for "))
}

fn sources() -> Vec<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { sources.push(fs::read_to_string(path).unwrap()) }
        }
    }
    sources
}
