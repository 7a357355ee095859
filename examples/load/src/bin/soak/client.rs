//! The client: it makes the connections and compares every byte.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_load::{Failure, Line, MessagePool, end_with_parent, give_up};
use netpoll_rt::time::sleep;
use netpoll_rt::{Handle, Runtime, spawn};

use crate::Options;
use crate::connection::{Load, live};
use crate::limits::ChangingLimits;
use crate::tally::Tally;
use crate::usage::{Held, Memory};
use crate::watchdog::{self, Watchdog};
use crate::work::Work;

/// Connections that are made at once, well below the 4096 that a Linux listener queues by default.
const WAVE: usize = 512;

pub fn run(options: &Options) -> Result<(), Failure> {
    end_with_parent();
    let refused = |error: io::Error| Failure::Refused(format!("client: {error}"));
    let mut builder = Runtime::builder().workers(options.workers);
    if options.limits {
        // Blocking threads end soon, so that new ones have to be started.
        builder = builder.thread_keep_alive(Duration::from_millis(20));
    }
    let runtime = builder.build().map_err(refused)?;
    let handle = runtime.handle().clone();
    let before = Held::now(&handle).map_err(refused)?;
    let load = Arc::new(Load {
        pool: MessagePool::default(),
        tally: Tally::default(),
        work: options.limits.then(Work::new).transpose().map_err(refused)?,
        pause: options.pause,
        end: OnceLock::new(),
    });
    let limits = options.limits.then(ChangingLimits::start);
    let watching = {
        let load = load.clone();
        thread::spawn(move || watch(&handle, &load))
    };
    runtime.block_on(drive(options, &load));
    let memory = watching.join().unwrap_or_default();
    let stopped = limits.map(ChangingLimits::stop).transpose();
    let settled = stopped.and_then(|_| Held::settles_at(before, runtime.handle()));
    settled.unwrap_or_else(|fault| give_up(&format!("the client: {fault}")));
    let [early, late] = memory.early_and_late().unwrap_or_default();
    let refused = runtime.metrics().blocking_threads_refused as u64;
    let mut figures = load.tally.figures();
    let more = [("client KiB early", early), ("client KiB late", late), ("threads refused", refused)];
    figures.extend(more.map(|(name, number)| (name.to_owned(), number)));
    Line::Done(figures).say();
    Ok(())
}

/// Runs the watchdog twice a second and reports the figures once a second, until the time is over.
fn watch(handle: &Handle, load: &Load) -> Memory {
    let (mut watchdog, mut memory) = (Watchdog::default(), Memory::default());
    let is_over = || load.end.get().is_some_and(|&end| Instant::now() >= end);
    while !is_over() {
        for _ in 0..2 {
            thread::sleep(watchdog::INTERVAL);
            if let Err(fault) = watchdog.check(handle, &load.tally) {
                give_up(&format!("the client: {fault}"));
            }
        }
        if load.end.get().is_some() {
            memory.sample();
        }
        Line::Tick(load.tally.figures()).say();
    }
    memory
}

/// Starts all connections, in waves, lets them run for the length of the soak and waits for their end.
async fn drive(options: &Options, load: &Arc<Load>) {
    let mut lives = Vec::with_capacity(options.conns);
    for number in 0..options.conns {
        let life = live(number, options.addrs[number % options.addrs.len()], load.clone());
        // A fault ends the client where it happens, not when this function comes to await the task.
        lives.push(spawn(async { life.await.unwrap_or_else(|fault| give_up(&fault)) }));
        while number + 1 > load.tally.opened.get() + WAVE {
            sleep(Duration::from_millis(1)).await;
        }
    }
    while load.tally.opened.get() < options.conns {
        sleep(Duration::from_millis(1)).await;
    }
    load.end.get_or_init(|| Instant::now() + options.length);
    for life in lives {
        life.await.unwrap_or_else(|error| give_up(&error.to_string()));
    }
}
