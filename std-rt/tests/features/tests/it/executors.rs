//! Sockets, deadlines and sleeps of netpoll-rt in tasks of other executors, which poll the futures. A runtime of netpoll wakes
//! them: the default one, or one that the task chooses.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, zip};
use netpoll_rt::net::{TcpListener, TcpStream, UnixStream};
use netpoll_rt::{Handle, Runtime, runtime_ended, time};
use test_support::alone;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor of others.
struct Executor {
    name: &'static str,
    /// Runs a future to its end, in a task where the executor has tasks.
    run: fn(Job),
    /// Starts a task. Called in a task.
    spawn: fn(Job),
}

const EXECUTORS: [Executor; 4] = [
    Executor {
        name: "smol",
        run: |job| smol::block_on(smol::spawn(job)),
        spawn: |job| smol::spawn(job).detach(),
    },
    Executor {
        name: "tokio with threads",
        run: |job| run_in_tokio(&mut tokio::runtime::Builder::new_multi_thread(), job),
        spawn: |job| drop(tokio::spawn(job)),
    },
    Executor {
        name: "tokio with one thread",
        run: |job| run_in_tokio(&mut tokio::runtime::Builder::new_current_thread(), job),
        spawn: |job| drop(tokio::spawn(job)),
    },
    Executor { name: "a bare block_on", run: block_on, spawn: |job| drop(thread::spawn(|| block_on(job))) },
];

fn run_in_tokio(builder: &mut tokio::runtime::Builder, job: Job) {
    // Neither its driver of sockets nor that of timers is enabled.
    let runtime = builder.build().unwrap();
    runtime.block_on(async { tokio::spawn(job).await.unwrap() });
}

const CONNECTIONS: usize = 20;
const MESSAGE: [u8; 1_000] = [7; 1_000];

/// Echoes on connections that each have a task at both ends, and compares the bytes.
async fn echo(executor: &Executor) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (done, echoed) = async_done();
    for _ in 0..CONNECTIONS {
        let done = done.clone();
        (executor.spawn)(Box::pin(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut back = [0; MESSAGE.len()];
            let (sent, read) = zip(stream.write_all(&MESSAGE), stream.read_exact(&mut back)).await;
            sent.and(read).unwrap();
            assert_eq!(back, MESSAGE);
            done.send(()).await;
        }));
        let (stream, _) = listener.accept().await?;
        (executor.spawn)(Box::pin(async move {
            let mut bytes = [0; MESSAGE.len()];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }));
    }
    echoed.all(CONNECTIONS).await
}

/// The ends of a socket pair by which tasks report that they are done.
fn async_done() -> (Done, Echoed) {
    let (one, two) = UnixStream::pair().unwrap();
    (Done(std::sync::Arc::new(one)), Echoed(two))
}

#[derive(Clone)]
struct Done(std::sync::Arc<UnixStream>);

impl Done {
    async fn send(&self, (): ()) {
        self.0.write_all(&[1]).await.unwrap();
    }
}

struct Echoed(UnixStream);

impl Echoed {
    async fn all(&self, count: usize) -> io::Result<()> {
        self.0.read_exact(&mut vec![0; count]).await
    }
}

/// Runs a job in a task of each executor, on a thread that has no runtime of netpoll.
fn in_each(job: impl Fn(&'static Executor) -> Job) {
    for executor in &EXECUTORS {
        println!("{}", executor.name);
        (executor.run)(job(executor));
    }
}

#[test]
fn without_a_chosen_runtime_the_default_one_wakes_the_tasks() {
    let _alone = alone();
    in_each(|executor| {
        Box::pin(async move {
            assert!(Handle::try_current().is_none(), "the thread works for no runtime of netpoll");
            echo(executor).await.unwrap();
        })
    });
}

#[test]
fn a_task_chooses_the_runtime_of_its_sockets() {
    let _alone = alone();
    for executor in &EXECUTORS {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let handle = runtime.handle().clone();
        let chosen = handle.clone();
        (executor.run)(Box::pin(async move {
            let (one, two) = {
                let _entered = chosen.enter();
                UnixStream::pair().unwrap()
            };
            let listener = chosen.wrap(TcpListener::bind("127.0.0.1:0")).await.unwrap();
            assert_eq!(chosen.metrics().descriptors, 3, "{}", executor.name);
            let mut byte = [0];
            let (read, sent) = zip(one.read(&mut byte), two.write_all(b"x")).await;
            assert_eq!((read.unwrap(), sent.unwrap(), byte), (1, (), *b"x"));
            drop((one, two, listener));
        }));
        assert_eq!(handle.metrics().descriptors, 0, "{}", executor.name);
    }
}

#[test]
fn a_deadline_and_a_sleep_end() {
    let _alone = alone();
    in_each(|executor| {
        Box::pin(async move {
            let (one, _two) = UnixStream::pair().unwrap();
            one.set_read_timeout(Some(Duration::from_millis(20))).unwrap(); // time is tested
            let error = one.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", executor.name);
            let start = Instant::now();
            time::sleep(Duration::from_millis(5)).await; // time is tested
            assert!(start.elapsed() >= Duration::from_millis(5));
            let late = time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await; // time is tested
            assert!(late.is_err());
        })
    });
}

#[test]
fn a_wait_fails_once_its_runtime_has_ended() {
    let _alone = alone();
    in_each(|executor| {
        let runtime = Runtime::new().unwrap();
        let (one, two) = runtime.block_on(async { UnixStream::pair() }).unwrap();
        let (ready, parked) = mpsc::channel();
        thread::spawn(move || {
            parked.recv().unwrap();
            drop(runtime);
        });
        Box::pin(async move {
            let mut buffer = [0];
            let mut read = std::pin::pin!(one.read(&mut buffer));
            let error = std::future::poll_fn(|cx| {
                let polled = read.as_mut().poll(cx);
                ready.send(()).unwrap_or(()); // the thread has ended after the first
                polled
            });
            assert!(runtime_ended(&error.await.unwrap_err()), "{}", executor.name);
            drop(two);
        })
    });
}
