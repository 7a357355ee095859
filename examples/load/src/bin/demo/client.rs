//! The client: many connections, each with one message in flight, and a comparison of every byte that comes back.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use netpoll_core::sync::Counter;
use netpoll_load::{
    BUFFER, Failure, Figures, Line, MessagePool, end_with_parent, give_up, raise_descriptor_limit,
};
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{sleep_until, timeout};
use netpoll_rt::{JoinHandle, Runtime, spawn};

use crate::Options;

/// The time without progress after which a connection counts as hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that are made at once, well below the 4096 that a Linux listener queues by default.
const WAVE: usize = 512;

/// The state that all connections share.
struct Load {
    pool: MessagePool,
    conns: Counter,
    messages: Counter,
    bytes: Counter,
    /// Round trips in nanoseconds.
    latency: Mutex<Histogram<u64>>,
}

impl Load {
    fn latency(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> Figures {
        let counters = [("connections", &self.conns), ("messages", &self.messages), ("bytes", &self.bytes)];
        counters.map(|(name, counter)| (name.to_owned(), counter.get() as u64)).into()
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    end_with_parent();
    raise_descriptor_limit();
    let refused = |error: String| Failure::Refused(format!("client: {error}"));
    let runtime = Runtime::builder().workers(options.workers).build().map_err(|e| refused(e.to_string()))?;
    let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|e| refused(e.to_string()))?;
    let load = Arc::new(Load {
        pool: MessagePool::default(),
        conns: Counter::new(),
        messages: Counter::new(),
        bytes: Counter::new(),
        latency: Mutex::new(latency),
    });
    let took = runtime.block_on(drive(options, &load));
    let (mut figures, latency) = (load.figures(), load.latency());
    let at = |quantile| latency.value_at_quantile(quantile);
    let more = [
        ("nanoseconds", u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
        ("p50", at(0.5)),
        ("p99", at(0.99)),
        ("p99.9", at(0.999)),
        ("max", latency.max()),
    ];
    figures.extend(more.map(|(name, number)| (name.to_owned(), number)));
    Line::Done(figures).say();
    Ok(())
}

/// Makes all connections, loads them, and returns how long the load lasted.
async fn drive(options: &Options, load: &Arc<Load>) -> Duration {
    let ticker = spawn(tick(load.clone()));
    let mut connections = Vec::with_capacity(options.conns);
    for first in (0..options.conns).step_by(WAVE) {
        let wave = first..options.conns.min(first + WAVE);
        let opened = wave.map(|number| spawn(Connection::open(number, options.addr, load.clone())));
        for connection in opened.collect::<Vec<_>>() {
            connections.push(finished(connection).await);
        }
    }
    // The messages so far were compared and are counted, but their latency includes connecting.
    load.latency().reset();
    let before = load.messages.get();
    let began = Instant::now();
    let end = began + Duration::from_secs(options.seconds);
    let running = connections.into_iter().map(|connection| spawn(connection.run(load.clone(), end)));
    for connection in running.collect::<Vec<_>>() {
        finished(connection).await;
    }
    ticker.abort();
    if load.messages.get() == before {
        give_up("no message came back");
    }
    began.elapsed()
}

/// Reports the figures every second.
async fn tick(load: Arc<Load>) {
    let mut next = Instant::now();
    loop {
        next += Duration::from_secs(1);
        sleep_until(next).await;
        Line::Tick(load.figures()).say();
    }
}

/// Returns the output of a task. The first fault ends the client.
async fn finished<T>(task: JoinHandle<Result<T, String>>) -> T {
    match task.await {
        Ok(Ok(value)) => value,
        Ok(Err(fault)) => give_up(&fault),
        Err(error) => give_up(&error.to_string()),
    }
}

struct Connection {
    number: usize,
    stream: TcpStream,
    local: SocketAddr,
    /// Draws the messages. Its seed is the number, so that a run can be repeated.
    rng: fastrand::Rng,
    sent: usize,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects and exchanges a first message, which shows that the server has accepted.
    async fn open(number: usize, address: SocketAddr, load: Arc<Load>) -> Result<Self, String> {
        let of = |error: io::Error| format!("connection {number}: {error}");
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.map_err(of)?.map_err(of)?;
        let local = stream.local_addr().map_err(of)?;
        let rng = fastrand::Rng::with_seed(number as u64);
        let mut connection = Self { number, stream, local, rng, sent: 0, buffer: vec![0; BUFFER] };
        connection.exchange(&load).await?;
        load.conns.inc();
        Ok(connection)
    }

    async fn run(mut self, load: Arc<Load>, end: Instant) -> Result<(), String> {
        while Instant::now() < end {
            // A fault ends the client here, not when `drive` comes to await this task.
            if let Err(fault) = self.exchange(&load).await {
                give_up(&fault);
            }
        }
        self.finish().await
    }

    /// Sends a message and compares the bytes that come back.
    async fn exchange(&mut self, load: &Load) -> Result<(), String> {
        let message = load.pool.draw(&mut self.rng);
        self.sent += 1;
        let began = Instant::now();
        let written = async {
            self.stream.set_write_deadline(Some(began + PATIENCE))?;
            self.stream.write_all(message).await
        };
        written.await.map_err(|error| self.fault(0, message.len(), &describe(&error)))?;
        let mut got = 0;
        while got < message.len() {
            got += self.compare(message, got).await?;
        }
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        load.latency().saturating_record(nanos);
        load.messages.inc();
        load.bytes.add(got);
        Ok(())
    }

    /// Reads once and compares the bytes with the message from byte `got` on.
    async fn compare(&mut self, message: &[u8], got: usize) -> Result<usize, String> {
        let expected = &message[got..];
        let length = expected.len().min(BUFFER);
        let buffer = &mut self.buffer[..length];
        let read = async {
            self.stream.set_read_deadline(Some(Instant::now() + PATIENCE))?;
            self.stream.read(buffer).await
        };
        let n = read.await.map_err(|error| self.fault(got, message.len(), &describe(&error)))?;
        if n == 0 {
            return Err(self.fault(got, message.len(), "the server ended the stream"));
        }
        match (0..n).find(|&at| self.buffer[at] != expected[at]) {
            None => Ok(n),
            Some(at) => {
                let wrong = format!("expected {:#04x}, got {:#04x}", expected[at], self.buffer[at]);
                Err(self.fault(got + at, message.len(), &wrong))
            }
        }
    }

    /// Ends the stream and waits for its other end, which would bring a byte that was never sent to light.
    async fn finish(self) -> Result<(), String> {
        let mut byte = [0];
        let ended = async {
            self.stream.shutdown(Shutdown::Write)?;
            self.stream.set_read_deadline(Some(Instant::now() + PATIENCE))?;
            self.stream.read(&mut byte).await
        };
        match ended.await {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.fault(0, 0, &format!("a byte that was never sent: {:#04x}", byte[0]))),
            Err(error) => Err(self.fault(0, 0, &describe(&error))),
        }
    }

    fn fault(&self, at: usize, of: usize, what: &str) -> String {
        let Self { number, local, sent, .. } = self;
        format!("connection {number} from {local}, message {sent}, byte {at} of {of}: {what}")
    }
}

fn describe(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        format!("no progress for {PATIENCE:?}: {error}")
    } else {
        error.to_string()
    }
}
