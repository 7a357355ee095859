//! The support of the test programs of netpoll-rt: bodies that run with one worker and with four and must leave nothing
//! behind, and functions that wait for an event instead of sleeping.

// rustdoc gets no flags of the compiler, and this crate has no examples to test.
#[cfg(not(any(netpoll_internal, doctest)))]
compile_error!(
    "the tests need `--cfg netpoll_internal`: .cargo/config.toml sets it, but RUSTFLAGS replaces what is there"
);

pub mod copies;
pub mod counting;
pub mod fork;
pub mod kernel;
pub mod own_process;
#[cfg(target_os = "linux")]
pub mod seccomp;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_core::sync::Counter;
use netpoll_rt::internal::sys::{Poller, is_simulated};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::task::unconstrained;
use netpoll_rt::time::sleep;
use netpoll_rt::{Handle, JoinHandle, Runtime, is_closed, spawn, yield_now};

/// The limit of any step of any test. A step that takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(40);

/// Lets one test at a time run, because tests count the descriptors of the whole process and measure deadlines.
///
/// A thread of the test before may close its last descriptors a moment after that test has ended. So this waits until
/// the process has the descriptors that it had at the last turn, or for [`SETTLE`] if that test leaves some open, such
/// as those of the default runtime.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAST: Mutex<Option<BTreeMap<String, String>>> = Mutex::new(None);
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let mut now = open_descriptors();
    while last.as_ref().is_some_and(|last| *last != now) && start.elapsed() < SETTLE {
        thread::yield_now();
        now = open_descriptors();
    }
    *last = Some(now);
    turn
}

/// The time that [`alone`] gives the test before to close its descriptors.
const SETTLE: Duration = Duration::from_millis(300);

/// Creates a runtime with this number of workers. `NETPOLL_TEST_POLLERS` sets the number of its pollers.
pub fn runtime(workers: usize) -> Runtime {
    let pollers = std::env::var("NETPOLL_TEST_POLLERS").map_or(1, |n| n.parse().expect("a number"));
    Runtime::builder().workers(workers).pollers(pollers).build().unwrap()
}

/// Runs `body` with one worker and with four. Afterwards the process has the descriptors that it had before, and the
/// runtime has no task, no parked task, no descriptor and no timer left.
pub fn each(body: impl AsyncFn()) {
    on(&[1, 4], body);
}

/// Runs `body` as [`each`] does, with the given numbers of workers.
pub fn on(workers: &[usize], body: impl AsyncFn()) {
    let _alone = alone();
    for &workers in workers {
        let before = open_descriptors();
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let watch = Watch::over(handle.clone());
        runtime.block_on(body());
        drop(runtime);
        drop(watch);
        assert_nothing_left(&handle);
        drop(handle);
        assert_descriptors(&before, workers);
    }
}

/// Asserts that the process has the descriptors that it had before. A thread of the blocking pool that woke the last task
/// may still be in that call, and keeps the runtime until it returns.
fn assert_descriptors(before: &BTreeMap<String, String>, workers: usize) {
    let limit = Instant::now() + LIMIT / 10;
    let now = loop {
        let now = open_descriptors();
        if now == *before || Instant::now() >= limit {
            break now;
        }
        thread::yield_now();
    };
    assert_eq!(now, *before, "descriptors of the process, {workers} workers");
}

/// Asserts that a runtime that was dropped has no task, waiter, descriptor or timer left.
pub fn assert_nothing_left(handle: &Handle) {
    let metrics = handle.metrics();
    let left = (metrics.tasks, metrics.waiters, metrics.descriptors, metrics.timers);
    assert_eq!(left, (0, 0, 0, 0), "tasks, waiters, descriptors, timers of {metrics:?}");
}

/// The file systems in which other threads of the process open files for a moment: malloc when a thread gives memory back,
/// and std when it counts the processors.
const OF_A_MOMENT: [&str; 2] = ["/proc/", "/sys/"];

/// Returns the number and the target of every open descriptor, except those that are open for a moment, such as the one
/// that reads the table. Without `/proc` the targets are empty, and the descriptor that reads the table is included.
pub fn open_descriptors() -> BTreeMap<String, String> {
    let name =
        |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().into_owned();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return std::fs::read_dir("/dev/fd").unwrap().map(|entry| (name(entry), String::new())).collect();
    };
    let links = entries.filter_map(|entry| {
        let target = std::fs::read_link(entry.as_ref().ok()?.path()).ok()?.to_string_lossy().into_owned();
        Some((name(entry), target))
    });
    links.filter(|(_, target)| !OF_A_MOMENT.iter().any(|place| target.starts_with(place))).collect()
}

