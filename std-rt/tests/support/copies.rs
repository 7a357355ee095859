//! Copies drawn from a seed: the ends, the steps in which the bytes come, the place of an urgent mark, the end of the
//! stream, and the speed of the reader. Every byte is compared, and `Ok(n)` must be the number of bytes that arrived.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use fastrand::Rng;
use netpoll_rt::fs::File;
use netpoll_rt::io::{copy, copy_bidirectional};
use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::{JoinHandle, spawn, yield_now};

use crate::*;

/// The lengths at which a step of the feeder goes over from the small pieces of a copy to the large ones, or from one pipe
/// to the next.
const LENGTHS: [usize; 8] = [1, 4096, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 65_536, 100_000, 262_144];

/// The bytes of the source, and the steps in which they come.
#[derive(Clone, Debug)]
struct Script {
    /// Tells the bytes of this script from those of another one.
    start: usize,
    steps: Vec<Step>,
    /// The peer drops its end instead of shutting its writing half down.
    drops: bool,
    /// Everything is written before the copy begins, if there is room for it.
    before: bool,
    /// The manner in which the sink is read: the longest read, and turns of others between two reads.
    longest: usize,
    yields: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Bytes(usize),
    /// One byte out of band, on TCP and Unix streams; nothing elsewhere.
    Urgent,
    Yield,
}

impl Script {
    fn draw(random: &mut Rng) -> Self {
        let before = random.bool();
        let mut steps = Vec::new();
        let most = if before { 60_000 } else { usize::MAX };
        for _ in 0..random.usize(0..6) {
            let near = LENGTHS[random.usize(..LENGTHS.len())];
            let length = if random.bool() { near } else { random.usize(1..=near) };
            steps.push(Step::Bytes(length));
            if random.bool() {
                steps.push(Step::Yield);
            }
        }
        // A second mark would make the first one's byte an ordinary one.
        if random.bool() {
            steps.insert(random.usize(..=steps.len()), Step::Urgent);
        }
        let mut script = Script {
            start: random.usize(..100_000),
            steps,
            drops: random.bool(),
            before,
            longest: random.usize(1..=100_000),
            yields: random.usize(..4),
        };
        while script.length() > most {
            let long = script.steps.iter().position(|step| matches!(step, Step::Bytes(5001..))).unwrap();
            script.steps[long] = Step::Bytes(5000);
        }
        script
    }

    /// Returns the number of bytes, without the urgent one.
    fn length(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Bytes(n) = step { *n } else { 0 }).sum()
    }

    /// Returns bytes of the stream, from `at` on.
    fn bytes(&self, at: usize, length: usize) -> Vec<u8> {
        // Not periodic in any length that a copy knows.
        let byte = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8;
        (self.start + at..self.start + at + length).map(byte).collect()
    }

    async fn feed(&self, peer: &Peer) {
        let mut at = 0;
        for step in &self.steps {
            match *step {
                Step::Bytes(length) => {
                    peer.write_all(&self.bytes(at, length)).await;
                    at += length;
                }
                Step::Urgent => peer.urgent(),
                Step::Yield => yield_now().await,
            }
        }
        peer.end();
    }

    /// Reads to the end and compares each byte.
    async fn check(&self, peer: &Peer) {
        let mut buffer = vec![0; self.longest];
        let mut at = 0;
        loop {
            let n = peer.read(&mut buffer).await;
            assert!(buffer[..n] == self.bytes(at, n), "other bytes between {at} and {}: {self:?}", at + n);
            at += n;
            if n == 0 {
                return assert_eq!(at, self.length(), "the stream ended there: {self:?}");
            }
            for _ in 0..self.yields {
                yield_now().await;
            }
        }
    }
}

/// An end of the test's own.
#[derive(Debug)]
enum Peer {
    Tcp(Arc<TcpStream>),
    Unix(Arc<UnixStream>),
    Reader(PipeReader),
    Writer(PipeWriter),
}

