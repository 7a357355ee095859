//! Copies between every two kinds of ends: each byte arrives, by the path that the kinds call for, and nothing is left.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::common::*;
use netpoll_rt::fs::File;
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::netpoll::pipes::MOST_IDLE;
use netpoll_rt::internal::sys::socket;
use netpoll_rt::io::{CopyFrom, CopyTo, copy, copy_bidirectional};
use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::{JoinHandle, spawn};

const LENGTH: usize = 64 * 1024 * 1024;

/// Returns the bytes that are copied: noise that repeats itself after a prime number of bytes, so that a piece that is lost,
/// doubled or moved is seen.
fn noise() -> &'static [u8] {
    const PRIME: usize = 1_048_583;
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(7);
        (0..PRIME).map(|_| random.u8(..)).collect()
    })
}

/// Returns the bytes at a place, as far as they are contiguous, and at most this many.
fn piece(at: usize, length: usize) -> &'static [u8] {
    let rest = &noise()[at % noise().len()..];
    &rest[..length.min(rest.len())]
}

#[track_caller]
fn assert_copied(mut at: usize, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let expected = piece(at, bytes.len());
        assert!(bytes[..expected.len()] == *expected, "the bytes from {at} on");
        at += expected.len();
        bytes = &bytes[expected.len()..];
    }
}

/// An end of this test's own, that feeds or checks what the copy reads or writes.
#[derive(Clone)]
enum Peer {
    Tcp(Arc<TcpStream>),
    Unix(Arc<UnixStream>),
    Reader(Arc<PipeReader>),
    Writer(Arc<PipeWriter>),
}

impl Peer {
    async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Peer::Tcp(stream) => stream.write_all(bytes).await,
            Peer::Unix(stream) => stream.write_all(bytes).await,
            Peer::Writer(writer) => writer.write_all(bytes).await,
            Peer::Reader(_) => panic!("nobody writes to the reading end of a pipe"),
        }
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Tcp(stream) => stream.read(buffer).await,
            Peer::Unix(stream) => stream.read(buffer).await,
            Peer::Reader(reader) => reader.read(buffer).await,
            Peer::Writer(_) => panic!("nobody reads the writing end of a pipe"),
        }
    }
}

/// Returns a task that writes this many bytes, in pieces of changing length, and drops its end.
fn feed(peer: Peer, length: usize) -> JoinHandle<()> {
    spawn(async move {
        let (mut at, mut longest) = (0, 1);
        while at < length {
            let piece = piece(at, longest.min(length - at));
            peer.write_all(piece).await.unwrap();
            at += piece.len();
            longest = longest * 7 % 1_000_003;
        }
    })
}

/// Returns a task that reads to the end and compares each byte with the expected one; it returns how many there were.
/// `yields`: it lets others run between two reads, so that the sink fills.
fn check(peer: Peer, yields: usize) -> JoinHandle<usize> {
    spawn(async move {
        let mut buffer = vec![0; 100_000];
        let mut at = 0;
        loop {
            let n = peer.read(&mut buffer).await.unwrap();
            assert_copied(at, &buffer[..n]);
            at += n;
            if n == 0 {
                return at;
            }
            for _ in 0..yields {
                netpoll_rt::yield_now().await;
            }
        }
    })
}

async fn tcp() -> (Arc<TcpStream>, Peer) {
    let (one, other) = pair().await;
    (one, Peer::Tcp(other))
}

fn unix() -> (Arc<UnixStream>, Peer) {
    let (one, other) = UnixStream::pair().unwrap();
    (Arc::new(one), Peer::Unix(Arc::new(other)))
}

/// Returns the numbers of bytes that went by splice, by sendfile and through a buffer.
fn ways() -> [usize; 3] {
    let netpoll = Netpoll::current().unwrap();
    let pipes = netpoll.pipes();
    [pipes.spliced.get(), pipes.sent.get(), pipes.buffered.get()]
}

