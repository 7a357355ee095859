//! Objects of a runtime that was dropped, or that no thread drives, in another runtime or executor: they work, or fail with
//! an error that gives the reason. No operation waits for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::common::*;
use futures_core::Stream;
use netpoll_core::sync::Counter;
use netpoll_rt::net::unix::UnixDatagram;
use netpoll_rt::net::{TcpListener, TcpStream, UdpSocket, UnixStream, pipe};
use netpoll_rt::signal::{SignalKind, signal};
use netpoll_rt::time::{interval, sleep, timeout};
use netpoll_rt::{JoinHandle, Runtime, runtime_ended, spawn};

const HOUR: Duration = Duration::from_secs(3600);

/// Runs `body` with a runtime of one worker and one of four that it may end, and with one that goes on.
fn with_each(body: impl Fn(Runtime, &Runtime)) {
    let _alone = alone();
    // The default runtime, which stays.
    netpoll_rt::block_on(async {});
    for workers in [1, 4] {
        let before = open_descriptors();
        let other = runtime(2);
        let watch = Watch::over(other.handle().clone());
        body(runtime(workers), &other);
        drop(other);
        drop(watch);
        assert_eq!(open_descriptors(), before, "{workers} workers");
    }
}

#[track_caller]
fn assert_gone<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("the end of the runtime was expected");
    assert!(runtime_ended(&error), "{error}");
    assert!(error.to_string().contains("its runtime has ended"), "{error}");
    assert!(!netpoll_rt::is_closed(&error));
}

/// Tasks of another runtime, each with the result of one wait.
struct Waits {
    of: netpoll_rt::Handle,
    tasks: Vec<JoinHandle<io::Result<()>>>,
}

impl Waits {
    fn add(&mut self, wait: impl Future<Output = io::Result<()>> + Send + 'static) {
        self.tasks.push(spawn(wait));
    }

    /// Waits until all are parked.
    async fn parked(&self) {
        let n = self.tasks.len();
        until(&format!("{n} tasks are parked"), || self.of.waiters() == n).await;
    }

    async fn are_gone(self) {
        for (n, task) in self.tasks.into_iter().enumerate() {
            let result = task.await.unwrap();
            let error = result.expect_err("the end of the runtime was expected");
            assert!(runtime_ended(&error), "wait {n}: {error}");
        }
    }
}

#[test]
fn a_wait_of_every_kind_fails_when_its_runtime_is_dropped() {
    with_each(|runtime, other| {
        let (a, b, full, _peer, listener, udp, unix, datagrams, ends, usr) = runtime.block_on(async {
            let (a, b) = pair().await;
            let (full, peer) = pair().await;
            fill(&full).await;
            let listener = Arc::new(listener().await);
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (unix, datagrams) = (UnixStream::pair().unwrap(), UnixDatagram::pair().unwrap());
            (
                a,
                b,
                full,
                peer,
                listener,
                udp,
                unix,
                datagrams,
                pipe::pipe().unwrap(),
                signal(SignalKind::USER2),
            )
        });
        // The task that reads `a` drops it, and the end of its stream would make `b` readable.
        let _open = a.clone();
        let waits = other.block_on(async {
            let mut waits = Waits { of: runtime.handle().clone(), tasks: Vec::new() };
            let dated = a.dup().unwrap();
            waits.add(async move { a.read(&mut [0; 8]).await.map(drop) });
            waits.add(async move { b.readable().await });
            waits.add(async move {
                dated.set_read_deadline(Some(Instant::now() + HOUR))?;
                dated.read(&mut [0; 8]).await.map(drop)
            });
            waits.add(async move { full.write_all(&[0; 1 << 20]).await });
            waits.add(async move { listener.accept().await.map(drop) });
            waits.add(async move { udp.recv(&mut [0; 8]).await.map(drop) });
            waits.add(async move { unix.0.read(&mut [0; 8]).await.map(drop) });
            waits.add(async move { datagrams.0.recv(&mut [0; 8]).await.map(drop) });
            waits.add(async move { ends.0.read(&mut [0; 8]).await.map(drop) });
            waits.add(async move { usr?.recv().await });
            waits.parked().await;
            waits
        });
        drop(runtime);
        other.block_on(waits.are_gone());
    });
}

