//! Relative timeouts: they limit each wait, awaited or polled, and end one operation at a time.

use std::fmt::Debug;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::*;
use futures_io::{AsyncRead, AsyncWrite};
use netpoll_core::sync::Flag;
use netpoll_rt::internal::sys::sockopt;
use netpoll_rt::net::{AsyncFd, Interest, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream, pipe};
use netpoll_rt::time::sleep;
use netpoll_rt::{spawn, yield_now};

/// The timeout of most tests.
const SHORT: Duration = Duration::from_millis(20);

/// A timeout that does not pass in a test.
const LONG: Duration = Duration::from_secs(300);

async fn poll_read(mut stream: &TcpStream) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut [0; 64])).await
}

/// Lets time pass, in which a deadline may expire.
async fn pass(time: Duration) {
    sleep(time).await; // time is tested
}

/// Asserts that an operation fails after `SHORT` and not before.
async fn assert_times_out<T: Debug>(what: &str, operation: impl Future<Output = io::Result<T>>) {
    let start = Instant::now();
    let error = operation.await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{what}: {error}");
    assert!(start.elapsed() >= SHORT, "{what} failed after {:?}", start.elapsed());
}

#[test]
fn every_read_that_waits_times_out_and_the_next_one_waits_as_long() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        assert_eq!(stream.read_timeout().unwrap(), None);
        stream.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), Some(SHORT));
        for _ in 0..2 {
            assert_times_out("read", read_once(&stream)).await;
            assert_times_out("peek", stream.peek(&mut [0; 8])).await;
            assert_times_out("read_exact", stream.read_exact(&mut [0; 8])).await;
            assert_times_out(
                "with_io",
                stream.with_io(Interest::Read, |_| io::Result::<()>::Err(ErrorKind::WouldBlock.into())),
            )
            .await;
            assert_times_out("readable", stream.readable()).await;
            assert_times_out("poll_readable", poll_fn(|cx| stream.poll_readable(cx))).await;
            assert_times_out("poll_read", poll_read(&stream)).await;
            // The connection lives.
            peer.write_all(b"abc").unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"abc");
        }
        let error = read_once(&stream).await.unwrap_err().to_string();
        for part in
            ["read", &stream.peer_addr().unwrap().to_string(), &stream.local_addr().unwrap().to_string()]
        {
            assert!(error.contains(part), "{part} in {error}");
        }
        stream.set_read_timeout(None).unwrap();
        let probe = Probe::new();
        let mut read = pin!(read_once(&stream));
        assert!(probe.poll(read.as_mut()).is_pending());
        pass(2 * SHORT).await;
        peer.write_all(b"late").unwrap();
        assert_eq!(read.await.unwrap(), b"late");
    });
}

#[test]
fn what_need_not_wait_is_not_limited() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_timeout(Some(SHORT)).unwrap();
        let mut reads = pin!(poll_read(&stream));
        assert!(Probe::new().poll(reads.as_mut()).is_pending());
        peer.write_all(b"first").unwrap();
        assert_eq!(reads.await.unwrap(), 5);
        // No read waits now, and the deadline of the last wait passes.
        pass(3 * SHORT).await;
        peer.write_all(b"second").unwrap();
        until("the bytes are there", || stream.try_read(&mut [0; 1]).is_ok()).await;
        assert_eq!(poll_read(&stream).await.unwrap(), 5);
        pass(3 * SHORT).await;
        // And the next one waits as long as any.
        assert_times_out("read", read_once(&stream)).await;
        pass(3 * SHORT).await;
        assert_times_out("poll_read", poll_read(&stream)).await;
        pass(3 * SHORT).await;
        assert_times_out("readable", stream.readable()).await;
        pass(3 * SHORT).await;
        assert_times_out("poll_readable", poll_fn(|cx| stream.poll_readable(cx))).await;
        pass(3 * SHORT).await;
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        pass(3 * SHORT).await;
        let attempt = stream.try_io(Interest::Read, |_| io::Result::<()>::Err(ErrorKind::WouldBlock.into()));
        assert_eq!(attempt.unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Asserts that `body` does not time out within `limit`. On a machine that was late meanwhile it is made again.
async fn does_not_time_out(limit: Duration, mut body: impl AsyncFnMut() -> io::Result<()>) {
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        let machine = Lateness::watch();
        let result = body().await;
        let late = machine.end();
        match result {
            Ok(()) => return,
            Err(error) => assert!(late > limit / 10, "{error}, and the machine was late by {late:?} at most"),
        }
    }
    panic!("never within {limit:?} in {ATTEMPTS} attempts on a busy machine");
}

