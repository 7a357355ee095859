//! Which worker is woken for work, and which one polls while another runs a task.

use std::io::{Read, Write};
use std::sync::{Arc, Barrier, Mutex, mpsc};

use crate::common::*;
use netpoll_core::sync::{Counter, Flag};
use netpoll_rt::net::TcpStream;
use netpoll_rt::{Runtime, spawn};

/// The runtimes under test. Without a monitor nothing but the workers themselves finds what waits.
fn unmonitored(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).sysmon(false).build().unwrap()
}

/// Sends each byte back. Calls `on_byte` before.
fn echo(stream: Arc<TcpStream>, on_byte: impl Fn(u8) + Send + 'static) {
    drop(spawn(async move {
        let mut byte = [0];
        while stream.read(&mut byte).await.is_ok_and(|n| n == 1) {
            on_byte(byte[0]);
            stream.write_all(&byte).await.unwrap();
        }
    }));
}

fn ask(client: &mut std::net::TcpStream, byte: u8) {
    client.write_all(&[byte]).unwrap();
    let mut answer = [0];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [byte]);
}

/// A task that was made ready by the network holds its worker until another connection has had an answer. Whatever
/// the workers have learned before from short tasks, one of them polls.
#[test]
fn without_a_monitor_an_idle_worker_polls_while_another_runs_a_task() {
    let _alone = alone();
    for workers in [2, 4] {
        let runtime = unmonitored(workers);
        let (mut holds, inside, release, mut client) = held_and_served(&runtime);
        for round in 0..50 {
            (0..round).for_each(|byte| ask(&mut client, byte));
            hold(&mut holds, &inside, &release, &mut client);
        }
    }
}

/// Serves two connections. Returns the client of the one whose task holds its worker, the channels that say so and release
/// it, and the client of the other.
fn held_and_served(
    runtime: &Runtime,
) -> (std::net::TcpStream, mpsc::Receiver<()>, mpsc::Sender<()>, std::net::TcpStream) {
    let ((held, holds), (served, client)) =
        runtime.block_on(async { (pair_with_std().await, pair_with_std().await) });
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let (entered, inside) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let _guard = runtime.handle().enter();
    echo(held, move |_| {
        entered.send(()).unwrap();
        released.recv_timeout(LIMIT).unwrap();
    });
    echo(served, |_| {});
    (holds, inside, release, client)
}

/// Asks one connection while the task of the other holds its worker.
fn hold(
    holds: &mut std::net::TcpStream,
    inside: &mpsc::Receiver<()>,
    release: &mpsc::Sender<()>,
    client: &mut std::net::TcpStream,
) {
    holds.write_all(b"h").unwrap();
    inside.recv_timeout(LIMIT).unwrap();
    (0..3).for_each(|byte| ask(client, byte));
    release.send(()).unwrap();
    holds.read_exact(&mut [0]).unwrap();
}

/// As above, with a worker that looks for work when the event comes: it polls, and counts as searching.
#[test]
fn a_worker_that_spins_hands_the_poller_over() {
    let _alone = alone();
    for _ in 0..3 {
        let runtime = Runtime::builder().workers(2).sysmon(false).spin_before_park(LIMIT).build().unwrap();
        let _watch = Watch::over(runtime.handle().clone());
        let (mut holds, inside, release, mut client) = held_and_served(&runtime);
        let hits = || runtime.handle().metrics().spin_hits;
        // Until a worker has found the event by spinning. With each event another worker is woken, so it may not come to that.
        let _spins = (0..100).any(|_| {
            let before = hits();
            ask(&mut client, 1);
            hits() > before
        });
        hold(&mut holds, &inside, &release, &mut client);
    }
}

