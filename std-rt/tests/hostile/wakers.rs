//! Wakers whose clone, wake or drop calls back or panics, in every operation that takes a context: no other task is
//! affected.
//!
//! Each operation is polled with such wakers until it waits, the awaited event comes, and it is dropped. A panic may reach
//! the caller that polls or drops, since its own waker panics. Afterwards, and meanwhile in other tasks, everything that it
//! has used works, and all descriptors are closed.

mod hostile;

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use self::hostile::{Called, Hostile};
use crate::common::*;
use futures_core::Stream;
use futures_io::AsyncRead;
use futures_lite::future::zip;
use netpoll_rt::fs::File;
use netpoll_rt::net::{AsyncFd, TcpListener, TcpStream, UdpSocket};
use netpoll_rt::signal::{SignalKind, signal};
use netpoll_rt::time::{interval, sleep, timeout};
use netpoll_rt::{JoinHandle, spawn, spawn_blocking};

const MESSAGE: [u8; 256] = [7; 256];

/// The objects of the operations.
struct Stage {
    stream: Arc<TcpStream>,
    peer: std::net::TcpStream,
    listener: TcpListener,
    address: SocketAddr,
    udp: UdpSocket,
    sender: std::net::UdpSocket,
    pipe: AsyncFd<std::io::PipeReader>,
    writer: std::io::PipeWriter,
    file: File,
    gate: Arc<Gate>,
    blocked: Mutex<Option<mpsc::Receiver<()>>>,
    unblock: mpsc::Sender<()>,
}

impl Stage {
    async fn new() -> Arc<Stage> {
        let (stream, peer) = pair_with_std().await;
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(udp.local_addr().unwrap()).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let file = File::open(std::env::current_exe().unwrap()).await.unwrap();
        let (unblock, blocked) = mpsc::channel();
        let (pipe, gate, blocked) = (AsyncFd::new(reader).unwrap(), Gate::new(), Mutex::new(Some(blocked)));
        Arc::new(Stage {
            stream,
            peer,
            listener,
            address,
            udp,
            sender,
            pipe,
            writer,
            file,
            gate,
            blocked,
            unblock,
        })
    }

    /// Sends bytes to the stream, which an operation may have closed.
    fn send(&self) {
        let _ = (&self.peer).write_all(&MESSAGE);
    }

    /// Sends what all of them wait for.
    async fn go_on(&self) {
        self.send();
        drop(std::net::TcpStream::connect(self.address).unwrap());
        uninterrupted(|| self.sender.send(b"datagram")).unwrap();
        (&self.writer).write_all(b"x").unwrap();
        self.gate.open();
        // The receiver is gone if no closure has begun to wait.
        let _ = self.unblock.send(());
        // Every event so far has been handed over when a later one has: those of this timer.
        // time is tested
        sleep(Duration::from_millis(3)).await;
    }

    /// Does everything that a waker may do in a call, which excludes only waiting.
    fn touch(&self) {
        let mut noop = Context::from_waker(Waker::noop());
        let _ = self.stream.try_read(&mut [0; 1]);
        let _ = self.stream.set_read_deadline(None);
        let _ = pin!(self.stream.read(&mut [0; 1])).poll(&mut noop);
        let _ = pin!(self.stream.readable()).poll(&mut noop);
        let _ = Pin::new(&mut &*self.stream).poll_read(&mut noop, &mut [0; 1]);
        let _ = pin!(self.listener.accept()).poll(&mut noop);
        let _ = pin!(self.udp.recv_from(&mut [0; 1])).poll(&mut noop);
        let _ = pin!(self.pipe.readable()).poll(&mut noop);
        let _ = pin!(self.file.metadata()).poll(&mut noop);
        // time is tested
        let _ = pin!(sleep(Duration::from_secs(1))).poll(&mut noop);
    }

    /// Asserts that everything works for other tasks.
    async fn works(&self) {
        let long = Duration::from_secs(10);
        // Closed is said below.
        let _ = self.stream.set_read_deadline(None);
        self.send();
        match timeout(long, self.stream.read(&mut [0; 1])).await.expect("a read ends") {
            Ok(n) => assert_eq!(n, 1),
            Err(error) => assert!(netpoll_rt::is_closed(&error), "{error}"),
        }
        let _client = std::net::TcpStream::connect(self.address).unwrap();
        timeout(long, self.listener.accept()).await.expect("an accept ends").unwrap();
        uninterrupted(|| self.sender.send(b"again")).unwrap();
        timeout(long, self.udp.recv_from(&mut [0; 9])).await.expect("a datagram comes").unwrap();
        (&self.writer).write_all(b"y").unwrap();
        timeout(long, self.pipe.readable()).await.expect("a pipe is readable").unwrap();
        timeout(long, self.file.metadata()).await.expect("a file answers").unwrap();
        timeout(long, spawn(async {})).await.expect("a task runs").unwrap();
        let closed = timeout(long, self.stream.close()).await.expect("close ends");
        assert!(closed.as_ref().err().is_none_or(netpoll_rt::is_closed), "{closed:?}");
        // Unread bytes make the kernel reset it; either result says that the number is closed.
        let end = uninterrupted(|| (&self.peer).read(&mut [0; 1]));
        assert!(!matches!(end, Ok(1..)), "{end:?}");
    }
}

