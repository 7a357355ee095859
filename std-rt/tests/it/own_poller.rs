//! `netpoll_rt::poll`: the poller of another runtime, which a test polls by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::common::{LIMIT, Probe, alone, in_ms, past, uninterrupted, until_blocking};
use netpoll_core::sync::Flag;
use netpoll_rt::poll::{Buffer, Mode, Modes, Poller, Registration, Timer};
use netpoll_rt::{is_closed, runtime_ended};

/// Returns a registered socket and its peer.
fn watched(poller: &Poller) -> (Registration<UnixStream>, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (poller.register(ours).unwrap(), peer)
}

fn waker(probe: &Arc<Probe>) -> Waker {
    Waker::from(probe.clone())
}

/// Polls once and wakes the tasks. Returns their number.
fn turn(poller: &Poller, timeout: Option<Duration>) -> usize {
    let mut buffer = Buffer::new();
    let n = poller.poll(timeout, &mut buffer).unwrap();
    assert_eq!(n, buffer.len());
    buffer.drain().for_each(Waker::wake);
    n
}

/// Polls until there are wakers in the buffer, and returns their number: a signal ends a poll with a timeout early.
fn fill(poller: &Poller, buffer: &mut Buffer) -> usize {
    loop {
        let n = poller.poll(Some(LIMIT), buffer).unwrap();
        if n > 0 {
            return n;
        }
    }
}

/// Polls until the task was woken.
fn until_woken(poller: &Poller, probe: &Probe) {
    while probe.wakes.get() == 0 {
        turn(poller, Some(LIMIT));
    }
}

fn read(registration: &Registration<UnixStream>, probe: &Arc<Probe>) -> Poll<std::io::Result<Vec<u8>>> {
    registration.poll_io(Mode::Read, &waker(probe), |mut stream| {
        let mut bytes = vec![0; 16];
        let n = stream.read(&mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    })
}

/// Parks a task that finds nothing to read.
fn parked(registration: &Registration<UnixStream>) -> Arc<Probe> {
    let probe = Probe::new();
    assert!(read(registration, &probe).is_pending());
    probe
}

fn bytes(read: Poll<std::io::Result<Vec<u8>>>) -> Vec<u8> {
    match read {
        Poll::Ready(bytes) => bytes.unwrap(),
        Poll::Pending => panic!("it waits"),
    }
}

fn kind<T>(result: Poll<std::io::Result<T>>) -> ErrorKind {
    match result {
        Poll::Ready(Err(error)) => error.kind(),
        _ => panic!("no error"),
    }
}

#[test]
fn an_event_wakes_the_task_of_its_descriptor() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let ((a, mut peer), (b, _peer)) = (watched(&poller), watched(&poller));
    let (first, second) = (parked(&a), parked(&b));
    assert_eq!((poller.registered(), poller.parked()), (2, 2));
    peer.write_all(b"one").unwrap();
    until_woken(&poller, &first);
    assert_eq!((first.wakes.get(), second.wakes.get(), poller.parked()), (1, 0, 1));
    assert_eq!(bytes(read(&a, &first)), b"one");
    drop(peer);
    assert!(bytes(read(&a, &first)).is_empty(), "the end of the stream");
    assert!(!a.is_parked(Mode::Read) && b.is_parked(Mode::Read));
    drop((a, b));
    assert_eq!((poller.registered(), poller.parked(), second.wakes.get()), (0, 0, 1));
}

#[test]
fn a_write_waits_for_room() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, mut peer) = watched(&poller);
    let probe = Probe::new();
    let write = || ours.poll_io(Mode::Write, &waker(&probe), |mut stream| stream.write(&[7; 4096]));
    let mut sent = 0;
    while let Poll::Ready(n) = write() {
        sent += n.unwrap();
    }
    let mut got = vec![0; sent];
    peer.read_exact(&mut got).unwrap();
    until_woken(&poller, &probe);
    assert!(matches!(write(), Poll::Ready(Ok(1..))));
}

#[test]
fn a_deadline_ends_a_wait_and_stays() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, mut peer) = watched(&poller);
    let began = Instant::now();
    ours.set_deadline(Modes::READ, in_ms(20)).unwrap();
    let probe = parked(&ours);
    until_woken(&poller, &probe);
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert_eq!((kind(read(&ours, &probe)), poller.parked()), (ErrorKind::TimedOut, 0));
    peer.write_all(b"late").unwrap();
    assert_eq!(kind(read(&ours, &probe)), ErrorKind::TimedOut, "also where there is something to read");
    ours.set_deadline(Modes::BOTH, None).unwrap();
    assert_eq!(bytes(read(&ours, &probe)), b"late");
    let probe = parked(&ours);
    ours.set_deadline(Modes::READ, past()).unwrap();
    assert_eq!((probe.wakes.get(), kind(read(&ours, &probe))), (1, ErrorKind::TimedOut), "at once");
}