#[test]
fn a_peer_that_sends_in_time_is_never_timed_out() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    const PIECES: usize = 12;
    each(async || {
        for polled in [false, true] {
            let receives = async || {
                let (stream, mut peer) = pair_with_std().await;
                stream.set_read_timeout(Some(TIMEOUT))?;
                let sender = spawn(async move {
                    for _ in 0..PIECES {
                        pass(TIMEOUT / 8).await;
                        peer.write_all(b"x")?;
                    }
                    peer.shutdown(Shutdown::Write)
                });
                let mut count = 0;
                loop {
                    let n = if polled { poll_read(&stream).await } else { stream.read(&mut [0; 64]).await };
                    match n? {
                        0 => break,
                        n => count += n,
                    }
                }
                assert_eq!(count, PIECES, "polled: {polled}");
                sender.await.unwrap()
            };
            does_not_time_out(TIMEOUT, receives).await;
        }
    });
}

#[test]
fn bytes_that_came_in_time_are_read_although_the_poll_comes_late() {
    each(async || {
        for round in 0..4 {
            // With a level-triggered backend a late event of one wait for readiness may end the next one.
            let (stream, mut peer) = pair_with_std().await;
            stream.set_read_timeout(Some(SHORT)).unwrap();
            let probe = Probe::new();
            let mut read: Pin<Box<dyn Future<Output = io::Result<usize>>>> = match round {
                0 => Box::pin(async { stream.read(&mut [0; 64]).await }),
                1 => Box::pin(poll_read(&stream)),
                2 => Box::pin(async { stream.readable().await.map(|()| 1) }),
                _ => Box::pin(async { poll_fn(|cx| stream.poll_readable(cx)).await.map(|()| 1) }),
            };
            assert!(probe.poll(read.as_mut()).is_pending());
            pass(2 * SHORT).await;
            peer.write_all(b"x").unwrap();
            until("the byte is there", || kernel::is_readable(&*stream)).await;
            assert_eq!(read.await.unwrap(), 1, "round {round}");
        }
    });
}

#[test]
fn writes_time_out_without_space_and_progress_gives_them_the_time_anew() {
    each(async || {
        let (stream, peer) = pair_with_std().await;
        fill(&stream).await;
        stream.set_write_timeout(Some(SHORT)).unwrap();
        assert_eq!(stream.write_timeout().unwrap(), Some(SHORT));
        for _ in 0..2 {
            assert_times_out("write", stream.write(b"x")).await;
            assert_times_out("write_all", stream.write_all(b"x")).await;
            assert_times_out("writable", stream.writable()).await;
            assert_times_out("poll_write", poll_fn(|cx| Pin::new(&mut &*stream).poll_write(cx, b"x"))).await;
            assert_times_out("poll_writable", poll_fn(|cx| stream.poll_writable(cx))).await;
        }
        drop(peer);
        const TIMEOUT: Duration = Duration::from_millis(200);
        let writes = async || {
            let (stream, mut peer) = pair_with_std().await;
            // With small buffers each read of the peer makes space.
            stream.set_send_buffer_size(64 << 10)?;
            sockopt::set_recv_buffer_size(peer.as_fd(), 64 << 10)?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            let reader = std::thread::spawn(move || read_slowly(&mut peer, TIMEOUT * 3 / 2));
            let start = Instant::now();
            let written = stream.write_all(&vec![7; 16 << 20]).await;
            let took = start.elapsed();
            stream.shutdown(Shutdown::Both)?;
            reader.join().unwrap();
            written?;
            assert!(took > TIMEOUT, "the peer has read slowly, and the write took only {took:?}");
            Ok(())
        };
        does_not_time_out(TIMEOUT, writes).await;
    });
}

/// Reads 64 KiB at a time for `time`, and then all.
fn read_slowly(peer: &mut StdStream, time: Duration) {
    let (start, mut buffer) = (Instant::now(), vec![0; 64 << 10]);
    while uninterrupted(|| peer.read(&mut buffer)).is_ok_and(|n| n > 0) {
        if start.elapsed() < time {
            std::thread::sleep(Duration::from_millis(5)); // time is tested
        }
    }
}

