//! Small programs on one host, each for one kind of fault, which thousands of seeds run in a second: the seed draws the order of
//! threads, tasks and events, and where the program does what the fault needs.
//!
//! `cargo xtask sim --ops --seeds N` runs the generated operations with N seeds.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use netpoll_rt::internal::sys::Poller;
use netpoll_rt::internal::sys::sim::urgent;
use netpoll_rt::net::{TcpListener, TcpStream, UnixStream};
use netpoll_rt::sim::{self, Faults, Sim};
use netpoll_rt::{JoinHandle, Runtime, spawn, time, yield_now};

use crate::generated;

/// The seeds of a test in a run of all tests.
const SEEDS: u64 = 50;

/// Draws a number below `end`.
fn draw(end: u64) -> u64 {
    sim::control().random_below(end)
}

/// Runs a program on a host of its own, with events and tasks in any order.
fn check<F: Future<Output = sim::Result> + 'static>(program: impl Fn() -> F + Sync) {
    Sim::check(SEEDS, |sim| {
        let mut faults = Faults::HIDDEN;
        faults.late = 0.0;
        (faults.spurious, faults.again) =
            (sim.random_below(2) as f64 / 10.0, sim.random_below(2) as f64 / 10.0);
        sim.set_faults(faults);
        sim.limit(Duration::from_secs(3600));
        sim.client("here", program());
        Ok(sim.run()?)
    });
}

/// Returns a runtime with several workers.
fn several_workers() -> io::Result<Runtime> {
    Runtime::builder().workers(2 + draw(3) as usize).pollers(draw_pollers()).build()
}

/// Draws the number of pollers of a runtime with several workers.
pub fn draw_pollers() -> usize {
    if Poller::CAN_WATCH { 1 + draw(2) as usize } else { 1 }
}

async fn join(tasks: Vec<JoinHandle<io::Result<()>>>) -> sim::Result {
    for task in tasks {
        task.await??;
    }
    Ok(())
}

#[test]
fn operations_agree_with_the_model() {
    check(|| async { generated::operations(5 + draw(20)).await });
}

/// Sends bytes back and forth; one direction at a time has one.
async fn ping_pong(rounds: u8) -> io::Result<()> {
    let (one, other) = UnixStream::pair()?;
    let answers = spawn(async move {
        for _ in 0..rounds {
            let mut byte = [0];
            other.read_exact(&mut byte).await?;
            other.write_all(&byte).await?;
        }
        Ok(())
    });
    for round in 0..rounds {
        one.write_all(&[round]).await?;
        let mut byte = [0];
        one.read_exact(&mut byte).await?;
        if byte != [round] {
            return Err(io::Error::other("another byte came back"));
        }
    }
    answers.await.map_err(io::Error::other)?
}

#[test]
fn an_event_ends_the_wait_that_begins_beside_it() {
    check(|| async {
        let runtime = several_workers()?;
        join((0..2 + draw(2)).map(|_| runtime.spawn(ping_pong(10))).collect()).await
    });
}

#[test]
fn a_descriptor_is_its_owners_alone() {
    check(|| async {
        let runtime = several_workers()?;
        let task = || async {
            for _ in 0..6 {
                ping_pong(draw(2) as u8).await?;
            }
            Ok(())
        };
        join((0..3 + draw(3)).map(|_| runtime.spawn(task())).collect()).await
    });
}

