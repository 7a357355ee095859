//! The faults of single calls: the result of each for the user, the number of system calls, and the state afterwards.

use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::support::*;
use netpoll_rt::internal::sys::inject::{Errno, Rule, Table, parse};
use netpoll_rt::internal::sys::{Call, Poller, socket};
use netpoll_rt::net::TcpStream;
use netpoll_rt::{spawn, time};

#[test]
fn the_same_seed_draws_the_same_faults() {
    let _alone = alone();
    let draw = |seed| {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let rules = [Rule::error(Call::Send, Errno::NOBUFS).chance(0.3), Rule::short(Call::Send).chance(0.5)];
        let installed = rules.into_iter().fold(Table::new(seed).log(), Table::rule).install();
        let sent: Vec<_> = (0..200).map(|_| socket::send(a.as_fd(), &[0; 100]).ok()).collect();
        let errors: Vec<_> = installed.log().iter().map(|entry| entry.error).collect();
        drop((b, installed));
        (sent, errors)
    };
    assert_eq!(draw(42), draw(42));
    assert_ne!(draw(42).0, draw(43).0);
    let (sent, _) = draw(7);
    let failed = sent.iter().filter(|sent| sent.is_none()).count();
    assert!((30..90).contains(&failed), "{failed} of 200 at 0.3");
    let short = sent.iter().flatten().filter(|n| **n < 100).count();
    assert!(short > 30 && !sent.contains(&Some(0)), "{sent:?}");
}

#[test]
fn a_rule_that_is_never_hit_fails_its_test() {
    let _alone = alone();
    let installed = Table::new(0).rule(Rule::error(Call::SendFile, Errno::IO)).install();
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(installed)));
    assert!(dropped.is_err());
    assert_eq!(Table::new(0).rule(Rule::error(Call::SendFile, Errno::IO)).install().end(), [0]);
}

#[test]
fn the_words_of_the_environment() {
    for words in ["", "eintr-once", "short", "eagain=3", "events", "seed=42,short,eagain=1,eintr-once"] {
        assert!(parse(words).is_ok(), "{words}");
    }
    for words in ["eintr", "eagain", "eagain=many", "short=1", "seed"] {
        assert_eq!(parse(words).err().as_deref(), Some(words));
    }
}

#[test]
fn a_fault_for_a_while_ends_by_itself() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"x").unwrap();
        let time = Duration::from_millis(30);
        let rule = Rule::error(Call::Recv, Errno::NOMEM).on(number(&*stream)).during(time);
        let installed = Table::new(0).rule(rule).install();
        // time is tested
        let start = Instant::now();
        while let Err(error) = stream.read(&mut [0; 8]).await {
            assert_eq!(errno(&error), Some(Errno::NOMEM.raw_os_error()));
        }
        assert!(start.elapsed() >= time);
        drop(installed);
    });
}

#[test]
fn a_storm_of_eagain_costs_no_more_than_itself() {
    const K: usize = 3;
    const ROUNDS: usize = 50;
    each(async || {
        let (a, b) = pair().await;
        let mut table = Table::new(0).log();
        for call in [Call::Recv, Call::Send] {
            table = table.rule(Rule::error(call, Errno::AGAIN).repeat(K));
        }
        let installed = table.install();
        ping_pong(&a, &b, ROUNDS).await;
        let log = installed.log();
        // A reader that has read everything asks again unless it takes the hint, and meets the storm in vain; and so
        // does a reader that a late poller without edges wakes for bytes that it has read already.
        let asked = if Poller::SHORT_IS_ALL && Poller::EDGES { 1 } else { 2 };
        for fd in [number(&*a), number(&*b)] {
            // An edge for each message.
            for (call, asked) in [(Call::Recv, asked), (Call::Send, 1)] {
                let calls = count(&log, call, fd);
                assert!(calls <= ROUNDS * (asked * (1 + K) + 2), "{calls} of {call:?} for {ROUNDS} messages");
            }
        }
        drop(installed);
    });
}

// Case E01.
#[test]
fn aborted_connections_are_skipped() {
    each(async || {
        for errno in [Errno::CONNABORTED, Errno::PROTO] {
            for k in [1, 2, 17] {
                let listener = listener().await;
                let installed = Table::new(0).rule(Rule::error(Call::Accept, errno).first(k)).install();
                let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (_, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
                assert_eq!(installed.hits(0), k);
            }
        }
    });
}

// Case E03.
#[test]
fn every_kind_of_full_is_told_once_a_call() {
    each(async || {
        let listener = listener().await;
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
            let installed = Table::new(0).log().rule(Rule::error(Call::Accept, errno)).install();
            for calls in 1..=5 {
                assert_errno(listener.accept().await, errno);
                assert_eq!(installed.calls(Call::Accept), calls, "one call each, no spin");
            }
        }
        listener.accept().await.unwrap();
    });
}

#[test]
fn broken_connections_are_told_once_and_let_go() {
    each(async || {
        for errno in [Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::PIPE] {
            let before = Held::now();
            let (stream, mut peer) = pair_with_std().await;
            peer.write_all(b"there").unwrap();
            let rules = [Rule::error(Call::Recv, errno).nth(1), Rule::error(Call::Send, errno).nth(1)];
            let installed = rules.into_iter().fold(Table::new(0), Table::rule).install();
            assert_errno(read_once(&stream).await, errno);
            assert_eq!(read_once(&stream).await.unwrap(), b"there");
            assert_errno(stream.write(b"back").await, errno);
            assert_eq!(stream.write(b"back").await.unwrap(), 4);
            drop(installed);
            drop((stream, peer));
            before.again("a broken connection").await;
        }
    });
}

