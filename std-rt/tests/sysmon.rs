//! A task that keeps its worker busy keeps nobody else waiting.

mod common;

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use common::*;
use netpoll_rt::net::TcpStream;
use netpoll_rt::spawn;
use netpoll_rt::time::sleep;

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

#[test]
fn timers_fire_while_a_worker_is_blocked() {
    on(&[2, 4], async || {
        let (unblock, blocked) = mpsc::channel::<()>();
        let busy = spawn(async move { blocked.recv_timeout(LIMIT).unwrap() });
        let timer = spawn(async move {
            for _ in 0..20 {
                sleep(Duration::from_millis(1)).await; // time is what is tested
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