type Op = Pin<Box<dyn Future<Output = ()>>>;

/// An operation on a stage.
type Begin = fn(Arc<Stage>) -> Op;

macro_rules! operations {
    ($($name:literal: |$stage:ident| $body:expr;)*) => {
        &[$(($name, |$stage: Arc<Stage>| Box::pin(async move { let _ = $body; }) as Op)),*]
    };
}

/// Every operation that takes a context, and those that wait for each other in one direction.
const OPERATIONS: &[(&str, Begin)] = operations! {
    "read": |stage| stage.stream.read(&mut [0; 1]).await;
    "two reads": |stage| zip(stage.stream.read(&mut [0; 1]), stage.stream.read(&mut [0; 1])).await;
    "readable": |stage| stage.stream.readable().await;
    "two readable": |stage| zip(stage.stream.readable(), stage.stream.readable()).await;
    "readable behind a read": |stage| zip(stage.stream.read(&mut [0; 1]), stage.stream.readable()).await;
    "poll_read": |stage| poll_fn(|cx| Pin::new(&mut &*stage.stream).poll_read(cx, &mut [0; 1])).await;
    "poll_read behind a read": |stage| {
        let polled = poll_fn(|cx| Pin::new(&mut &*stage.stream).poll_read(cx, &mut [0; 1]));
        zip(stage.stream.read(&mut [0; 1]), polled).await
    };
    "close beside a read": |stage| zip(stage.stream.read(&mut [0; 1]), stage.stream.close()).await;
    "read with a deadline": |stage| {
        stage.stream.set_read_deadline(in_ms(1)).unwrap();
        let read = zip(stage.stream.read(&mut [0; 1]), stage.stream.read(&mut [0; 1])).await;
        stage.stream.set_read_deadline(None).map(|()| read)
    };
    "accept": |stage| stage.listener.accept().await;
    "incoming": |stage| stage.listener.incoming().next().await;
    "incoming as a stream": |stage| {
        let mut incoming = stage.listener.incoming();
        poll_fn(|cx| Pin::new(&mut incoming).poll_next(cx)).await
    };
    "recv_from": |stage| stage.udp.recv_from(&mut [0; 9]).await;
    "an AsyncFd": |stage| stage.pipe.readable().await;
    "a file": |stage| zip(stage.file.read(&mut [0; 9]), stage.file.read_at(&mut [0; 9], 0)).await;
    "a task": |stage| {
        let gate = stage.gate.clone();
        spawn(async move { gate.wait().await }).await
    };
    "a closure that blocks": |stage| {
        let blocked = stage.blocked.lock().unwrap().take();
        spawn_blocking(move || blocked.map(|blocked| blocked.recv())).await
    };
    // time is tested
    "sleep": |stage| { drop(stage); sleep(Duration::from_millis(1)).await };
    "timeout": |stage| timeout(Duration::from_millis(1), stage.stream.read(&mut [0; 1])).await;
    "interval": |stage| {
        drop(stage);
        let mut ticks = interval(Duration::from_millis(1));
        (ticks.tick().await, ticks.tick().await)
    };
    "a signal": |stage| { drop(stage); signal(SignalKind::USER2).unwrap().recv().await };
    "connect": |stage| TcpStream::connect(stage.address).await;
};

/// Polls with a new hostile waker; a panic of that waker comes up.
fn poll(op: &mut Option<Op>, hostile: &Arc<Hostile>) {
    let waker = hostile.waker();
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let Some(running) = op else { return false };
        running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }));
    // A future that has panicked is not polled again, as it would be with a task.
    if !matches!(polled, Ok(false)) {
        let _ = catch_unwind(AssertUnwindSafe(|| op.take()));
    }
    let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
}

/// Starts other tasks that wait for the same events.
fn innocents(stage: &Arc<Stage>) -> Vec<JoinHandle<()>> {
    let wait = async |stage: &Stage, which: usize| match which {
        0 => drop(stage.stream.read(&mut [0; 1]).await),
        1 => drop(stage.stream.readable().await),
        _ => drop(poll_fn(|cx| Pin::new(&mut &*stage.stream).poll_read(cx, &mut [0; 1])).await),
    };
    (0..3)
        .map(|which| {
            let stage = stage.clone();
            spawn(async move { wait(&stage, which).await })
        })
        .collect()
}