#[test]
fn a_read_that_was_cut_is_not_short() {
    let _alone = alone();
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    (&a).write_all(b"0123456789").unwrap();
    let rules = [Rule::short_to(Call::Recv, 3), Rule::short_to(Call::Read, 3)];
    let installed = rules.into_iter().fold(Table::new(0), Table::rule).install();
    let recv = socket::recv(b.as_fd(), &mut [0; 64]).unwrap();
    assert_eq!((recv.n, recv.drained), (3, false));
    let read = socket::read(b.as_fd(), &mut [0; 64]).unwrap();
    assert_eq!((read.n, read.drained), (3, false));
    let (mut first, mut second) = ([0; 2], [0; 62]);
    let slices = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let vectored = socket::recvv(b.as_fd(), slices).unwrap();
    assert_eq!((vectored.n, vectored.drained), (2, false), "at the end of the first slice");
    let last = socket::recv(b.as_fd(), &mut [0; 64]).unwrap();
    assert_eq!((last.n, last.drained), (2, true), "fewer than it was really asked for");
    drop(installed);
}

#[test]
fn a_cut_read_goes_on_without_an_edge() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let installed = Table::new(0).rule(Rule::short_to(Call::Recv, 3)).install();
        let mut reader = reader(&stream);
        parked(1).await;
        peer.write_all(b"0123456789").unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < 10 {
            bytes.extend(reader.await.unwrap().unwrap());
            reader = crate::common::reader(&stream);
        }
        assert_eq!(bytes, b"0123456789");
        drop(peer);
        assert_eq!(reader.await.unwrap().unwrap(), b"");
        drop(installed);
    });
}

/// Returns bytes that differ from their neighbors and from those one page on.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 251 % 239) as u8 ^ seed).collect()
}

async fn send_pattern(stream: Arc<TcpStream>, seed: u8) {
    let bytes = pattern(MEGABYTE, seed);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (a, b) = rest.split_at(rest.len().min(7_000));
        let (b, c) = b.split_at(b.len().min(9_000));
        let slices = [IoSlice::new(a), IoSlice::new(b), IoSlice::new(&c[..c.len().min(50_000)])];
        let written = match rest.len() % 2 {
            0 => stream.writev(&slices).await.unwrap(),
            _ => stream.write(rest).await.unwrap(),
        };
        assert!(written > 0);
        rest = &rest[written..];
    }
}

async fn receive_pattern(stream: Arc<TcpStream>, seed: u8) {
    let expected = pattern(MEGABYTE, seed);
    let mut bytes = Vec::new();
    while bytes.len() < expected.len() {
        let (mut a, mut b) = ([0; 3_000], [0; 40_000]);
        let n = match bytes.len() % 2 {
            0 => stream.readv(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).await.unwrap(),
            _ => stream.read(&mut b).await.unwrap(),
        };
        assert!(n > 0, "the end came after {} bytes", bytes.len());
        match bytes.len() % 2 {
            0 => bytes.extend(a.iter().chain(&b).take(n)),
            _ => bytes.extend_from_slice(&b[..n]),
        }
    }
    assert!(bytes == expected, "bytes differ");
}

const MEGABYTE: usize = 1 << 20;

#[test]
fn a_megabyte_each_way_is_the_same_at_the_other_end() {
    let words = [
        "short",
        "eagain=2",
        "short,eagain=1,seed=3",
        "events,short,seed=5",
        "eintr-once",
        "events,eagain=1,seed=7",
    ];
    for words in words {
        each(async || {
            let (a, b) = pair().await;
            let installed = parse(words).unwrap().install();
            let tasks = [
                spawn(send_pattern(a.clone(), 1)),
                spawn(send_pattern(b.clone(), 2)),
                spawn(receive_pattern(b.clone(), 1)),
                spawn(receive_pattern(a.clone(), 2)),
            ];
            for task in tasks {
                task.await.unwrap();
            }
            // Which of these rules a run meets is the kernel's business; that it meets some is not.
            assert!(installed.end().iter().any(|hits| *hits > 0), "{words}");
        });
    }
}

#[test]
fn every_call_is_interrupted_once() {
    each(async || {
        let installed = parse("eintr-once").unwrap().log().install();
        life().await.unwrap();
        time::sleep(Duration::from_millis(2)).await; // time is tested
        let log = installed.log();
        let ways = [
            Call::Socket,
            Call::Bind,
            Call::Listen,
            Call::Accept,
            Call::Connect,
            Call::Recv,
            Call::Send,
            Call::SetOption,
            Call::SockName,
            Call::PollerOpen,
            Call::PollerClose,
            Call::PollerWait,
            Call::Close,
        ];
        for call in ways {
            assert!(
                log.iter().any(|entry| entry.call == call && entry.error == Some(Errno::INTR)),
                "{call:?} was never interrupted"
            );
        }
        drop(installed);
    });
}