#[test]
fn a_lock_passes_by_a_reader_that_is_gone() {
    check(|| async {
        let (one, other) = UnixStream::pair()?;
        let one = Arc::new(one);
        let readers: Vec<_> = (0..3 + draw(4))
            .map(|_| {
                let one = one.clone();
                spawn(async move { one.read_exact(&mut [0]).await })
            })
            .collect();
        let mut sent = 0;
        for reader in &readers {
            if draw(2) == 0 {
                other.write_all(&[1]).await?;
                sent += 1;
            }
            for _ in 0..draw(3) {
                yield_now().await;
            }
            if draw(2) == 0 {
                reader.abort();
            }
        }
        other.write_all(&vec![1; readers.len() - sent]).await?;
        for reader in readers {
            match reader.await {
                Ok(read) => read?,
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    });
}

#[test]
fn a_wait_goes_on_without_the_other_one_of_its_task() {
    check(|| async {
        let (one, other) = UnixStream::pair()?;
        let write = spawn(async move {
            time::sleep(Duration::from_micros(100)).await; // time is tested
            other.write_all(&[1]).await
        });
        let mut first = Some(Box::pin(one.readable()));
        let mut second = pin!(one.readable());
        let mut pause = pin!(time::sleep(Duration::from_micros(1 + draw(50)))); // time is tested
        let wait = poll_fn(|cx| {
            let Some(wait) = &mut first else { return second.as_mut().poll(cx) };
            let waits = [wait.as_mut().poll(cx), second.as_mut().poll(cx)];
            if let Some(Poll::Ready(ready)) = waits.into_iter().find(Poll::is_ready) {
                return Poll::Ready(ready);
            }
            if pause.as_mut().poll(cx).is_ready() {
                // The second one is not polled again before it wakes the task.
                first = None;
            }
            Poll::Pending
        });
        wait.await?;
        Ok(write.await??)
    });
}

#[test]
fn a_copy_passes_urgent_marks() {
    check(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let pair =
            async || Ok::<_, io::Error>((TcpStream::connect(address).await?, listener.accept().await?.0));
        let ((feeder, from), (to, sink)) = (pair().await?, pair().await?);
        let copying = spawn(async move { netpoll_rt::io::copy(&from, &to).await });
        let lengths: Vec<usize> = (0..1 + draw(4)).map(|_| 1 + draw(40_000) as usize).collect();
        let length = lengths.iter().sum();
        let reading = spawn(async move {
            let mut bytes = vec![0; length];
            sink.read_exact(&mut bytes).await?;
            Ok::<_, io::Error>(bytes.iter().all(|byte| *byte == 1))
        });
        // The mark of the second one would make the first one an ordinary byte.
        let urgent_before = draw(lengths.len() as u64) as usize;
        for (index, length) in lengths.into_iter().enumerate() {
            if index == urgent_before {
                while urgent::send(feeder.as_fd(), &[2]).is_err() {
                    time::sleep(Duration::from_micros(50)).await; // time is tested
                }
            }
            feeder.write_all(&vec![1; length]).await?;
        }
        // All bytes come before the end of the stream.
        assert!(reading.await??, "other bytes came");
        drop(feeder);
        assert_eq!(copying.await??, length as u64);
        Ok(())
    });
}

#[test]
fn a_task_is_gone_when_its_runtime_is() {
    check(|| async {
        let (runtime, token, wakers) = (several_workers()?, Arc::new(()), Arc::<Mutex<Vec<_>>>::default());
        let tasks: Vec<_> = (0..1 + draw(4))
            .map(|_| {
                let (token, wakers, kind) = (token.clone(), wakers.clone(), draw(3));
                runtime.spawn(async move {
                    match kind {
                        0 => {
                            let (one, _other) = UnixStream::pair()?;
                            one.read(&mut [0]).await?;
                        }
                        1 => time::sleep(Duration::from_secs(1)).await, // time is tested
                        // Nothing but a waker outside of the runtime knows the task.
                        _ => {
                            poll_fn(|cx| {
                                wakers.lock().expect("no holder panics").push(cx.waker().clone());
                                Poll::<()>::Pending
                            })
                            .await
                        }
                    }
                    drop(token);
                    Ok::<_, io::Error>(())
                })
            })
            .collect();
        time::sleep(Duration::from_micros(draw(20))).await; // time is tested
        drop(runtime);
        assert_eq!(Arc::strong_count(&token), 1);
        for task in tasks {
            assert!(task.await.is_err_and(|error| error.is_cancelled()));
        }
        Ok(())
    });
}

#[test]
fn a_task_that_meets_a_worker_on_its_way_to_sleep_runs_at_once() {
    check(|| async {
        let runtime = several_workers()?;
        for _ in 0..20 {
            let start = Instant::now();
            runtime.spawn(async {}).await?;
            let taken = start.elapsed();
            assert!(taken < Duration::from_millis(1), "{taken:?}");
            for _ in 0..draw(3) {
                yield_now().await;
            }
        }
        Ok(())
    });
}