#[test]
fn a_wait_in_an_executor_of_another_kind_fails_too() {
    with_each(|runtime, _| {
        let (stream, _peer) = runtime.block_on(pair());
        let handle = runtime.handle().clone();
        let reader = std::thread::spawn(move || futures_lite::future::block_on(read_once(&stream)));
        until_blocking("it is parked", || handle.waiters() == 1);
        drop(runtime);
        assert_gone(reader.join().unwrap());
    });
}

#[test]
fn what_need_not_wait_goes_on_after_the_end() {
    with_each(|runtime, other| {
        let (a, b, listener, _client) = runtime.block_on(async {
            let (a, b) = pair().await;
            // The next read of `a` believes that there is nothing.
            b.write_all(b"short").await.unwrap();
            assert_eq!(read_once(&a).await.unwrap(), b"short");
            let listener = listener().await;
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (a, b, listener, client)
        });
        drop(runtime);
        other.block_on(async {
            b.writable().await.unwrap();
            b.write_all(b"there").await.unwrap();
            a.readable().await.unwrap();
            assert_eq!(read_once(&a).await.unwrap(), b"there");
            assert_gone(read_once(&a).await);
            assert_gone(a.readable().await);
            assert_gone(a.peek(&mut [0; 8]).await);
            assert_eq!(a.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            // A connection would belong to the runtime of its listener.
            assert_gone(listener.accept().await);
            assert_gone(a.dup().map(drop));
            a.set_read_deadline(past()).unwrap();
            assert_timed_out(read_once(&a).await);
            a.close().await.unwrap();
            assert_closed(read_once(&a).await);
            assert_eq!(b.read(&mut [0; 8]).await.unwrap(), 0, "the end of the peer need not be waited for");
        });
    });
}

#[test]
fn tasks_that_queue_for_a_direction_fail_with_the_one_that_waits() {
    with_each(|runtime, other| {
        let (stream, _peer) = runtime.block_on(pair());
        let readers = other.block_on(async {
            let readers = [reader(&stream), reader(&stream), reader(&stream)];
            until("one is parked", || runtime.handle().waiters() == 1).await;
            readers
        });
        drop(runtime);
        other.block_on(async {
            for reader in readers {
                assert_gone(reader.await.unwrap());
            }
        });
    });
}

#[test]
fn a_descriptor_can_be_closed_while_tasks_wait_and_its_runtime_ends() {
    with_each(|runtime, other| {
        let (stream, _peer) = runtime.block_on(pair());
        let task = other.spawn({
            let stream = stream.clone();
            async move { read_once(&stream).await }
        });
        until_blocking("it is parked", || runtime.handle().waiters() == 1);
        let ender = std::thread::spawn(move || drop(runtime));
        other.block_on(stream.close()).unwrap();
        let error = other.block_on(task).unwrap().unwrap_err();
        assert!(runtime_ended(&error) || netpoll_rt::is_closed(&error), "{error}");
        ender.join().unwrap();
    });
}

#[test]
fn waits_that_begin_beside_the_end_fail() {
    with_each(|runtime, other| {
        let pairs: Vec<_> = runtime.block_on(async {
            let mut pairs = Vec::new();
            for _ in 0..8 {
                pairs.push(pair().await);
            }
            pairs
        });
        let began = Arc::new(Counter::new());
        let readers: Vec<_> = pairs
            .iter()
            .map(|(a, _)| {
                let (a, began) = (a.clone(), began.clone());
                other.spawn(async move {
                    loop {
                        began.inc();
                        // Given up and begun anew, until the runtime ends.
                        match timeout(Duration::from_micros(50), a.read(&mut [0; 8])).await {
                            Err(_) => {}
                            Ok(read) => return read,
                        }
                    }
                })
            })
            .collect();
        until_blocking("they have begun", || began.get() > 50);
        drop(runtime);
        other.block_on(async {
            for reader in readers {
                assert_gone(reader.await.unwrap());
            }
        });
    });
}

#[test]
fn descriptors_opened_beside_the_end_wait_for_nothing() {
    let _alone = alone();
    let other = runtime(2);
    let _watch = Watch::over(other.handle().clone());
    for round in 0..40 {
        let runtime = runtime(1 + 3 * (round % 2));
        let listener = Arc::new(runtime.block_on(listener()));
        let address = listener.local_addr().unwrap();
        let accepting = other.spawn({
            let listener = listener.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    drop(spawn(async move { stream.read(&mut [0; 1]).await }));
                }
                #[allow(unreachable_code, reason = "the type of the loop")]
                io::Result::Ok(())
            }
        });
        let clients: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        drop(runtime);
        assert_gone(other.block_on(accepting).unwrap());
        drop(clients);
    }
}