async fn scene(name: &str, begin: Begin, called: Called, panics: bool) -> usize {
    let stage = Stage::new().await;
    let on_stage = Arc::downgrade(&stage);
    let hostile = Hostile::new(called, move || match panics {
        true => panic!("a waker panics, on purpose"),
        false => drop(on_stage.upgrade().map(|stage| stage.touch())),
    });
    let mut op = Some(begin(stage.clone()));
    poll(&mut op, &hostile);
    let others = innocents(&stage);
    poll(&mut op, &hostile);
    stage.go_on().await;
    poll(&mut op, &hostile);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(op)));
    // Enough for all of them, even if some were taken before.
    stage.send();
    for other in others {
        let ended = timeout(Duration::from_secs(10), other).await;
        ended.unwrap_or_else(|_| panic!("{name}, {called:?}, panics {panics}: a task sleeps")).unwrap();
    }
    if !panics {
        // It would take what the others are to find.
        hostile.disarm();
    }
    stage.works().await;
    hostile.acts.get()
}

/// Panics on purpose are not printed. The default runtime, which a waker begins that sleeps on a thread of the pool, is
/// there before anything is counted.
fn be_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _alone = alone();
        netpoll_rt::block_on(async { drop(listener().await) });
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let purpose =
                info.payload().downcast_ref::<&str>().is_some_and(|text| text.contains("on purpose"));
            if !purpose {
                hook(info);
            }
        }));
    });
}

fn every_operation(called: Called, panics: bool) {
    be_quiet();
    each(async || {
        let mut met = Vec::new();
        for (name, begin) in OPERATIONS {
            if scene(name, *begin, called, panics).await > 0 {
                met.push(*name);
            }
        }
        // Which wakers are woken or dropped depends on a race; nearly all operations clone one.
        assert!(met.len() * 2 > OPERATIONS.len(), "{called:?} was met by {met:?} alone");
    });
}

#[test]
fn a_clone_that_calls_back_finds_no_lock_held() {
    every_operation(Called::Clone, false);
}

#[test]
fn a_wake_that_calls_back_finds_no_lock_held() {
    every_operation(Called::Wake, false);
}

#[test]
fn a_drop_that_calls_back_finds_no_lock_held() {
    every_operation(Called::Drop, false);
}

#[test]
fn a_clone_that_panics_harms_no_other_task() {
    every_operation(Called::Clone, true);
}

#[test]
fn a_wake_that_panics_harms_no_other_task() {
    every_operation(Called::Wake, true);
}

#[test]
fn a_drop_that_panics_harms_no_other_task() {
    every_operation(Called::Drop, true);
}

/// The lock becomes free while an operation that found it held clones its waker, and then the drop of the clone panics.
#[test]
fn a_drop_that_panics_after_the_lock_became_free_holds_up_no_close() {
    be_quiet();
    each(async || {
        for closes in [true, false] {
            let (stream, mut peer) = pair_with_std().await;
            let (holder, probe) = (stream.clone(), Probe::new());
            let mut first: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(async move { drop(holder.read(&mut [0]).await) });
            assert!(probe.poll(first.as_mut()).is_pending());
            let first = Mutex::new(Some(first));
            let hostile = Hostile::on_each(move |called| match called {
                Called::Clone => drop(first.lock().unwrap().take()),
                Called::Drop => panic!("a waker panics, on purpose"),
                Called::Wake => {}
            });
            let mut byte = [0];
            let mut second = pin!(stream.read(&mut byte));
            let waker = hostile.waker();
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let _ = second.as_mut().poll(&mut Context::from_waker(&waker));
            }));
            hostile.disarm();
            assert!(polled.is_err(), "the drop of the clone panics");
            if closes {
                // It is not polled again, and not dropped.
                timeout(Duration::from_secs(10), stream.close()).await.expect("it closes").unwrap();
            } else {
                peer.write_all(b"x").unwrap();
                assert_eq!(timeout(Duration::from_secs(10), second).await.unwrap().unwrap(), 1);
            }
        }
    });
}

/// A payload of a panic whose own destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a payload panics, on purpose");
        }
    }
}

struct WakesWithABomb;

impl std::task::Wake for WakesWithABomb {
    fn wake(self: Arc<Self>) {
        std::panic::panic_any(Bomb);
    }
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_ends_no_worker() {
    be_quiet();
    for workers in [1, 4] {
        on(&[workers], async || {
            let handles: Vec<_> = (0..8).map(|_| spawn(async { std::panic::panic_any(Bomb) })).collect();
            handles.into_iter().for_each(|handle: JoinHandle<()>| drop(handle));
            let (stream, mut peer) = pair_with_std().await;
            let waker = Waker::from(Arc::new(WakesWithABomb));
            for _ in 0..8 {
                let mut buffer = [0];
                let mut read = pin!(stream.read(&mut buffer));
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                peer.write_all(b"x").unwrap();
                assert_eq!(timeout(Duration::from_secs(10), read).await.unwrap().unwrap(), 1);
            }
            let tasks: Vec<_> = (0..64).map(|n| spawn(async move { n })).collect();
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(timeout(Duration::from_secs(10), task).await.unwrap().unwrap(), n);
            }
        });
    }
}