/// A thread that ends the process and prints the runtime's metrics if a test hangs.
pub struct Watch {
    done: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Watches a runtime until this is dropped, for at most [`LIMIT`].
    pub fn over(handle: Handle) -> Self {
        Self::over_for(handle, LIMIT)
    }

    /// Watches a runtime until this is dropped, for at most `limit`.
    pub fn over_for(handle: Handle, limit: Duration) -> Self {
        let (done, ended) = mpsc::channel::<()>();
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let watch = move || {
            if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not `eprintln`, whose output the harness keeps until the test ends.
                let _ = writeln!(io::stderr(), "{name} hangs: {:?}", handle.metrics());
                std::process::abort();
            }
        };
        Self { done: Some(done), thread: Some(thread::spawn(watch)) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Yields to other tasks until `reached` returns true. Panics with `what` if that takes too long.
pub async fn until(what: &str, reached: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT / 2;
    while !reached() {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        pause().await;
    }
}

/// Lets other tasks and threads go on. In a simulation it sleeps, as the clock stands still there while a task is runnable.
pub async fn pause() {
    if is_simulated() {
        sleep(Duration::from_micros(200)).await; // time is tested
    } else {
        yield_now().await;
        thread::yield_now();
    }
}

/// Returns once exactly `n` tasks of this thread's runtime are parked on descriptors.
pub async fn parked(n: usize) {
    let handle = Handle::try_current().unwrap();
    until(&format!("{n} tasks are parked"), || handle.waiters() == n).await;
}

/// Returns once this thread's runtime has taken more than `before` events from the kernel. Returns at once with a backend
/// that reports a change only to a task that waits for it.
pub async fn reported(before: usize) {
    let handle = Handle::try_current().unwrap();
    until("the event has come", || !Poller::EDGES || handle.metrics().events > before).await;
}

/// Waits as [`until`] does, on a thread without a runtime.
pub fn until_blocking(what: &str, reached: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT / 2;
    while !reached() {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        thread::yield_now();
    }
}

/// A measurement of how late this machine wakes a thread that only sleeps, which is the error of every measured time.
pub struct Lateness {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<Duration>,
}

impl Lateness {
    /// Starts the measurement.
    pub fn watch() -> Self {
        const NAP: Duration = Duration::from_millis(1);
        let (stop, stopped) = mpsc::channel();
        let measure = move || {
            let (mut worst, mut start) = (Duration::ZERO, Instant::now());
            // time is tested
            while stopped.recv_timeout(NAP) == Err(mpsc::RecvTimeoutError::Timeout) {
                worst = worst.max(start.elapsed().saturating_sub(NAP));
                start = Instant::now();
            }
            worst.max(start.elapsed().saturating_sub(NAP))
        };
        Self { stop, thread: thread::spawn(measure) }
    }

    /// Ends the measurement and returns the longest delay.
    pub fn end(self) -> Duration {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

/// Asserts that `body` takes less than `limit`. A measurement says nothing if the machine was late meanwhile by more than
/// a tenth of the limit, and is then made again: a busy machine does not fail it, and code that waits for `limit` always does.
pub async fn takes_less_than(limit: Duration, mut body: impl AsyncFnMut()) {
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        let (machine, start) = (Lateness::watch(), Instant::now());
        body().await;
        let (took, late) = (start.elapsed(), machine.end());
        if took < limit {
            return;
        }
        assert!(late > limit / 10, "{took:?}, and the machine was late by {late:?} at most");
    }
    panic!("never less than {limit:?} in {ATTEMPTS} attempts on a busy machine");
}

/// Returns an address of the loopback network that no other process uses, so that a port which was given back stays free.
/// Only Linux answers on all of that network; other systems have only the one usual address.
pub fn own_address() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let own = [127, 64 + a % 64, b, c.max(2)];
    SocketAddr::from((
        if cfg!(any(target_os = "linux", target_os = "android")) { own } else { [127, 0, 0, 1] },
        0,
    ))
}

/// Returns a listener on a port of its own.
pub async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Returns two ends of one connection, both of this runtime.
pub async fn pair() -> (Arc<TcpStream>, Arc<TcpStream>) {
    let listener = listener().await;
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (Arc::new(client), Arc::new(server))
}

/// Returns a connection: one end of this runtime, the other a blocking socket of std.
pub async fn pair_with_std() -> (Arc<TcpStream>, std::net::TcpStream) {
    let listener = listener().await;
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (Arc::new(stream), peer)
}

/// Makes a call of std, and repeats it after a signal has interrupted it, which std leaves to the caller.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Returns a task that makes one read of at most 64 bytes.
pub fn reader(stream: &Arc<TcpStream>) -> JoinHandle<io::Result<Vec<u8>>> {
    let stream = stream.clone();
    spawn(async move { read_once(&stream).await })
}

/// Reads once, at most 64 bytes.
pub async fn read_once(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = stream.read(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

/// Returns a task that writes zeroes until a write fails; it returns the number of bytes and the error.
pub fn writer(stream: &Arc<TcpStream>) -> JoinHandle<(usize, io::Error)> {
    let stream = stream.clone();
    spawn(async move {
        let mut written = 0;
        loop {
            match stream.write(&[0; 1024]).await {
                Ok(n) => written += n,
                Err(error) => return (written, error),
            }
        }
    })
}

/// Returns the number of turns that another task has had when `busy` ends.
pub async fn turns_beside(busy: impl Future<Output = ()> + Send + 'static) -> usize {
    let turns = Arc::new(Counter::new());
    let counted = turns.clone();
    let busy = spawn(async move {
        busy.await;
        counted.get()
    });
    let other = spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.inc();
                yield_now().await;
            }
        }
    });
    let turns = busy.await.unwrap();
    other.abort();
    turns
}