#[test]
fn another_thread_sets_an_earlier_deadline_or_timer_during_a_poll() {
    let _alone = alone();
    let poller = Arc::new(Poller::new().unwrap());
    let (ours, _peer) = watched(&poller);
    let (probe, asleep) = (parked(&ours), Flag::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            // The poll sleeps without limit by now, or has not begun.
            until_blocking("it polls", || asleep.is_set());
            ours.set_deadline(Modes::READ, in_ms(5)).unwrap();
        });
        asleep.set();
        until_woken(&poller, &probe);
    });
    let (probe, asleep) = (Probe::new(), Flag::new());
    let mut timer = poller.timer(Instant::now() + Duration::from_millis(5));
    thread::scope(|scope| {
        scope.spawn(|| {
            until_blocking("it polls", || asleep.is_set());
            assert!(timer.poll(&waker(&probe)).is_pending() || timer.is_over());
            poller.wake();
        });
        asleep.set();
        turn(&poller, Some(LIMIT));
    });
    while timer.poll(&waker(&probe)).is_pending() {
        turn(&poller, Some(LIMIT));
    }
}

#[test]
fn an_eviction_ends_waits_in_both_directions() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, _peer) = watched(&poller);
    let (reader, writer) = (parked(&ours), Probe::new());
    // The writability of a fresh socket is remembered first.
    turn(&poller, Some(LIMIT));
    ours.reset(Mode::Write).unwrap();
    assert!(ours.park(Mode::Write, &waker(&writer)).is_pending());
    ours.evict();
    assert_eq!((reader.wakes.get(), writer.wakes.get(), poller.parked()), (1, 1, 0));
    for mode in [Mode::Read, Mode::Write] {
        assert!(matches!(ours.park(mode, Waker::noop()), Poll::Ready(Err(error)) if is_closed(&error)));
    }
    assert!(is_closed(&ours.set_deadline(Modes::BOTH, None).unwrap_err()));
    assert!(is_closed(&ours.reset(Mode::Read).unwrap_err()));
    ours.evict();
}

#[test]
fn a_value_comes_back_and_can_be_registered_again() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, mut peer) = watched(&poller);
    let error = poller.register(ours.as_fd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let probe = parked(&ours);
    let ours = ours.into_inner();
    assert_eq!((probe.wakes.get(), poller.registered()), (1, 0));
    let ours = poller.register(ours).unwrap();
    let probe = parked(&ours);
    peer.write_all(b"again").unwrap();
    until_woken(&poller, &probe);
    assert_eq!(bytes(read(&ours, &probe)), b"again");
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(poller.register(file).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(poller.registered(), 1);
}

#[test]
fn a_wait_that_is_given_up_leaves_its_readiness() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, mut peer) = watched(&poller);
    let given_up = parked(&ours);
    ours.retract(Mode::Read);
    assert_eq!((poller.parked(), Arc::strong_count(&given_up)), (0, 1), "its waker is dropped");
    peer.write_all(b"kept").unwrap();
    // A poll that is not interrupted finds the event.
    while ours.park(Mode::Read, Waker::noop()).is_pending() {
        turn(&poller, Some(LIMIT));
    }
    assert_eq!((bytes(read(&ours, &given_up)), given_up.wakes.get()), (b"kept".to_vec(), 0));
}

#[test]
fn the_last_waker_of_a_direction_is_woken() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, mut peer) = watched(&poller);
    let (first, last) = (parked(&ours), parked(&ours));
    assert_eq!((poller.parked(), first.wakes.get()), (1, 0));
    peer.write_all(b"x").unwrap();
    until_woken(&poller, &last);
    assert_eq!((first.wakes.get(), last.wakes.get()), (0, 1));
    let first = parked_after(&ours, &last);
    // A call that does not park wakes the task whose place it has taken.
    ours.set_deadline(Modes::READ, past()).unwrap();
    assert_eq!(kind(read(&ours, &last)), ErrorKind::TimedOut);
    assert_eq!(first.wakes.get(), 1);
}

/// Reads what there is, and parks a task after it.
fn parked_after(ours: &Registration<UnixStream>, probe: &Arc<Probe>) -> Arc<Probe> {
    assert_eq!(bytes(read(ours, probe)), b"x");
    parked(ours)
}

