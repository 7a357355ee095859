//! The rows of connecting, when there is no descriptor to close yet.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use netpoll_rt::Handle;
use netpoll_rt::net::{
    TcpListener, TcpSocket, TcpStream, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream,
};

use super::running::{Running, timers, word};
use super::scene::{Got, Later, Operation};
use super::table::Column;
use crate::common::{LIMIT, listener, open_descriptors, own_address, parked};
use crate::unix_support::{Scratch, address};

const NONE: &str = "—";

/// A deadline that is not over yet when an operation is polled first.
const SHORT: Duration = Duration::from_millis(100);

/// A listener whose queue is full, and the connects that fill it: the kernel drops the handshake and tries again after a
/// second.
struct Full {
    listener: TcpListener,
    _queue: Vec<Running>,
}

impl Full {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(own_address()).unwrap();
        let listener = socket.listen(0).unwrap();
        let to = listener.local_addr().unwrap();
        let fill = |_| {
            let mut connect = Running::new(Box::pin(async move {
                TcpSocket::new_v4().unwrap().connect(to).await.map(|_| Got::Connection)
            }));
            // As far as it comes.
            let _ = connect.poll();
            connect
        };
        Self { _queue: (0..2).map(fill).collect(), listener }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

/// A way to connect; it is given so much time if it takes any.
struct Way<A> {
    name: &'static str,
    limited: bool,
    connect: fn(A, Duration) -> Later<'static, io::Result<Got>>,
}

impl<A> Way<A> {
    fn start(&self, to: A, time: Duration) -> Running {
        Running::new((self.connect)(to, time))
    }

    /// The close comes once it waits.
    fn waiting(&self, to: A, time: Duration) -> Running {
        let mut running = self.start(to, time);
        assert!(running.poll().is_pending(), "{} does not wait", self.name);
        running
    }
}

macro_rules! way {
    ($name:literal, $limited:literal, |$to:ident, $time:pat_param| $does:expr) => {
        Way {
            name: $name,
            limited: $limited,
            connect: |$to, $time| Box::pin(async move { $does.map(|_| Got::Connection) }),
        }
    };
}

async fn tcp_cell(way: &Way<SocketAddr>, column: Column) -> String {
    let result = match column {
        Column::LateBefore if way.limited => {
            let listener = listener().await;
            way.start(listener.local_addr().unwrap(), Duration::ZERO).end().await
        }
        Column::LateMeanwhile if way.limited => {
            let full = Full::new();
            way.waiting(full.address(), SHORT).end().await
        }
        Column::PeerCloses => {
            let closed = TcpListener::bind(own_address()).await.unwrap().local_addr().unwrap();
            way.start(closed, LIMIT).end().await
        }
        Column::PeerResets => {
            let full = Full::new();
            let running = way.waiting(full.address(), LIMIT);
            drop(full);
            running.end().await
        }
        Column::Dropped => {
            let full = Full::new();
            let before = (open_descriptors(), Handle::try_current().unwrap().waiters());
            let running = way.waiting(full.address(), LIMIT);
            parked(before.1 + 1).await;
            drop(running);
            parked(before.1).await;
            assert_eq!(open_descriptors(), before.0, "its socket is closed");
            return "given up".to_owned();
        }
        _ => return NONE.to_owned(),
    };
    word(result)
}

pub fn tcp() -> Vec<Operation> {
    let ways: [Way<SocketAddr>; 4] = [
        way!("TcpStream::connect", false, |to, _| TcpStream::connect(to).await),
        way!("TcpSocket::connect", false, |to, _| TcpSocket::new_v4().unwrap().connect(to).await),
        way!("TcpStream::connect_deadline", true, |to, time| {
            TcpStream::connect_deadline(to, Instant::now() + time).await
        }),
        way!("TcpStream::connect_timeout", true, |to, time| TcpStream::connect_timeout(to, time).await),
    ];
    let operation = |way: Way<SocketAddr>| {
        let (name, way) = (way.name.to_owned(), Rc::new(way));
        let run = move |column| -> Later<'static, String> {
            let way = way.clone();
            Box::pin(async move { tcp_cell(&way, column).await })
        };
        Operation { name, run: Box::new(run) }
    };
    ways.map(operation).into()
}

/// A listener with a path, and room for one connection that waits to be accepted.
struct Listening {
    path: PathBuf,
    listener: Box<dyn Any>,
    queue: Vec<Box<dyn Any>>,
    _folder: Scratch,
}

macro_rules! unix {
    ($name:ident, $listener:ident, $stream:ident) => {
        fn $name() -> Vec<Operation> {
            let ways: [Way<PathBuf>; 3] = [
                way!("connect", false, |to, _| $stream::connect(to).await),
                way!("connect_addr", false, |to, _| $stream::connect_addr(&address(&to)).await),
                way!("connect_timeout", true, |to, time| {
                    $stream::connect_timeout(&address(&to), time).await
                }),
            ];
            let free = || {
                let folder = Scratch::new();
                let path = folder.path("socket");
                let listener = $listener::bind_with_backlog(&address(&path), 0).unwrap();
                Listening { path, listener: Box::new(listener), queue: Vec::new(), _folder: folder }
            };
            let full = move || -> Later<'static, Listening> {
                Box::pin(async move {
                    let mut it = free();
                    let to = address(&it.path);
                    while let Ok(client) = $stream::connect_timeout(&to, Duration::ZERO).await {
                        it.queue.push(Box::new(client));
                    }
                    it
                })
            };
            let operation = |way: Way<PathBuf>| {
                let (name, way) = (format!("{}::{}", stringify!($stream), way.name), Rc::new(way));
                let run = move |column| -> Later<'static, String> {
                    let way = way.clone();
                    Box::pin(async move { unix_cell(&way, column, free, full).await })
                };
                Operation { name, run: Box::new(run) }
            };
            ways.map(operation).into()
        }
    };
}

unix!(streams, UnixListener, UnixStream);
unix!(packets, UnixSeqpacketListener, UnixSeqpacket);

pub fn unix() -> Vec<Operation> {
    streams().into_iter().chain(packets()).collect()
}

/// Plays a cell of Unix sockets. `free` makes a listener with room, `full` one without.
async fn unix_cell(
    way: &Way<PathBuf>,
    column: Column,
    free: impl Fn() -> Listening,
    full: impl Fn() -> Later<'static, Listening>,
) -> String {
    let result = match column {
        Column::LateBefore if way.limited => {
            let listening = free();
            way.start(listening.path.clone(), Duration::ZERO).end().await
        }
        Column::LateMeanwhile if way.limited => {
            let listening = full().await;
            way.waiting(listening.path.clone(), SHORT).end().await
        }
        Column::PeerCloses => {
            let listening = full().await;
            let running = way.waiting(listening.path.clone(), LIMIT);
            drop(listening.listener);
            running.end().await
        }
        Column::Dropped => {
            let listening = full().await;
            let before = open_descriptors();
            let running = way.waiting(listening.path.clone(), LIMIT);
            drop(running);
            assert_eq!((timers(), open_descriptors()), (0, before), "no pause, and its socket is closed");
            return "given up".to_owned();
        }
        _ => return NONE.to_owned(),
    };
    word(result)
}