/// Writes until the kernel has no room left, here and at a peer that does not read. Its limits grow while they are
/// being reached, and acknowledgements come up to 40 ms later: it is full when nothing fits for longer than that,
/// twice in a row, because a busy machine delays acknowledgements further.
pub async fn fill(stream: &Arc<TcpStream>) {
    let mut in_vain = 0;
    while in_vain < 2 {
        stream.set_write_deadline(in_ms(100)).unwrap();
        let (written, error) = writer(stream).await.unwrap();
        assert_timed_out(Err::<(), _>(error));
        in_vain = if written == 0 { in_vain + 1 } else { 0 };
    }
    stream.set_write_deadline(None).unwrap();
}

/// Returns a deadline that has passed.
pub fn past() -> Option<Instant> {
    Some(Instant::now() - Duration::from_secs(5))
}

/// Returns a deadline that many milliseconds from now.
pub fn in_ms(ms: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(ms))
}

/// Asserts that the operation failed because its descriptor was closed.
#[track_caller]
pub fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("closed was expected");
    assert!(is_closed(&error), "closed was expected, not {error}");
    assert_ne!(error.kind(), io::ErrorKind::TimedOut);
}

/// Asserts that the operation failed because its deadline had passed.
#[track_caller]
pub fn assert_timed_out<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("a timeout was expected");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(!is_closed(&error), "{error}");
}

/// A waker that counts its wakes.
#[derive(Debug, Default)]
pub struct Probe {
    /// The number of wakes.
    pub wakes: Counter,
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.wakes.inc();
    }
}

impl Probe {
    /// Creates a probe that was never woken.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Polls a future with this waker, without regard to the budget of the turn.
    pub fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.poll_in_turn(pin!(unconstrained(future)))
    }

    /// Polls a future with this waker, within the budget of the turn.
    pub fn poll_in_turn<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(self.clone());
        future.poll(&mut Context::from_waker(&waker))
    }

    /// Returns once there were `n` wakes.
    pub async fn woken(&self, n: usize) {
        until(&format!("{n} wakes came"), || self.wakes.get() >= n).await;
        assert_eq!(self.wakes.get(), n, "wakes");
    }
}

/// An event for which tasks wait until another task reports it.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<(bool, Vec<Waker>)>,
}

impl Gate {
    /// Creates a closed gate.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Opens the gate and wakes the tasks that wait for it.
    pub fn open(&self) {
        let wakers = {
            let mut state = self.state.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until the gate is open.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A guard that opens its gate when it is dropped.
pub struct OpensOnDrop(pub Arc<Gate>);

impl Drop for OpensOnDrop {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Returns the names of the public functions in a source text that are `async` or return a future.
pub fn async_functions(text: &str) -> Vec<String> {
    let name = |rest: &str| rest.split(['(', '<']).next().unwrap_or_default().to_owned();
    let after = |start: &'static str| text.match_indices(start).map(|(at, found)| &text[at + found.len()..]);
    let returns = |rest: &&str| {
        rest.split_once('{')
            .is_some_and(|(head, _)| head.contains("-> impl Future<") || head.contains("::Future<"))
    };
    after("pub async fn ").chain(after("pub fn ").filter(returns)).map(name).collect()
}