#[test]
fn a_timer_wakes_its_task_once() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (probe, began) = (Probe::new(), Instant::now());
    let mut timer = poller.timer(began + Duration::from_millis(10));
    assert!(timer.poll(&waker(&probe)).is_pending());
    assert!(timer.poll(&waker(&probe)).is_pending(), "a second poll arms no second one");
    until_woken(&poller, &probe);
    assert!(began.elapsed() >= Duration::from_millis(10) && timer.is_over());
    assert!(matches!(timer.poll(&waker(&probe)), Poll::Ready(Ok(()))));
    assert_eq!((turn(&poller, Some(Duration::ZERO)), probe.wakes.get()), (0, 1));

    timer.reset(Instant::now() + LIMIT);
    assert!(timer.poll(&waker(&probe)).is_pending() && !timer.is_over());
    timer.reset(Instant::now());
    assert_eq!(probe.wakes.get(), 2, "moved to a time that has passed while it was armed");
    assert_eq!((turn(&poller, Some(Duration::ZERO)), probe.wakes.get()), (0, 2));
    assert!(matches!(timer.poll(&waker(&probe)), Poll::Ready(Ok(()))));
}

#[test]
fn a_dropped_timer_wakes_no_task_and_its_waker_is_dropped() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let probe = Probe::new();
    let at = Instant::now() + Duration::from_millis(5);
    let mut timers: Vec<Timer> = (0..100).map(|_| poller.timer(at)).collect();
    assert!(timers.iter_mut().all(|timer| timer.poll(&waker(&probe)).is_pending()));
    timers.truncate(1);
    assert_eq!(Arc::strong_count(&probe), 2);
    until_woken(&poller, &probe);
    assert_eq!((probe.wakes.get(), turn(&poller, Some(Duration::ZERO))), (1, 0));
}

#[test]
fn a_wake_ends_one_poll() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    // Fault injection ends a poll as a signal does.
    let interrupted = std::env::var_os("NETPOLL_DOOR").is_some();
    // Before the poll, also before one that does not sleep.
    for timeout in [None, Some(Duration::ZERO), Some(LIMIT)] {
        poller.wake();
        poller.wake();
        assert_eq!(turn(&poller, timeout), 0);
        let began = Instant::now();
        turn(&poller, Some(Duration::from_millis(5)));
        assert!(interrupted || began.elapsed() >= Duration::from_millis(5), "the wake is gone, {timeout:?}");
    }
    // During the poll.
    let asleep = Flag::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            until_blocking("it polls", || asleep.is_set());
            poller.wake();
        });
        asleep.set();
        assert_eq!(turn(&poller, None), 0);
    });
}

#[test]
fn one_thread_polls_and_is_woken_by_its_number() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (asleep, slept) = (Flag::new(), Flag::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let guard = poller.try_lock(7).unwrap();
            let may_sleep = || {
                asleep.set();
                true
            };
            guard.poll(None, &mut Buffer::new(), may_sleep).unwrap();
            slept.set();
        });
        until_blocking("it sleeps", || asleep.is_set());
        let busy = poller.poll(Some(Duration::ZERO), &mut Buffer::new()).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::ResourceBusy);
        assert!(poller.try_lock(8).is_none() && !poller.wake_thread(8));
        assert!(poller.wake_thread(7));
    });
    assert!(slept.is_set() && !poller.wake_thread(7));
    let refused = poller.try_lock(0).unwrap().poll(None, &mut Buffer::new(), || false);
    assert_eq!(refused.unwrap(), 0, "it does not sleep");
    drop(poller.try_lock(0).unwrap());
    assert_eq!(turn(&poller, Some(Duration::ZERO)), 0, "a guard that is dropped unlocks");
}

#[test]
fn the_end_of_a_poller_ends_every_wait() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (ours, _peer) = watched(&poller);
    let (probe, slept) = (parked(&ours), Probe::new());
    let mut timer = poller.timer(Instant::now() + LIMIT);
    assert!(timer.poll(&waker(&slept)).is_pending());
    drop(poller);
    assert_eq!((probe.wakes.get(), slept.wakes.get()), (1, 1));
    assert!(matches!(read(&ours, &probe), Poll::Ready(Err(error)) if runtime_ended(&error)));
    assert!(matches!(timer.poll(&waker(&slept)), Poll::Ready(Err(error)) if runtime_ended(&error)));
    timer.reset(Instant::now());
    assert!(matches!(timer.poll(&waker(&slept)), Poll::Ready(Ok(()))), "its time is over");
}

