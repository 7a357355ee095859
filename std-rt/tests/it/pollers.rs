//! A runtime of several of the kernel's pollers.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::common::fork::forked;
use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::net::TcpStream;
use netpoll_rt::task::block_in_place;
use netpoll_rt::time::sleep;
use netpoll_rt::{Builder, Runtime, runtime_ended, spawn};

/// The number of sockets of a test: several for each poller.
const SOCKETS: usize = 16;

fn builder(workers: usize, pollers: usize) -> Builder {
    Runtime::builder().workers(workers).pollers(pollers)
}

/// Runs `body` with four workers and one, two and four pollers. Nothing is left afterwards.
fn each_number(body: impl AsyncFn()) {
    let _alone = alone();
    for pollers in [1, 2, 4] {
        let runtime = builder(4, pollers).build().unwrap();
        let handle = runtime.handle().clone();
        assert_eq!(handle.metrics().pollers, if Poller::CAN_WATCH { pollers } else { 1 });
        let watch = Watch::over(handle.clone());
        runtime.block_on(body());
        drop(runtime);
        drop(watch);
        assert_nothing_left(&handle);
    }
}

/// Sends everything back until the end.
async fn echo(stream: Arc<TcpStream>) {
    let mut buffer = [0; 64];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..n]).await.unwrap();
    }
}

#[test]
fn a_runtime_has_no_more_pollers_than_workers() {
    let _alone = alone();
    for (workers, asked, has) in [(1, 4, 1), (2, 4, 2), (4, 32, 4)] {
        let runtime = builder(workers, asked).build().unwrap();
        assert_eq!(runtime.metrics().pollers, if Poller::CAN_WATCH { has } else { 1 });
    }
    for wrong in [0, 33] {
        let error = builder(2, wrong).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("pollers"), "{error}");
    }
}

#[test]
fn accepted_connections_are_echoed() {
    each_number(async || {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let server = spawn(async move {
            let mut echoes = Vec::new();
            for _ in 0..SOCKETS {
                let (stream, _) = listener.accept().await.unwrap();
                echoes.push(spawn(echo(Arc::new(stream))));
            }
            for echo in echoes {
                echo.await.unwrap();
            }
        });
        let clients = (0..SOCKETS).map(|_| async move {
            let stream = TcpStream::connect(address).await.unwrap();
            for round in 0..50u32 {
                stream.write_all(&round.to_le_bytes()).await.unwrap();
                let mut answer = [0; 4];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(u32::from_le_bytes(answer), round);
            }
        });
        for client in clients.map(spawn).collect::<Vec<_>>() {
            client.await.unwrap();
        }
        server.await.unwrap();
    });
}

#[test]
fn a_close_wakes_the_reader_of_each_socket() {
    each_number(async || {
        let mut readers = Vec::new();
        for _ in 0..SOCKETS {
            let (a, b) = pair().await;
            readers.push((reader(&a), a, b));
        }
        parked(SOCKETS).await;
        for (read, a, _peer) in readers {
            a.close().await.unwrap();
            assert_closed(read.await.unwrap());
        }
    });
}

#[test]
fn a_deadline_ends_the_read_of_each_socket() {
    each_number(async || {
        let mut readers = Vec::new();
        for number in 0..SOCKETS {
            let (a, b) = pair().await;
            let read = reader(&a);
            parked(number + 1).await;
            readers.push((read, a, b));
        }
        for (number, (_, a, _)) in readers.iter().enumerate() {
            a.set_read_deadline(in_ms(1 + number as u64 % 5)).unwrap(); // time is tested
        }
        for (read, ..) in readers {
            assert_timed_out(read.await.unwrap());
        }
    });
}

#[test]
fn timers_of_all_workers_fire() {
    each_number(async || {
        let sleepers = (0..100u64).map(|n| {
            spawn(async move {
                for _ in 0..5 {
                    sleep(Duration::from_micros(100 * (n % 30))).await; // time is tested
                }
            })
        });
        for sleeper in sleepers.collect::<Vec<_>>() {
            sleeper.await.unwrap();
        }
    });
}

#[test]
fn the_end_of_the_runtime_ends_every_wait() {
    let _alone = alone();
    for pollers in [1, 2, 4] {
        let runtime = builder(4, pollers).build().unwrap();
        let other = builder(2, 2).build().unwrap();
        let _watch = Watch::over(other.handle().clone());
        let sockets: Vec<_> = runtime.block_on(async {
            let mut sockets = Vec::new();
            for _ in 0..SOCKETS {
                sockets.push(pair().await);
            }
            sockets
        });
        // Tasks of another runtime wait for the descriptors of this one.
        let entered = other.handle().enter();
        let reads: Vec<_> = sockets.iter().map(|(a, _)| reader(a)).collect();
        drop(entered);
        until_blocking("all wait", || runtime.metrics().waiters == SOCKETS);
        drop(runtime);
        for read in reads {
            let error = other.block_on(read).unwrap().unwrap_err();
            assert!(runtime_ended(&error), "{error}");
        }
    }
}