#[test]
fn sleeps_timeouts_and_intervals_go_on_in_another_runtime() {
    with_each(|runtime, other| {
        let start = Instant::now();
        let asked = Duration::from_millis(100); // time is tested
        let mut nap = Box::pin(sleep(asked)); // time is tested
        let mut late = Box::pin(timeout(asked, std::future::pending::<()>()));
        let mut ticks = interval(asked);
        let mut elsewhere = Box::pin(sleep(asked)); // time is tested
        runtime.block_on(async {
            let probe = Probe::new();
            assert!(probe.poll(nap.as_mut()).is_pending());
            assert!(probe.poll(late.as_mut()).is_pending());
            assert!(probe.poll(elsewhere.as_mut()).is_pending());
            ticks.tick().await;
            assert!(probe.poll(std::pin::pin!(ticks.tick())).is_pending());
        });
        // One that waits in the other runtime already, and three that are polled there after the end.
        let waiting = other.spawn(async move { nap.as_mut().await });
        drop(runtime);
        other.block_on(async {
            waiting.await.unwrap();
            assert_timed_out(late.await);
            ticks.tick().await;
        });
        // An executor without a runtime.
        futures_lite::future::block_on(elsewhere);
        assert!(start.elapsed() >= asked);
    });
}

#[test]
fn a_handle_says_whether_its_runtime_has_ended() {
    with_each(|runtime, other| {
        let handle = runtime.handle().clone();
        assert!(!handle.has_ended());
        drop(runtime);
        assert!(handle.has_ended() && !other.handle().has_ended());
    });
}

#[test]
fn a_sleep_armed_in_an_undriven_runtime_ends_where_it_is_polled() {
    let _alone = alone();
    let (undriven, other) = (runtime(1), runtime(2));
    let _watch = Watch::over(other.handle().clone());
    let mut nap = Box::pin(sleep(Duration::from_millis(100))); // time is tested
    undriven.block_on(async { assert!(Probe::new().poll(nap.as_mut()).is_pending()) });
    other.block_on(nap);
    assert_eq!(undriven.metrics().timers, 0, "it was taken along");
}