#[test]
fn a_buffer_loses_no_waker() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let pairs: Vec<_> = (0..4).map(|_| watched(&poller)).collect();
    let probes: Vec<_> = pairs.iter().map(|(ours, _)| parked(ours)).collect();
    for (_, peer) in &pairs {
        (&*peer).write_all(b"x").unwrap();
    }
    let woken = || probes.iter().map(|probe| probe.wakes.get()).sum::<usize>();
    let mut buffer = Buffer::new();
    buffer.set_limit(3);
    assert_eq!(fill(&poller, &mut buffer), 3);
    assert_eq!((poller.poll(None, &mut buffer).unwrap(), woken()), (3, 0), "the same three, at once");
    assert_eq!(poller.parked(), 1);
    // One is taken and woken by the caller, two by the end of the iterator.
    buffer.drain().next().unwrap().wake();
    assert_eq!((woken(), poller.parked()), (3, 1));
    assert_eq!(fill(&poller, &mut buffer), 1);
    drop(buffer);
    assert_eq!((woken(), poller.parked()), (4, 0));
}

#[test]
fn another_loop_polls_the_descriptor() {
    let _alone = alone();
    let (outer, poller) = (Poller::new().unwrap(), Poller::new().unwrap());
    let Ok(descriptor) = poller.descriptor() else {
        assert_eq!(poller.descriptor().unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    };
    let inner = outer.register(descriptor).unwrap();
    // Sleeps in the outer poller until the inner one has something to do.
    let outer_turn = || {
        let probe = Probe::new();
        if inner.park(Mode::Read, &waker(&probe)).is_pending() {
            turn(&outer, poller.prepare_wait());
        }
    };
    let (ours, mut peer) = watched(&poller);
    turn(&poller, Some(LIMIT)); // The writability of a fresh socket.
    let probe = parked(&ours);
    assert_eq!(poller.prepare_wait(), None);
    peer.write_all(b"event").unwrap();
    outer_turn();
    assert_eq!(turn(&poller, Some(Duration::ZERO)), 1);
    assert_eq!(bytes(read(&ours, &probe)), b"event");

    ours.set_deadline(Modes::READ, in_ms(5)).unwrap();
    let probe = parked(&ours);
    assert!(poller.prepare_wait().unwrap() <= Duration::from_millis(5));
    while probe.wakes.get() == 0 {
        outer_turn();
        turn(&poller, Some(Duration::ZERO));
    }
    // Another thread sets a deadline while the outer loop sleeps.
    ours.set_deadline(Modes::READ, None).unwrap();
    let (probe, asleep) = (parked(&ours), Flag::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            until_blocking("it sleeps", || asleep.is_set());
            ours.set_deadline(Modes::READ, in_ms(5)).unwrap();
        });
        asleep.set();
        while probe.wakes.get() == 0 {
            outer_turn();
            turn(&poller, Some(Duration::ZERO));
        }
    });
}

#[test]
fn threads_share_a_poller_and_every_byte_arrives() {
    const CONNECTIONS: usize = 32;
    const ROUNDS: usize = 200;
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pairs: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let ours = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            ours.set_nonblocking(true).unwrap();
            (poller.register(ours).unwrap(), listener.accept().unwrap().0)
        })
        .collect();
    let done = Flag::new();
    thread::scope(|scope| {
        for number in 0..2 {
            let (poller, done) = (&poller, &done);
            scope.spawn(move || {
                let mut buffer = Buffer::new();
                while !done.is_set() {
                    let Some(guard) = poller.try_lock(number) else {
                        thread::yield_now();
                        continue;
                    };
                    guard.poll(None, &mut buffer, || !done.is_set()).unwrap();
                    buffer.drain().for_each(Waker::wake);
                }
            });
        }
        let echoes: Vec<_> = pairs
            .iter()
            .map(|(ours, peer)| {
                scope.spawn(move || {
                    let mut peer = peer;
                    for round in 0..ROUNDS {
                        let message = [round as u8; 8];
                        peer.write_all(&message).unwrap();
                        assert_eq!(block(ours), message, "round {round}");
                    }
                })
            })
            .collect();
        echoes.into_iter().for_each(|echo| echo.join().unwrap());
        done.set();
        poller.wake();
    });
    assert_eq!(poller.parked(), 0);
}

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Reads eight bytes on this thread, which sleeps by its token.
fn block(ours: &Registration<StdStream>) -> Vec<u8> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut got = Vec::new();
    while got.len() < 8 {
        let read = ours.poll_io(Mode::Read, &waker, |mut stream| {
            let mut bytes = [0; 8];
            let n = uninterrupted(|| stream.read(&mut bytes))?;
            Ok(bytes[..n].to_vec())
        });
        match read {
            Poll::Ready(bytes) => got.extend(bytes.unwrap()),
            Poll::Pending => thread::park(),
        }
    }
    got
}