#[test]
fn a_forked_child_leaves_the_pollers_alone() {
    let _alone = alone();
    for pollers in [1, 2, 4] {
        let runtime = builder(4, pollers).build().unwrap();
        let _watch = Watch::over(runtime.handle().clone());
        let sockets: Vec<_> = runtime.block_on(async {
            let mut sockets = Vec::new();
            for _ in 0..SOCKETS {
                sockets.push(pair().await);
            }
            sockets
        });
        let mut kept = Some((runtime, sockets));
        forked(|| drop(kept.take())).well();
        let (runtime, sockets) = kept.expect("only the child has taken it");
        runtime.block_on(async {
            for (a, b) in &sockets {
                let read = reader(a);
                b.write_all(b"alive").await.unwrap();
                assert_eq!(read.await.unwrap().unwrap(), b"alive");
            }
        });
    }
}

#[test]
fn sockets_are_served_while_every_worker_blocks_in_place() {
    each_number(async || {
        let (stop, stopped) = mpsc::channel::<()>();
        let stopped = Arc::new(std::sync::Mutex::new(stopped));
        let blocked: Vec<_> = (0..4)
            .map(|_| {
                let stopped = stopped.clone();
                spawn(async move { block_in_place(|| stopped.lock().unwrap().recv().unwrap()) })
            })
            .collect();
        let served = spawn(async {
            for _ in 0..SOCKETS {
                let (a, b) = pair().await;
                let read = reader(&a);
                b.write_all(b"x").await.unwrap();
                assert_eq!(read.await.unwrap().unwrap(), b"x");
            }
        });
        served.await.unwrap();
        (0..4).for_each(|_| stop.send(()).unwrap());
        for task in blocked {
            task.await.unwrap();
        }
    });
}

/// All workers but one are held, each by a task that an event has woken, until the byte of another connection was sent back:
/// without a monitor nothing else would end that.
async fn served_beside_tasks_that_hold_their_worker(workers: usize, rounds: usize) {
    let held = Arc::new(Counter::new());
    let (mut clients, mut holders, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SOCKETS {
        let (served, client) = pair_with_std().await;
        clients.push(client);
        tasks.push(spawn(echo(served)));
        let (holder, wakes) = pair_with_std().await;
        let (release, released) = mpsc::channel::<()>();
        holders.push((wakes, release));
        let held = held.clone();
        tasks.push(spawn(async move {
            while let Ok(1) = holder.read(&mut [0]).await {
                held.inc();
                released.recv_timeout(LIMIT).unwrap();
            }
        }));
    }
    parked(2 * SOCKETS).await;
    let thread = std::thread::spawn(move || {
        for round in 0..rounds {
            let before = held.get();
            let chosen: Vec<_> = (1..workers).map(|i| (7 * round + 3 * i) % SOCKETS).collect();
            for &number in &chosen {
                holders[number].0.write_all(b"h").unwrap();
            }
            until_blocking("they hold their workers", || held.get() == before + chosen.len());
            for i in 0..3 {
                let client = &mut clients[(5 * round + i) % SOCKETS];
                client.write_all(b"ping").unwrap();
                client.read_exact(&mut [0; 4]).unwrap();
            }
            chosen.iter().for_each(|&number| holders[number].1.send(()).unwrap());
        }
    });
    netpoll_rt::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn no_event_waits_while_a_worker_sleeps() {
    let _alone = alone();
    for (workers, pollers) in [(2, 1), (2, 2), (4, 2), (4, 4)] {
        for (monitor, rounds) in [(false, 300), (true, 30)] {
            let runtime = builder(workers, pollers).sysmon(monitor).build().unwrap();
            let _watch = Watch::over(runtime.handle().clone());
            runtime.block_on(served_beside_tasks_that_hold_their_worker(workers, rounds));
        }
    }
}

/// A task arms a timer for another one and holds its worker until that has fired.
#[test]
fn timers_fire_beside_tasks_that_hold_their_worker() {
    let _alone = alone();
    for (workers, pollers) in [(2, 1), (2, 2), (4, 4)] {
        let runtime = builder(workers, pollers).sysmon(false).build().unwrap();
        let _watch = Watch::over(runtime.handle().clone());
        runtime.block_on(async {
            for _ in 0..50 {
                let (fired, fires) = mpsc::channel();
                let sleeper = spawn(async move {
                    for _ in 0..5 {
                        sleep(Duration::from_micros(200)).await; // time is tested
                    }
                    fired.send(()).unwrap();
                });
                spawn(async move { fires.recv_timeout(LIMIT).unwrap() }).await.unwrap();
                sleeper.await.unwrap();
            }
        });
    }
}