#[test]
fn the_earlier_of_timeout_and_deadline_ends_a_wait() {
    each(async || {
        for deadline_first in [false, true] {
            let (stream, mut peer) = pair_with_std().await;
            let set_both = |timeout, deadline| {
                if deadline_first {
                    stream.set_read_deadline(deadline).unwrap();
                }
                stream.set_read_timeout(Some(timeout)).unwrap();
                if !deadline_first {
                    stream.set_read_deadline(deadline).unwrap();
                }
            };
            set_both(SHORT, Some(Instant::now() + LONG));
            assert_times_out("read", read_once(&stream)).await;
            assert_times_out("poll_read", poll_read(&stream)).await;

            set_both(LONG, Some(Instant::now() + SHORT));
            assert_times_out("read", read_once(&stream)).await;
            // The deadline has passed, so that every operation fails, even if there is something to read.
            peer.write_all(b"x").unwrap();
            for _ in 0..2 {
                assert_timed_out(read_once(&stream).await);
                assert_timed_out(poll_read(&stream).await);
                assert_timed_out(stream.try_read(&mut [0]));
                assert_timed_out(stream.readable().await);
            }
            stream.set_read_timeout(Some(SHORT)).unwrap();
            assert_timed_out(read_once(&stream).await);
            stream.set_read_timeout(None).unwrap();
            assert_timed_out(read_once(&stream).await);
            stream.set_read_deadline(None).unwrap();
            assert_eq!(read_once(&stream).await.unwrap(), b"x");
        }
    });
}

#[test]
fn a_deadline_that_is_set_or_cleared_leaves_the_timeout_of_a_wait() {
    each(async || {
        for deadline in [None, Some(LONG)] {
            let (stream, _peer) = pair_with_std().await;
            stream.set_read_timeout(Some(SHORT)).unwrap();
            for after in [false, true] {
                let mut read = pin!(read_once(&stream));
                assert!(Probe::new().poll(read.as_mut()).is_pending());
                match deadline {
                    Some(deadline) if after => stream.set_read_deadline_after(deadline).unwrap(),
                    deadline => stream.set_read_deadline(deadline.map(|time| Instant::now() + time)).unwrap(),
                }
                assert_timed_out(read.await);
            }
        }
    });
}

#[test]
fn a_wait_that_has_begun_gets_a_timeout_that_is_set_later() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        for first in [None, Some(LONG)] {
            stream.set_read_timeout(first).unwrap();
            let mut read = pin!(read_once(&stream));
            assert!(Probe::new().poll(read.as_mut()).is_pending());
            stream.set_read_timeout(Some(SHORT)).unwrap();
            assert_times_out("read", read).await;

            stream.set_read_timeout(first).unwrap();
            let mut polled = pin!(poll_read(&stream));
            assert!(Probe::new().poll(polled.as_mut()).is_pending());
            stream.set_read_timeout(Some(SHORT)).unwrap();
            assert_times_out("poll_read", polled).await;
        }
    });
}

#[test]
fn a_wait_in_vain_does_not_begin_anew() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        stream.set_read_timeout(Some(3 * SHORT)).unwrap();
        let start = Instant::now();
        // Each round a poll finds nothing, and the wait goes on.
        let polls = async {
            let mut read = pin!(poll_read(&stream));
            loop {
                match Probe::new().poll(read.as_mut()) {
                    Poll::Ready(result) => return result,
                    Poll::Pending => pass(SHORT / 8).await,
                }
            }
        };
        assert_timed_out(polls.await);
        assert!(start.elapsed() >= 3 * SHORT);
        // Readiness is dropped and awaited anew: each is a wait of its own, since no other task waits.
        for _ in 0..8 {
            let mut readable = pin!(stream.readable());
            assert!(Probe::new().poll(readable.as_mut()).is_pending());
            pass(SHORT).await;
        }
    });
}