/// Copies from the one end to the other, which is dropped then, while others feed and check; all bytes go one way.
async fn all(
    from: impl CopyFrom,
    feeder: JoinHandle<()>,
    to: impl CopyTo,
    checker: JoinHandle<usize>,
    way: Way,
) {
    let before = ways();
    assert_eq!(copy(&from, &to).await.unwrap(), LENGTH as u64);
    drop(to);
    assert_eq!(checker.await.unwrap(), LENGTH);
    feeder.await.unwrap();
    let after = ways();
    let went: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(went.iter().sum::<usize>(), LENGTH, "each byte is counted once: {went:?}");
    match way {
        // The amount depends on the order of turns; with few bytes at a time there is no gain.
        Way::Splice => assert!(went[0] > LENGTH / 10 && went[1] == 0, "spliced, sent, buffered: {went:?}"),
        Way::Send => assert_eq!(went, [0, LENGTH, 0], "spliced, sent, buffered"),
    }
    assert!(Netpoll::current().unwrap().pipes().idle() <= MOST_IDLE);
}

/// The system call that moves the bytes.
enum Way {
    Splice,
    Send,
}

#[test]
fn tcp_to_tcp() {
    each(async || {
        let ((from, feeder), (to, checker)) = (tcp().await, tcp().await);
        all(from, feed(feeder, LENGTH), to, check(checker, 0), Way::Splice).await;
    });
}

#[test]
fn unix_to_tcp_to_a_slow_reader() {
    each(async || {
        let ((from, feeder), (to, checker)) = (unix(), tcp().await);
        all(from, feed(feeder, LENGTH), to, check(checker, 20), Way::Splice).await;
    });
}

#[test]
fn tcp_to_unix() {
    each(async || {
        let ((from, feeder), (to, checker)) = (tcp().await, unix());
        all(from, feed(feeder, LENGTH), to, check(checker, 0), Way::Splice).await;
    });
}

#[test]
fn tcp_to_a_pipe() {
    each(async || {
        let (from, feeder) = tcp().await;
        let (reader, to) = pipe().unwrap();
        all(from, feed(feeder, LENGTH), to, check(Peer::Reader(Arc::new(reader)), 0), Way::Splice).await;
    });
}

#[test]
fn a_pipe_to_tcp() {
    each(async || {
        let (from, writer) = pipe().unwrap();
        let (to, checker) = tcp().await;
        all(from, feed(Peer::Writer(Arc::new(writer)), LENGTH), to, check(checker, 0), Way::Splice).await;
    });
}

#[test]
fn a_pipe_to_a_pipe() {
    each(async || {
        let ((from, writer), (reader, to)) = (pipe().unwrap(), pipe().unwrap());
        let checker = check(Peer::Reader(Arc::new(reader)), 0);
        all(from, feed(Peer::Writer(Arc::new(writer)), LENGTH), to, checker, Way::Splice).await;
    });
}

