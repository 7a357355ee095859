//! The second process: many connections, each with one message under way, and every byte that comes back is compared.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use netpoll_core::sync::Counter;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::{sleep_until, timeout};
use netpoll_rt::{JoinHandle, Runtime, spawn};

use crate::Failure;
use crate::options::Options;
use crate::report::Summary;

/// A connection on which nothing moves for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that are made at once, well below the 4096 that a Linux listener keeps waiting by default.
const WAVE: usize = 512;

const LONGEST: usize = 16 * 1024;
const BUFFER: usize = 4096;

/// Random bytes of which every message is a piece.
const POOL: usize = 1024 * 1024;

/// What all connections share.
struct Load {
    pool: Vec<u8>,
    conns: Counter,
    messages: Counter,
    bytes: Counter,
    /// Round trips in nanoseconds.
    latency: Mutex<Histogram<u64>>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    std::thread::spawn(end_with_parent);
    let refused = |error: String| Failure::Refused(format!("client: {error}"));
    let runtime = Runtime::builder().workers(options.workers).build().map_err(|e| refused(e.to_string()))?;
    let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|e| refused(e.to_string()))?;
    let mut pool = vec![0; POOL];
    fastrand::Rng::with_seed(0).fill(&mut pool);
    let load = Arc::new(Load {
        pool,
        conns: Counter::new(),
        messages: Counter::new(),
        bytes: Counter::new(),
        latency: Mutex::new(latency),
    });
    let nanos = runtime.block_on(drive(options, &load));
    let latency = load.latency.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |quantile: f64| latency.value_at_quantile(quantile);
    let summary = Summary {
        conns: load.conns.get() as u64,
        messages: load.messages.get() as u64,
        bytes: load.bytes.get() as u64,
        nanos,
        latency: [at(0.5), at(0.99), at(0.999), latency.max()],
    };
    say(&summary.to_line());
    Ok(())
}

/// Our standard input is a pipe whose other end the parent holds: it ends when the parent does.
fn end_with_parent() {
    // Whether it ended or broke, nobody is there any more.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    exit(1);
}

/// Connects all, loads all, and returns how long the load lasted, in nanoseconds.
async fn drive(options: &Options, load: &Arc<Load>) -> u64 {
    let ticker = spawn(tick(load.clone()));
    let mut connections = Vec::with_capacity(options.conns);
    for first in (0..options.conns).step_by(WAVE) {
        let wave = first..options.conns.min(first + WAVE);
        let address = options.addr;
        let opened = wave.map(|number| spawn(Connection::open(number, address, load.clone())));
        for connection in opened.collect::<Vec<_>>() {
            connections.push(finished(connection).await);
        }
    }
    // What was exchanged to connect is verified and counted, but its latency is that of connecting.
    load.latency.lock().unwrap_or_else(PoisonError::into_inner).reset();
    let before = load.messages.get();
    let began = Instant::now();
    let end = began + Duration::from_secs(options.seconds);
    let running = connections.into_iter().map(|connection| spawn(connection.run(load.clone(), end)));
    for connection in running.collect::<Vec<_>>() {
        finished(connection).await;
    }
    ticker.abort();
    let took = began.elapsed();
    if load.messages.get() == before {
        give_up("no message came back");
    }
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// A line for the parent each second.
async fn tick(load: Arc<Load>) {
    let mut next = Instant::now();
    loop {
        next += Duration::from_secs(1);
        sleep_until(next).await;
        say(&format!("tick {} {}", load.conns.get(), load.messages.get()));
    }
}

/// The value of a task of ours; the first fault ends the client.
async fn finished<T>(task: JoinHandle<Result<T, String>>) -> T {
    match task.await {
        Ok(Ok(value)) => value,
        Ok(Err(fault)) => give_up(&fault),
        Err(error) => give_up(&error.to_string()),
    }
}

fn give_up(fault: &str) -> ! {
    say(&format!("fault {fault}"));
    exit(1)
}

fn say(line: &str) {
    let mut output = io::stdout().lock();
    if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
        // The parent is gone.
        exit(1);
    }
}

struct Connection {
    number: usize,
    stream: TcpStream,
    local: SocketAddr,
    /// Draws the messages; seeded with the number, so that a run can be repeated.
    rng: fastrand::Rng,
    sent: usize,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects and exchanges a first message: then the server has accepted.
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
            // A fault ends the client from here, not when its turn comes to be awaited.
            if let Err(fault) = self.exchange(&load).await {
                give_up(&fault);
            }
        }
        self.finish().await
    }

    /// Sends a message and compares what comes back.
    async fn exchange(&mut self, load: &Load) -> Result<(), String> {
        let message = piece(&load.pool, &mut self.rng);
        self.sent += 1;
        let began = Instant::now();
        let written = async {
            self.stream.set_write_deadline(Some(began + PATIENCE))?;
            self.stream.write_all(message).await
        };
        written.await.map_err(|error| self.fault(0, message.len(), &told(&error)))?;
        let mut got = 0;
        while got < message.len() {
            got += self.compare(message, got).await?;
        }
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        load.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos);
        load.messages.inc();
        load.bytes.add(got);
        Ok(())
    }

    /// Reads once and compares it with the message from byte `got` on.
    async fn compare(&mut self, message: &[u8], got: usize) -> Result<usize, String> {
        let expected = &message[got..];
        let room = expected.len().min(BUFFER);
        let buffer = &mut self.buffer[..room];
        let read = async {
            self.stream.set_read_deadline(Some(Instant::now() + PATIENCE))?;
            self.stream.read(buffer).await
        };
        let n = read.await.map_err(|error| self.fault(got, message.len(), &told(&error)))?;
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

    /// Says that no more will come and expects the same: bytes that nobody sent would turn up here.
    async fn finish(self) -> Result<(), String> {
        let mut byte = [0];
        let ended = async {
            self.stream.shutdown(std::net::Shutdown::Write)?;
            self.stream.set_read_deadline(Some(Instant::now() + PATIENCE))?;
            self.stream.read(&mut byte).await
        };
        match ended.await {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.fault(0, 0, &format!("a byte that was never sent: {:#04x}", byte[0]))),
            Err(error) => Err(self.fault(0, 0, &told(&error))),
        }
    }

    fn fault(&self, at: usize, of: usize, what: &str) -> String {
        let Self { number, local, sent, .. } = self;
        format!("connection {number} from {local}, message {sent}, byte {at} of {of}: {what}")
    }
}

/// A piece of the pool: 4 of 5 are up to 256 bytes long, 1 of 20 up to 16 KiB.
fn piece<'a>(pool: &'a [u8], rng: &mut fastrand::Rng) -> &'a [u8] {
    let longest = match rng.u8(..100) {
        0..80 => 256,
        80..95 => BUFFER,
        _ => LONGEST,
    };
    let length = rng.usize(1..=longest);
    let start = rng.usize(..=pool.len() - length);
    &pool[start..start + length]
}

fn told(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        format!("nothing moved for {PATIENCE:?}: {error}")
    } else {
        error.to_string()
    }
}