#[test]
fn an_operation_has_the_same_time_for_its_turn() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_timeout(Some(SHORT)).unwrap();
        // Is not polled any more, and keeps its turn.
        let mut unpolled = pin!(read_once(&stream));
        assert!(Probe::new().poll(unpolled.as_mut()).is_pending());
        assert_times_out("read", read_once(&stream)).await;
        assert_times_out("poll_read", poll_read(&stream)).await;
        assert_times_out("readable", stream.readable()).await;
        peer.write_all(b"x").unwrap();
        assert_eq!(unpolled.await.unwrap(), b"x");
        // A whole queue: each waits for its turn, and for bytes.
        let mut readers = Vec::new();
        for _ in 0..4 {
            readers.push(reader(&stream));
        }
        for reader in readers {
            assert_timed_out(reader.await.unwrap());
        }
        // A timeout that is set while it waits for its turn.
        stream.set_read_timeout(None).unwrap();
        let mut first = pin!(read_once(&stream));
        assert!(Probe::new().poll(first.as_mut()).is_pending());
        let second = reader(&stream);
        yield_now().await;
        stream.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(second.await.unwrap());
    });
}

#[test]
fn every_kind_of_descriptor_has_timeouts() {
    each(async || {
        let listeners =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("[::1]:0").await.unwrap()];
        for listener in &listeners {
            listener.set_timeout(Some(SHORT)).unwrap();
            assert_eq!(listener.timeout().unwrap(), Some(SHORT));
            for _ in 0..2 {
                assert_times_out("accept", listener.accept()).await;
                assert_times_out("incoming", listener.incoming().next()).await;
                assert_times_out("poll_accept", poll_fn(|cx| listener.poll_accept(cx))).await;
            }
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(stream.read_timeout().unwrap(), None);
            drop(client);
        }
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = UdpSocket::bind(address).await.unwrap();
            socket.set_read_timeout(Some(SHORT)).unwrap();
            for _ in 0..2 {
                assert_times_out("recv_from", socket.recv_from(&mut [0; 8])).await;
                assert_times_out("poll_recv_from", poll_fn(|cx| socket.poll_recv_from(cx, &mut [0; 8])))
                    .await;
            }
            pass(2 * SHORT).await;
            assert_eq!(socket.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        let (here, _there) = UnixStream::pair().unwrap();
        here.set_read_timeout(Some(SHORT)).unwrap();
        assert_times_out("read", here.read(&mut [0; 8])).await;
        let (here, _there) = UnixDatagram::pair().unwrap();
        here.set_read_timeout(Some(SHORT)).unwrap();
        assert_times_out("recv", here.recv(&mut [0; 8])).await;
        let (end, _other) = pipe::pipe().unwrap();
        end.set_read_timeout(Some(SHORT)).unwrap();
        assert_times_out("read", end.read(&mut [0; 8])).await;
        let (pipe, _other) = std::io::pipe().unwrap();
        let pipe = AsyncFd::new(pipe).unwrap();
        pipe.set_read_timeout(Some(SHORT)).unwrap();
        assert_times_out("readable", pipe.readable()).await;
        assert_times_out("with_io", pipe.with_io(Interest::Read, |mut pipe| pipe.read(&mut [0]))).await;
    });
}

#[test]
fn the_errors_of_setters() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        for set in
            [stream.set_read_timeout(Some(Duration::ZERO)), stream.set_write_timeout(Some(Duration::ZERO))]
        {
            assert_eq!(set.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        stream.set_read_timeout(Some(Duration::MAX)).unwrap();
        assert!(Probe::new().poll(pin!(read_once(&stream)).as_mut()).is_pending());
        assert_eq!(stream.dup().unwrap().read_timeout().unwrap(), None);
        stream.set_read_timeout(Some(LONG)).unwrap();
        let reads = reader(&stream);
        parked(1).await;
        stream.close().await.unwrap();
        assert_closed(reads.await.unwrap());
        assert_closed(stream.set_read_timeout(Some(SHORT)));
        assert_closed(stream.set_write_timeout(None));
        assert_closed(stream.read_timeout());
    });
}