/// A file that is removed again.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("netpoll-{}-{name}", std::process::id())))
    }

    fn full(name: &str) -> Self {
        let path = Self::new(name);
        let mut file = std::fs::File::create(&path.0).unwrap();
        let mut at = 0;
        while at < LENGTH {
            let piece = piece(at, LENGTH - at);
            file.write_all(piece).unwrap();
            at += piece.len();
        }
        path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn nobody() -> JoinHandle<()> {
    spawn(async {})
}

#[test]
fn a_file_to_tcp() {
    each(async || {
        let file = Temporary::full("to-tcp");
        let (to, checker) = tcp().await;
        all(File::open(&file.0).await.unwrap(), nobody(), to, check(checker, 5), Way::Send).await;
    });
}

#[test]
fn a_file_to_unix() {
    each(async || {
        let file = Temporary::full("to-unix");
        let (to, checker) = unix();
        all(File::open(&file.0).await.unwrap(), nobody(), to, check(checker, 0), Way::Send).await;
    });
}

#[test]
fn a_file_to_a_pipe() {
    each(async || {
        let file = Temporary::full("to-pipe");
        let (reader, to) = pipe().unwrap();
        let checker = check(Peer::Reader(Arc::new(reader)), 0);
        all(File::open(&file.0).await.unwrap(), nobody(), to, checker, Way::Send).await;
    });
}

#[test]
fn tcp_to_a_file_and_on_to_another() {
    each(async || {
        let (one, other) = (Temporary::new("from-tcp"), Temporary::new("from-file"));
        let (from, feeder) = tcp().await;
        let file = File::create(&one.0).await.unwrap();
        let feeding = feed(feeder, LENGTH);
        assert_eq!(copy(&from, &file).await.unwrap(), LENGTH as u64);
        feeding.await.unwrap();
        let (file, last) = (File::open(&one.0).await.unwrap(), File::create(&other.0).await.unwrap());
        assert_eq!(copy(&file, &last).await.unwrap(), LENGTH as u64);
        assert_eq!(copy(&file, &last).await.unwrap(), 0, "the cursor is at the end");
        let all = std::fs::read(&other.0).unwrap();
        assert_eq!(all.len(), LENGTH);
        assert_copied(0, &all);
    });
}

#[test]
fn a_file_that_the_kernel_does_not_send() {
    each(async || {
        // Files of /proc have no length, and most no sendfile either.
        for path in kernel::existing(["/proc/self/maps", "/proc/cpuinfo", "/etc/passwd"]) {
            let (to, checker) = tcp().await;
            let sent = copy(&File::open(path).await.unwrap(), &to).await.unwrap();
            drop(to);
            let Peer::Tcp(checker) = checker else { unreachable!() };
            let mut text = Vec::new();
            futures_lite::AsyncReadExt::read_to_end(&mut &*checker, &mut text).await.unwrap();
            assert!(sent > 0 && text.len() as u64 == sent, "{path}: {sent}");
        }
    });
}

#[test]
fn many_at_once_leave_few_pipes() {
    each(async || {
        const COPIES: usize = 50;
        const EACH: usize = 200_000;
        let copies: Vec<_> = (0..COPIES)
            .map(|_| {
                spawn(async {
                    let ((from, feeder), (to, checker)) = (tcp().await, unix());
                    let (feeding, checking) = (feed(feeder, EACH), check(checker, 2));
                    assert_eq!(copy(&from, &to).await.unwrap(), EACH as u64);
                    drop(to);
                    feeding.await.unwrap();
                    assert_eq!(checking.await.unwrap(), EACH);
                })
            })
            .collect();
        for copy in copies {
            copy.await.unwrap();
        }
        let netpoll = Netpoll::current().unwrap();
        assert!((1..=MOST_IDLE).contains(&netpoll.pipes().idle()), "{}", netpoll.pipes().idle());
    });
}

#[test]
fn both_ways_with_the_ends_passed_on() {
    each(async || {
        const THERE: usize = 5_000_000;
        const BACK: usize = 3_000_000;
        let ((a, client), (b, server)) = (tcp().await, unix());
        let forwarding = spawn(async move { copy_bidirectional(&a, &b).await });
        let (Peer::Tcp(client_end), Peer::Unix(server_end)) = (client.clone(), server.clone()) else {
            unreachable!()
        };
        let request = {
            let client = client.clone();
            spawn(async move {
                feed(client, THERE).await.unwrap();
                client_end.shutdown(std::net::Shutdown::Write).unwrap();
            })
        };
        // The server answers only after it has read the end: one direction has ended, the other goes on.
        assert_eq!(check(server.clone(), 0).await.unwrap(), THERE);
        request.await.unwrap();
        assert!(!forwarding.is_finished());
        let answer = feed(server, BACK);
        let checking = check(client, 0);
        answer.await.unwrap();
        server_end.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(checking.await.unwrap(), BACK);
        assert_eq!(forwarding.await.unwrap().unwrap(), (THERE as u64, BACK as u64));
    });
}

#[test]
fn a_pipe_is_kept_if_it_is_empty_and_there_are_few() {
    each(async || {
        let netpoll = Netpoll::current().unwrap();
        let pipes = netpoll.pipes();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(|writer, _| socket::write(writer, b"bytes")).unwrap(), 5);
        drop(pipe);
        assert_eq!((pipes.made.get(), pipes.idle()), (1, 0), "with bytes in it, it is closed");

        let mut pipe = pipes.take().unwrap();
        pipe.fill(|writer, _| socket::write(writer, b"bytes")).unwrap();
        pipe.empty(|reader, held| socket::read(reader, &mut vec![0; held]).map(|read| read.n)).unwrap();
        drop(pipe);
        assert_eq!((pipes.made.get(), pipes.idle()), (2, 1));
        drop(pipes.take().unwrap());
        assert_eq!((pipes.made.get(), pipes.idle()), (2, 1), "the same again");

        let many: Vec<_> = (0..MOST_IDLE + 5).map(|_| pipes.take().unwrap()).collect();
        drop(many);
        assert_eq!(pipes.idle(), MOST_IDLE);
    });
}