#[test]
fn a_descriptor_of_an_undriven_runtime_works_in_another() {
    let _alone = alone();
    let before = open_descriptors();
    let (undriven, other) = (runtime(1), runtime(2));
    let watch = Watch::over(other.handle().clone());
    let (a, b) = undriven.block_on(pair());
    other.block_on(async {
        for round in 0..20 {
            let task = reader(&a);
            until("it is parked", || undriven.handle().waiters() == 1).await;
            b.write_all(&[round]).await.unwrap();
            assert_eq!(task.await.unwrap().unwrap(), [round]);
        }
        a.set_read_deadline(in_ms(5)).unwrap();
        assert_timed_out(read_once(&a).await);
        a.set_read_deadline(None).unwrap();
        // Its own tasks do not run meanwhile.
        let own = undriven.spawn(async { 1 });
        assert!(!own.is_finished());
    });
    drop((undriven, other, a, b));
    drop(watch);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_runtime_that_is_driven_now_and_then_serves_others_all_the_time() {
    let _alone = alone();
    let (sometimes, other) = (runtime(1), runtime(2));
    let _watch = Watch::over(other.handle().clone());
    let (a, b) = sometimes.block_on(pair());
    let rounds = 300;
    let pings = other.spawn(async move {
        for round in 0..rounds {
            let sent = [round as u8];
            b.write_all(&sent).await.unwrap();
            assert_eq!(read_once(&b).await.unwrap(), sent);
        }
    });
    let pongs = other.spawn(async move {
        for _ in 0..rounds {
            let bytes = read_once(&a).await.unwrap();
            a.write_all(&bytes).await.unwrap();
        }
    });
    let mut driven = 0;
    while !pings.is_finished() {
        // Its own waits are served as ever.
        let done = sometimes.block_on(async {
            sleep(Duration::from_micros(20)).await; // time is tested
            spawn(async { 1 }).await.unwrap()
        });
        driven += done;
    }
    other.block_on(async {
        pings.await.unwrap();
        pongs.await.unwrap();
    });
    assert!(driven > 0);
}

/// A waker that owns the listener it waits for.
struct Owner {
    listener: TcpListener,
    wakes: Arc<Counter>,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        self.wakes.inc();
    }
}

#[test]
fn a_waker_that_owns_its_listener_is_dropped_with_the_runtime() {
    with_each(|runtime, _| {
        let wakes = Arc::new(Counter::new());
        let listener = runtime.block_on(listener());
        let owner = Arc::new(Owner { listener, wakes: wakes.clone() });
        let weak = Arc::downgrade(&owner);
        let poll = |owner: &Arc<Owner>| {
            let waker = Waker::from(owner.clone());
            let mut incoming = owner.listener.incoming();
            Pin::new(&mut incoming).poll_next(&mut Context::from_waker(&waker)).map(Option::unwrap)
        };
        assert!(poll(&owner).is_pending());
        drop(runtime);
        assert_eq!(wakes.get(), 1);
        // It is not kept by a poll that fails either.
        let Poll::Ready(error) = poll(&owner) else { panic!("it waits for a runtime that has ended") };
        assert_gone(error.map(drop));
        drop(owner);
        assert!(weak.upgrade().is_none(), "the waker and its listener own each other");
    });
}

#[test]
fn a_stream_of_an_ended_runtime_can_be_taken_to_another() {
    with_each(|runtime, other| {
        let (stream, peer) = runtime.block_on(pair());
        drop(runtime);
        let stream = Arc::into_inner(stream).unwrap().into_std().unwrap();
        other.block_on(async {
            let stream = TcpStream::from_std(stream).unwrap();
            let task = spawn(async move { stream.read(&mut [0; 8]).await });
            parked(1).await;
            peer.write_all(b"moved").await.unwrap();
            assert_eq!(task.await.unwrap().unwrap(), 5);
        });
    });
}

#[test]
fn a_block_on_within_a_runtime_of_one_worker_waits_for_a_socket_of_that() {
    let _alone = alone();
    let other = runtime(2);
    let _watch = Watch::over(other.handle().clone());
    for inner_workers in [1, 3] {
        let (outer, inner) = (runtime(1), runtime(inner_workers));
        outer.block_on(async {
            let (a, b) = pair().await;
            let handle = outer.handle().clone();
            // The thread is in the inner runtime meanwhile, and does not poll for the outer one.
            let writer = std::thread::spawn(move || {
                until_blocking("the reader is parked", || handle.waiters() == 1);
                b.try_write(b"inner").unwrap();
            });
            assert_eq!(inner.block_on(read_once(&a)).unwrap(), b"inner");
            writer.join().unwrap();
            // It does again.
            let (c, d) = pair().await;
            let task = reader(&c);
            parked(1).await;
            d.write_all(b"outer").await.unwrap();
            assert_eq!(task.await.unwrap().unwrap(), b"outer");
        });
    }
}