impl Peer {
    async fn write_all(&self, bytes: &[u8]) {
        match self {
            Peer::Tcp(stream) => stream.write_all(bytes).await,
            Peer::Unix(stream) => stream.write_all(bytes).await,
            Peer::Writer(writer) => writer.write_all(bytes).await,
            Peer::Reader(_) => unreachable!(),
        }
        .unwrap();
    }

    async fn read(&self, buffer: &mut [u8]) -> usize {
        match self {
            Peer::Tcp(stream) => stream.read(buffer).await,
            Peer::Unix(stream) => stream.read(buffer).await,
            Peer::Reader(reader) => reader.read(buffer).await,
            Peer::Writer(_) => unreachable!(),
        }
        .unwrap()
    }

    fn urgent(&self) {
        // Without room for it, or where a Unix stream has none, there is no mark, which is a script as well.
        let _ = match self {
            Peer::Tcp(stream) => kernel::send_urgent(stream.as_fd(), b'!'),
            Peer::Unix(stream) => kernel::send_urgent(stream.as_fd(), b'!'),
            Peer::Reader(_) | Peer::Writer(_) => Ok(()),
        };
    }

    fn end(&self) {
        match self {
            Peer::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write).unwrap(),
            Peer::Unix(stream) => stream.shutdown(std::net::Shutdown::Write).unwrap(),
            // Its drop is its end.
            Peer::Writer(_) | Peer::Reader(_) => {}
        }
    }
}

/// One side of a copy.
#[derive(Debug)]
enum End {
    Tcp(Arc<TcpStream>),
    Unix(Arc<UnixStream>),
    Reader(PipeReader),
    Writer(PipeWriter),
    File(File),
}

/// A file that is removed again.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("netpoll-{}-copied-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

async fn stream(random: &mut Rng) -> (End, Peer) {
    if random.bool() {
        let (one, other) = pair().await;
        return (End::Tcp(one), Peer::Tcp(other));
    }
    let (one, other) = UnixStream::pair().unwrap();
    (End::Unix(Arc::new(one)), Peer::Unix(Arc::new(other)))
}

/// Returns a source and the end that feeds it, if it is not a file.
async fn source(random: &mut Rng, script: &Script, file: &Temporary) -> (End, Option<Peer>) {
    match random.usize(..4) {
        0 | 1 => {
            let (end, peer) = stream(random).await;
            (end, Some(peer))
        }
        2 => {
            let (reader, writer) = pipe().unwrap();
            (End::Reader(reader), Some(Peer::Writer(writer)))
        }
        _ => {
            std::fs::write(&file.0, script.bytes(0, script.length())).unwrap();
            (End::File(File::open(&file.0).await.unwrap()), None)
        }
    }
}

/// Returns a sink and the end that reads it, if it is not a file.
async fn sink(random: &mut Rng, file: &Temporary) -> (End, Option<Peer>) {
    match random.usize(..4) {
        0 | 1 => {
            let (end, peer) = stream(random).await;
            (end, Some(peer))
        }
        2 => {
            let (reader, writer) = pipe().unwrap();
            (End::Writer(writer), Some(Peer::Reader(reader)))
        }
        _ => (End::File(File::create(&file.0).await.unwrap()), None),
    }
}

/// Copies from any kind of source to any kind of sink.
async fn copy_ends(from: &End, to: &End) -> u64 {
    macro_rules! to {
        ($from:expr) => {
            match to {
                End::Tcp(to) => copy($from, to).await,
                End::Unix(to) => copy($from, to).await,
                End::Writer(to) => copy($from, to).await,
                End::File(to) => copy($from, to).await,
                End::Reader(_) => unreachable!(),
            }
        };
    }
    match from {
        End::Tcp(from) => to!(from),
        End::Unix(from) => to!(from),
        End::Reader(from) => to!(from),
        End::File(from) => to!(from),
        End::Writer(_) => unreachable!(),
    }
    .unwrap()
}

