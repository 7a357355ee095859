//! Sessions under everything at once, every byte compared: `cargo xtask chaos`, or `chaos --help`.
//!
//! A session is a connection with a writer and a reader at either end. Each of these four halves moves to a new task after
//! a few operations, on one of three runtimes: one that its own thread drives, one with two workers, one with four.
//! Operations have random deadlines and are cancelled at random; ends are duplicated, half-closed, closed under operations
//! and reset. A reader knows every byte that has to come, and that a clean end comes after the last one. At the end no
//! runtime has a task, a descriptor or a timer left.
//!
//! The tests of the simulation have the same sessions (`std-rt/tests/sim/suite/chaos.rs`).

mod session;
mod world;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use lexopt::{Arg, Parser};
use netpoll_load::{Failure, number};
use netpoll_rt::Runtime;
use netpoll_rt::net::TcpListener;
use netpoll_rt::time::timeout;

use session::Session;
use world::{World, begin, hold_nothing, pair};

const USAGE: &str = "\
Sessions under deadlines, cancels, duplicates, half-closes, closes, resets and moves, every byte compared.

  --minutes N    how long, 1 to 10080 (default 1)
  --seconds N    the same in seconds, 1 to 604800
  --seed N       the seed of what the sessions do, 0 to 2^63 (default 0); the order of events remains the kernel's
  --spoil        the first session sends wrong bytes, to see them found
";

/// The number of sessions at a time.
const SESSIONS: usize = 48;

/// The time after which a session that has not ended counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of workers of each runtime.
const RUNTIMES: [usize; 3] = [1, 2, 4];

struct Options {
    length: Duration,
    seed: u64,
    spoil: bool,
}

fn main() -> ExitCode {
    netpoll_load::main("chaos", USAGE, parse, |options| run(options).map_err(Failure::Broken))
}

fn parse(mut parser: Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { length: Duration::from_secs(60), seed: 0, spoil: false };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("minutes") => {
                options.length = Duration::from_secs(60 * number(&mut parser, "minutes", 1..=10_080)?);
            }
            Arg::Long("seconds") => {
                options.length = Duration::from_secs(number(&mut parser, "seconds", 1..=604_800)?)
            }
            Arg::Long("seed") => options.seed = number(&mut parser, "seed", 0..=1 << 63)?,
            Arg::Long("spoil") => options.spoil = true,
            arg => return Err(arg.unexpected()),
        }
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<(), String> {
    let built = RUNTIMES.map(|workers| Runtime::builder().workers(workers).build().map(Arc::new));
    let runtimes: Vec<_> =
        built.into_iter().collect::<Result<_, _>>().map_err(|e| format!("a runtime: {e}"))?;
    let (ends, ended) = async_channel::unbounded();
    let handles: Vec<_> = runtimes.iter().map(|runtime| runtime.handle().clone()).collect();
    // The channel is closed once the coordinator has stopped at a fault.
    let ends = move |number, result| drop(ends.try_send((number, result)));
    let world = Arc::new(World::new(handles, ends, options.spoil));
    // A runtime with one worker has no thread of its own, so that one drives it.
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let driver = {
        let runtime = runtimes[0].clone();
        // The channel is closed at the end, which ends the future with an error.
        thread::spawn(move || runtime.block_on(stopped.recv()).is_err())
    };
    let began = Instant::now();
    let sessions = runtimes[1].block_on(keep_up(&world, &ended, began + options.length, options.seed));
    let sessions = sessions.inspect_err(|_| dump(&world))?;
    let left = nothing_left(&world);
    drop(stop);
    driver.join().map_err(|_| "the thread that drives a runtime has panicked".to_owned())?;
    left?;
    println!("{sessions} sessions in {:.1} s", began.elapsed().as_secs_f64());
    for (name, count) in world.tally.rows() {
        println!("{name:<26} {count:>14}");
    }
    if let Some((name, _)) = world.tally.rows().into_iter().find(|&(_, count)| count == 0) {
        return Err(format!("a part of the chaos did nothing: {name} 0"));
    }
    println!("chaos: {sessions} sessions, {} bytes, every one as it was sent", world.tally.bytes.get());
    Ok(())
}

/// Keeps the number of sessions up until the time is over. Returns how many there were.
async fn keep_up(
    world: &Arc<World>,
    ended: &Receiver<(u64, Result<(), String>)>,
    end: Instant,
    seed: u64,
) -> Result<u64, String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut listeners = Vec::new();
    for handle in &world.handles {
        let listener = handle.spawn(TcpListener::bind("127.0.0.1:0")).await.map_err(|e| e.to_string())?;
        listeners.push(Arc::new(listener.map_err(|e| e.to_string())?));
    }
    let (mut living, mut number) = (HashMap::new(), 0);
    loop {
        while living.len() < SESSIONS && Instant::now() < end {
            let which = rng.usize(..listeners.len());
            let pair = world.handles[which].spawn(pair(listeners[which].clone()));
            let ends = pair.await.map_err(|e| e.to_string())?.map_err(|e| format!("a connection: {e}"))?;
            begin(world, Session::new(number, rng.u64(..)), ends);
            living.insert(number, (4, Instant::now()));
            number += 1;
        }
        if living.is_empty() {
            return Ok(number);
        }
        let told = timeout(PATIENCE, ended.recv()).await;
        let (which, result) =
            told.map_err(|_| format!("nothing has ended for {PATIENCE:?}"))?.map_err(|e| e.to_string())?;
        result.map_err(|fault| format!("session {which}: {fault}"))?;
        if let Some((left, _)) = living.get_mut(&which) {
            *left -= 1;
        }
        living.retain(|_, (left, _)| *left > 0);
        if let Some((which, _)) = living.iter().find(|(_, (_, began))| began.elapsed() > PATIENCE) {
            return Err(format!("session {which} has not ended for {PATIENCE:?}"));
        }
    }
}

/// Waits until the runtimes hold nothing. Returns an error if they still hold something after 30 seconds.
fn nothing_left(world: &World) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let Err(held) = hold_nothing(&world.handles) else { return Ok(()) };
        if began.elapsed() > PATIENCE {
            dump(world);
            return Err(format!("{PATIENCE:?} after the end the runtimes still hold something: {held}"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn dump(world: &World) {
    world.handles.iter().for_each(|handle| eprintln!("{}", handle.dump()));
}
