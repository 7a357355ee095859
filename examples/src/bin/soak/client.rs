//! The second process: it makes the connections and compares every byte.

use std::io::{self, Read, Write};
use std::process::exit;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_rt::time::sleep;
use netpoll_rt::{Handle, JoinHandle, Runtime, spawn};

use crate::Failure;
use crate::connection::{Load, POOL, live};
use crate::options::Options;
use crate::tally::{Figures, Line, Tally};
use crate::usage::{Held, Memory};
use crate::watchdog::{self, Watchdog};
use crate::work::Work;

/// Connections that are made at once, well below the 4096 that a Linux listener keeps waiting by default.
const WAVE: usize = 512;

/// Bytes of the file that is read meanwhile.
const WORK: usize = 4096;

pub fn run(options: &Options) -> Result<(), Failure> {
    thread::spawn(end_with_parent);
    let refused = |error: io::Error| Failure::Refused(format!("client: {error}"));
    let mut builder = Runtime::builder().workers(options.workers);
    if options.limits {
        // So that threads are started again and again.
        builder = builder.thread_keep_alive(Duration::from_millis(20));
    }
    let runtime = builder.build().map_err(refused)?;
    let handle = runtime.handle().clone();
    let before = Held::now(&handle).map_err(refused)?;
    let mut pool = vec![0; POOL];
    fastrand::Rng::with_seed(0).fill(&mut pool);
    let tally = Arc::new(Tally::default());
    let work = options.limits.then(|| Work::new(&pool[..WORK])).transpose().map_err(refused)?;
    let load = Arc::new(Load { pool, tally, work, pause: options.pause, end: OnceLock::new() });
    let watching = {
        let load = load.clone();
        thread::spawn(move || watch(&handle, &load))
    };
    runtime.block_on(drive(options, &load));
    let memory = watching.join().unwrap_or_default();
    if let Err(fault) = Held::settles_at(before, runtime.handle()) {
        give_up(&format!("the client: {fault}"));
    }
    let mut figures = load.tally.figures();
    figures.extend(memory_of(&memory));
    let threads = runtime.metrics().blocking_threads_refused;
    figures.push(("threads refused".to_owned(), threads as u64));
    say(&Line::write("done", &figures));
    Ok(())
}

/// Our standard input is a pipe whose other end the parent holds: it ends when the parent does.
fn end_with_parent() {
    // Whether it ended or broke, nobody is there any more.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    exit(1);
}

/// Looks twice a second and says once a second how far it is, until the time is over.
fn watch(handle: &Handle, load: &Load) -> Memory {
    let (mut watchdog, mut memory) = (Watchdog::default(), Memory::default());
    let is_over = || load.end.get().is_some_and(|&end| Instant::now() >= end);
    while !is_over() {
        for _ in 0..2 {
            thread::sleep(watchdog::EACH);
            if let Err(fault) = watchdog.look(handle, &load.tally) {
                give_up(&format!("the client: {fault}"));
            }
        }
        if load.end.get().is_some() {
            memory.sample();
        }
        say(&Line::write("tick", &load.tally.figures()));
    }
    memory
}

fn memory_of(memory: &Memory) -> Figures {
    let [early, late] = memory.early_and_late().unwrap_or_default();
    vec![("client KiB early".to_owned(), early), ("client KiB late".to_owned(), late)]
}

/// Starts all, in waves, lets them run for the length, and waits for their end.
async fn drive(options: &Options, load: &Arc<Load>) {
    let mut lives = Vec::with_capacity(options.conns);
    for number in 0..options.conns {
        let address = options.addrs[number % options.addrs.len()];
        lives.push(spawn(faultless(live(number, address, load.clone()))));
        while number + 1 > load.tally.opened.get() + WAVE {
            sleep(Duration::from_millis(1)).await;
        }
    }
    while load.tally.opened.get() < options.conns {
        sleep(Duration::from_millis(1)).await;
    }
    load.end.get_or_init(|| Instant::now() + options.length);
    for life in lives {
        finished(life).await;
    }
}

/// A fault ends the client where it happens, not when its turn comes to be awaited.
async fn faultless(life: impl Future<Output = Result<(), String>>) {
    if let Err(fault) = life.await {
        give_up(&fault);
    }
}

async fn finished(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        give_up(&error.to_string());
    }
}

fn give_up(fault: &str) -> ! {
    say(&format!("fault {fault}"));
    exit(1)
}

fn say(line: &str) {
    let mut output = io::stdout().lock();
    if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
        // The parent is gone.
        exit(1);
    }
}