#[test]
fn timeouts_and_deadlines_set_by_other_threads_lose_no_wait() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let done = Arc::new(Flag::new());
        let setters: Vec<_> = (0..2)
            .map(|n| {
                let (stream, done) = (stream.clone(), done.clone());
                std::thread::spawn(move || {
                    while !done.is_set() {
                        match n {
                            0 => stream.set_read_deadline(Some(Instant::now() + LONG)).unwrap(),
                            _ => stream.set_read_deadline(None).unwrap(),
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        for _ in 0..50 {
            assert_timed_out(read_once(&stream).await);
            assert_timed_out(poll_read(&stream).await);
            assert_timed_out(stream.readable().await);
        }
        done.set();
        setters.into_iter().for_each(|setter| setter.join().unwrap());
    });
}

/// The ways in which a task of the test below takes bytes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Read,
    PollRead,
    Readable,
    PollReadable,
    PeerGone,
}

/// Takes bytes until the end; returns how many, and how often it timed out.
async fn take_all(stream: Arc<TcpStream>, way: Way) -> (usize, usize) {
    let (mut count, mut late) = (0, 0);
    loop {
        let waited = match way {
            Way::Read => stream.read(&mut [0; 3]).await,
            Way::PollRead => poll_read(&stream).await,
            Way::Readable => match stream.readable().await {
                Ok(()) => stream.try_read(&mut [0; 5]),
                Err(error) => Err(error),
            },
            Way::PollReadable => match poll_fn(|cx| stream.poll_readable(cx)).await {
                Ok(()) => stream.try_read(&mut [0; 5]),
                Err(error) => Err(error),
            },
            Way::PeerGone => match stream.peer_gone().await {
                Err(error) if error.kind() == ErrorKind::Unsupported => return (0, 0),
                gone => gone.map(|()| 0),
            },
        };
        match waited {
            Ok(0) => return (count, late),
            Ok(n) => count += n,
            Err(error) if error.kind() == ErrorKind::TimedOut => late += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{way:?}: {error}");
                yield_now().await;
            }
        }
    }
}

/// Changes the deadline and the timeout of reads until all is done.
async fn change_limits(stream: Arc<TcpStream>, done: Arc<Flag>) {
    let mut random = fastrand::Rng::with_seed(16);
    while !done.is_set() {
        match random.usize(..4) {
            0 => stream.set_read_deadline(None).unwrap(),
            1 => stream.set_read_deadline(Some(Instant::now() + LONG)).unwrap(),
            2 => stream.set_read_timeout(Some(Duration::from_micros(random.u64(1..3000)))).unwrap(),
            _ => pass(Duration::from_micros(500)).await,
        }
        yield_now().await;
    }
}

#[test]
fn tasks_that_wait_in_every_way_under_short_timeouts_lose_no_byte_and_no_wake() {
    const PIECES: usize = 400;
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let ways = [
            Way::Read,
            Way::PollRead,
            Way::Readable,
            Way::PollReadable,
            Way::PeerGone,
            Way::Read,
            Way::PollRead,
        ];
        let takers: Vec<_> = ways.into_iter().map(|way| spawn(take_all(stream.clone(), way))).collect();
        let sender = std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(15);
            let mut sent = 0;
            for _ in 0..PIECES {
                let piece = vec![1; random.usize(1..30)];
                peer.write_all(&piece).unwrap();
                sent += piece.len();
                if random.usize(..4) == 0 {
                    std::thread::sleep(Duration::from_micros(random.u64(..3000))); // time is tested
                }
            }
            sent
        });
        let done = Arc::new(Flag::new());
        let setter = spawn(change_limits(stream.clone(), done.clone()));
        let (mut count, mut late) = (0, 0);
        for taker in takers {
            let (taken, timed_out) = taker.await.unwrap();
            count += taken;
            late += timed_out;
        }
        assert_eq!(count, sender.join().unwrap());
        assert!(late > 0, "no wait timed out");
        done.set();
        setter.await.unwrap();
    });
}

/// A wait for the end of the peer has no timeout, so it does not begin the time of the polls.
#[test]
fn a_timeout_that_is_set_beside_peer_gone_begins_with_the_next_poll() {
    each(async || {
        let (stream, _peer) = pair_with_std().await;
        let probe = Probe::new();
        let mut gone = pin!(stream.peer_gone());
        if probe.poll(gone.as_mut()).is_ready() {
            return; // Not with this backend.
        }
        stream.set_read_timeout(Some(SHORT)).unwrap();
        pass(2 * SHORT).await;
        assert_times_out("a poll", poll_read(&stream)).await;
        assert!(probe.poll(gone.as_mut()).is_pending());
        // Nor does it keep the time of a future that is given up.
        assert!(Probe::new().poll(pin!(stream.readable())).is_pending());
        pass(2 * SHORT).await;
        assert_times_out("another poll", poll_read(&stream)).await;
    });
}