/// The task that holds a worker was spawned by a thread that is none. Whether the workers sleep then, look for work, or
/// have just polled, one of them polls while the other runs it.
#[test]
fn a_spawned_task_does_not_take_the_poller_away() {
    let _alone = alone();
    let builder = || Runtime::builder().workers(2).sysmon(false);
    for runtime in [builder(), builder().spin_before_park(LIMIT), builder().event_interval(1)] {
        let runtime = runtime.build().unwrap();
        let (served, mut client) = runtime.block_on(pair_with_std());
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let handle = runtime.handle();
        let _guard = handle.enter();
        echo(served, |_| {});
        for round in 0..1000 {
            // A moment of another length each time, in which the workers go to sleep or not.
            (0..round % 100 * 20).for_each(|_| std::hint::spin_loop());
            let (entered, inside) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            let task = spawn(async move {
                entered.send(()).unwrap();
                released.recv_timeout(LIMIT).unwrap();
            });
            inside.recv_timeout(LIMIT).unwrap();
            (0..3).for_each(|byte| ask(&mut client, byte));
            release.send(()).unwrap();
            runtime.block_on(task).unwrap();
        }
    }
}

/// Two tasks that are ready at once wait for each other in a way that blocks their workers.
fn meets(runtime: &Runtime) {
    let [a, b] = [(); 2].map(|()| runtime.block_on(pair_with_std()));
    let meeting = Arc::new(Barrier::new(2));
    let _guard = runtime.handle().enter();
    let mut clients = [a, b].map(|(stream, client)| {
        let meeting = meeting.clone();
        echo(stream, move |_| _ = meeting.wait());
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    });
    for _ in 0..100 {
        clients.iter_mut().for_each(|client| client.write_all(b"m").unwrap());
        clients.iter_mut().for_each(|client| client.read_exact(&mut [0]).unwrap());
    }
}

#[test]
fn two_ready_tasks_run_at_once_with_a_monitor_and_without() {
    let _alone = alone();
    for workers in [2, 4] {
        meets(&unmonitored(workers));
        meets(&runtime(workers));
    }
}

/// A worker that wakes up counts as searching from the moment it is woken, so a thread that spawns many tasks wakes
/// few workers.
#[test]
fn a_storm_of_tasks_wakes_few_workers() {
    const TASKS: usize = 100_000;
    let _alone = alone();
    for workers in [2, 16] {
        let runtime = runtime(workers);
        let ended = Arc::new(Counter::default());
        runtime.block_on(async {
            for _ in 0..TASKS {
                let ended = ended.clone();
                drop(spawn(async move { ended.inc() }));
            }
            until("every task has ended", || ended.get() == TASKS).await;
        });
        let parks = runtime.handle().metrics().parks;
        assert!(parks < TASKS / 10, "{parks} sleeps of {workers} workers for {TASKS} tasks");
    }
}

/// A worker that another thread has woken counts as searching. While it is in the hook it does not search.
#[test]
fn a_task_does_not_wait_for_the_hook_of_a_worker_that_was_woken() {
    let _alone = alone();
    let armed = Arc::new(Flag::new());
    let arms = armed.clone();
    let (entered, inside) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (entered, released) = (Mutex::new(entered), Mutex::new(released));
    let (parks, unparks) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
    let (park, unpark) = (parks.clone(), unparks.clone());
    let builder =
        Runtime::builder().workers(2).on_thread_park(move || park.inc()).on_thread_unpark(move || {
            unpark.inc();
            if arms.clear() {
                entered.lock().unwrap().send(()).unwrap();
                released.lock().unwrap().recv_timeout(LIMIT).unwrap();
            }
        });
    let runtime = builder.build().unwrap();
    let _watch = Watch::over(runtime.handle().clone());
    for _ in 0..20 {
        until_blocking("both workers sleep", || parks.get() == unparks.get() + 2);
        armed.set();
        let (ran, runs) = mpsc::channel();
        let told = ran.clone();
        drop(runtime.spawn(async move { told.send(()).unwrap() }));
        inside.recv_timeout(LIMIT).unwrap();
        drop(runtime.spawn(async move { ran.send(()).unwrap() }));
        (0..2).for_each(|_| runs.recv_timeout(LIMIT).unwrap());
        release.send(()).unwrap();
    }
}
