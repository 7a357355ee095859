//! A task that keeps its worker busy does not delay the other tasks.

use std::io::{Read, Write};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::sleep;
use netpoll_rt::{spawn, spawn_blocking, yield_now};

/// Sends everything back until the end.
async fn echo(stream: &TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..n]).await.unwrap();
    }
}

/// A worker is blocked by a task that was woken by the network, so that it was that worker which polled. Another
/// connection is served meanwhile, by a plain thread's measure.
fn served_while_blocked(workers: &[usize]) {
    on(workers, async || {
        let (blocker, mut wakes_blocker) = pair_with_std().await;
        let (served, mut client) = pair_with_std().await;
        let (unblock, blocked) = mpsc::channel::<()>();
        let (entered, inside) = mpsc::channel();
        let busy = spawn(async move {
            blocker.read(&mut [0]).await.unwrap();
            entered.send(()).unwrap();
            blocked.recv_timeout(LIMIT).unwrap();
        });
        let echoing = spawn(async move { echo(&served).await });
        parked(2).await;
        let thread = std::thread::spawn(move || {
            wakes_blocker.write_all(b"x").unwrap();
            inside.recv_timeout(LIMIT).unwrap();
            for _ in 0..20 {
                client.write_all(b"ping").unwrap();
                client.read_exact(&mut [0; 4]).unwrap();
            }
            unblock.send(()).unwrap();
        });
        busy.await.unwrap();
        thread.join().unwrap();
        echoing.await.unwrap();
    });
}

#[test]
fn another_connection_is_served_by_four_workers() {
    served_while_blocked(&[4]);
}

#[test]
fn another_connection_is_served_by_two_workers() {
    served_while_blocked(&[2]);
}

/// Many connections, a worker blocked for a second by a task that became ready together with theirs: 99 of 100 answers
/// come within a tenth of a second (`cargo xtask bench blocked-worker` has the figure of a quiet machine).
fn latency_while_blocked(workers: &[usize]) {
    const P99: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_millis(900);
    on(workers, async || {
        // A machine that is late itself says nothing of the runtime; then it is tried again.
        for _ in 0..10 {
            let machine = Lateness::watch();
            let took = answers_while_blocked().await;
            let (late, p99, most) = (machine.end(), took[took.len() * 99 / 100], took[took.len() - 1]);
            if p99 < P99 && most < MOST {
                return;
            }
            let told = format!("99 of 100 of {} answers within {p99:?}, the last after {most:?}", took.len());
            assert!(late > P99 / 10, "{told}, and the machine was late by {late:?} at most");
        }
        panic!("the machine was late in every attempt");
    });
}

/// Returns the time of each answer, in ascending order.
async fn answers_while_blocked() -> Vec<Duration> {
    const CONNECTIONS: usize = 32;
    let (blocker, mut wakes_blocker) = pair_with_std().await;
    let (ended, end) = mpsc::channel();
    let bad = spawn(async move {
        blocker.read(&mut [0]).await.unwrap();
        std::thread::sleep(Duration::from_secs(1)); // time is tested
        ended.send(()).unwrap();
    });
    let (mut clients, mut echoes) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let (served, client) = pair_with_std().await;
        clients.push(client);
        echoes.push(spawn(async move { echo(&served).await }));
    }
    parked(1 + CONNECTIONS).await;
    let thread = std::thread::spawn(move || {
        let mut took = Vec::new();
        let mut first = true;
        while end.try_recv().is_err() {
            let began = Instant::now();
            for (number, client) in clients.iter_mut().enumerate() {
                if first && number == CONNECTIONS / 2 {
                    wakes_blocker.write_all(b"x").unwrap();
                }
                client.write_all(b"ping").unwrap();
            }
            first = false;
            for client in &mut clients {
                client.read_exact(&mut [0; 4]).unwrap();
                took.push(began.elapsed());
            }
        }
        took.sort();
        took
    });
    let took = spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    bad.await.unwrap();
    for task in echoes {
        task.await.unwrap();
    }
    took
}

#[test]
fn a_bad_task_delays_no_connection_of_four_workers() {
    latency_while_blocked(&[4]);
}

#[test]
fn a_bad_task_delays_no_connection_of_two_workers() {
    latency_while_blocked(&[2]);
}

/// The other workers are never without work of their own, so they do not steal.
#[test]
fn what_waits_behind_a_stuck_task_is_run_by_others_however_busy() {
    on(&[2, 4], async || {
        let stop = Arc::new(Counter::new());
        let busy: Vec<_> = (0..100)
            .map(|_| {
                let stop = stop.clone();
                spawn(async move {
                    while stop.get() == 0 {
                        yield_now().await;
                    }
                })
            })
            .collect();
        let stuck = spawn(async {
            let (done, all_done) = mpsc::channel();
            for _ in 0..10 {
                let done = done.clone();
                spawn(async move { done.send(()).unwrap() });
            }
            for _ in 0..10 {
                all_done.recv_timeout(LIMIT).unwrap();
            }
        });
        stuck.await.unwrap();
        stop.inc();
        for task in busy {
            task.await.unwrap();
        }
    });
}

#[test]
fn timers_fire_while_a_worker_is_blocked() {
    on(&[2, 4], async || {
        let (unblock, blocked) = mpsc::channel::<()>();
        let busy = spawn(async move { blocked.recv_timeout(LIMIT).unwrap() });
        let timer = spawn(async move {
            for _ in 0..20 {
                sleep(Duration::from_millis(1)).await; // time is tested
            }
            unblock.send(()).unwrap();
        });
        busy.await.unwrap();
        timer.await.unwrap();
    });
}

#[test]
fn what_a_busy_task_made_ready_is_run_by_others() {
    on(&[2, 4], async || {
        for _ in 0..10 {
            let (done, finished) = mpsc::channel();
            let busy = spawn(async move {
                // It goes into the slot of a worker that is not free for long.
                drop(spawn(async move { done.send(()).unwrap() }));
                finished.recv_timeout(LIMIT / 4)
            });
            assert_eq!(busy.await.unwrap(), Ok(()));
        }
    });
}

#[test]
fn the_queue_of_a_busy_worker_is_emptied_by_others() {
    on(&[2, 4], async || {
        let (done, finished) = mpsc::channel();
        let busy = spawn(async move {
            for _ in 0..100 {
                let done = done.clone();
                drop(spawn(async move { done.send(()).unwrap() }));
            }
            (0..100).all(|_| finished.recv_timeout(LIMIT / 4).is_ok())
        });
        assert!(busy.await.unwrap());
    });
}