fn feeding(script: Script, peer: Peer) -> JoinHandle<Option<Peer>> {
    spawn(async move {
        script.feed(&peer).await;
        (!script.drops).then_some(peer).filter(|peer| !matches!(peer, Peer::Writer(_)))
    })
}

/// Makes one copy. `around` is called with the number of the source, if it is a descriptor, once the ends are there; the value that it
/// returns lives until every byte has been compared.
pub async fn one_way<T>(seed: u64, around: impl FnOnce(&mut Rng, Option<i32>) -> T) -> T {
    let random = &mut Rng::with_seed(seed);
    let mut script = Script::draw(random);
    let (read, written) = (Temporary::new("source"), Temporary::new("sink"));
    std::fs::write(&read.0, "").and_then(|()| std::fs::write(&written.0, "")).unwrap();
    let (from, feeder) = source(random, &script, &read).await;
    let (to, checker) = sink(random, &written).await;
    // A pipe holds 64 KiB, in pages of which each write may begin a new one.
    script.before &= !matches!(from, End::Reader(_)) || script.length() < 30_000;
    let told = format!("seed {seed}: {from:?} to {to:?}, {script:?}");
    let guard = around(random, number(&from));
    let fed = feeder.map(|peer| feeding(script.clone(), peer));
    if script.before
        && let Some(fed) = &fed
    {
        until("everything is queued", || fed.is_finished()).await;
    }
    let checked = checker.map(|peer| {
        let script = script.clone();
        spawn(async move { script.check(&peer).await })
    });
    let copied = copy_ends(&from, &to).await;
    assert_eq!(copied, script.length() as u64, "Ok(n) of {told}");
    drop(to);
    match checked {
        Some(checked) => checked.await.unwrap_or_else(|_| panic!("{told}")),
        None => {
            assert!(std::fs::read(&written.0).unwrap() == script.bytes(0, script.length()), "{told}");
        }
    }
    if let Some(fed) = fed {
        fed.await.unwrap();
    }
    guard
}

/// Copies both directions of two connections.
pub async fn both_ways<T>(seed: u64, around: impl FnOnce(&mut Rng, Option<i32>) -> T) -> T {
    let random = &mut Rng::with_seed(seed);
    let (there, back) = (Script::draw(random), Script::draw(random));
    let ((a, client), (b, server)) = (stream(random).await, stream(random).await);
    let told = format!("seed {seed}: {a:?} and {b:?}, {there:?}, {back:?}");
    let guard = around(random, number(&a));
    let (client, server) = (Arc::new(client), Arc::new(server));
    let (says, hears) = (client.clone(), client);
    let (answers, listens) = (server.clone(), server);
    let scripts = [(there.clone(), says, listens), (back.clone(), answers, hears)];
    let tasks = scripts.map(|(script, feeder, checker)| {
        let checked = script.clone();
        (
            spawn(async move { script.feed(&feeder).await }),
            spawn(async move { checked.check(&checker).await }),
        )
    });
    let copied = match (&a, &b) {
        (End::Tcp(a), End::Tcp(b)) => copy_bidirectional(a, b).await,
        (End::Tcp(a), End::Unix(b)) => copy_bidirectional(a, b).await,
        (End::Unix(a), End::Tcp(b)) => copy_bidirectional(a, b).await,
        (End::Unix(a), End::Unix(b)) => copy_bidirectional(a, b).await,
        _ => unreachable!(),
    };
    assert_eq!(copied.unwrap(), (there.length() as u64, back.length() as u64), "Ok(n) of {told}");
    for (fed, checked) in tasks {
        fed.await.unwrap();
        checked.await.unwrap_or_else(|_| panic!("{told}"));
    }
    guard
}

fn number(end: &End) -> Option<i32> {
    use std::os::fd::AsRawFd;
    match end {
        End::Tcp(stream) => Some(stream.as_fd().as_raw_fd()),
        End::Unix(stream) => Some(stream.as_fd().as_raw_fd()),
        End::Reader(reader) => Some(reader.as_fd().as_raw_fd()),
        End::Writer(_) | End::File(_) => None,
    }
}
