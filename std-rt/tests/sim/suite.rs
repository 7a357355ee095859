//! The suite in a simulation. Each seed draws hosts, links, faults and what goes wrong on the way, and lets clients make
//! sessions with a server, some through a proxy. A session compares each byte, error and time with what it must be; a
//! wait that nothing ends is a deadlock, which the simulation reports.
//!
//! `cargo xtask sim --seeds N` runs N seeds, and `--seed S` the seed S again.

mod chaos;
mod local;
mod servers;
mod sessions;

use std::io::{self, ErrorKind};
use std::time::Duration;

use netpoll_rt::sim::{self, Faults, Link, Sim};
use netpoll_rt::{Handle, Runtime, time};

use crate::common::until;
use crate::generated;
use crate::small::draw_pollers;

/// The seeds of a run of all tests. A build without optimizations takes ten times as long for one.
const SEEDS: u64 = 100;

/// Draws a number below `end`.
fn draw(end: u64) -> u64 {
    sim::control().random_below(end)
}

fn milliseconds(end: u64) -> Duration {
    Duration::from_micros(draw(end * 1000))
}

/// The faults of one simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    /// Nothing that TCP does not hide: every session must succeed.
    None,
    /// Links are cut for seconds, and hosts are slow.
    Links,
    /// The server loses its power: sessions may end by an error.
    Crashes,
}

impl Trouble {
    /// Returns the result of a session: an error that the trouble explains is none.
    fn judge(self, result: io::Result<()>) -> io::Result<()> {
        let explained = |error: &io::Error| {
            let kinds = [
                ErrorKind::ConnectionReset,
                ErrorKind::ConnectionRefused,
                ErrorKind::BrokenPipe,
                ErrorKind::NotConnected,
                ErrorKind::UnexpectedEof,
                ErrorKind::TimedOut,
            ];
            self == Trouble::Crashes && kinds.contains(&error.kind())
        };
        result.or_else(|error| if explained(&error) { Ok(()) } else { Err(error) })
    }
}

/// Draws the faults of the kernel.
fn draw_faults(sim: &Sim) -> Faults {
    let chance = |most: u64| sim.random_below(1 + most) as f64 / 1000.0;
    let mut faults = Faults::HIDDEN;
    (faults.interrupt, faults.again, faults.short) = (chance(100), chance(300), chance(500));
    (faults.spurious, faults.late) = (chance(300), chance(300));
    faults
}

/// Draws the properties of all links.
fn draw_link(sim: &Sim) -> Link {
    let mut link = Link::LAN;
    link.latency = Duration::from_micros(10 + sim.random_below(2000));
    link.jitter = Duration::from_micros(sim.random_below(5000));
    link.loss = sim.random_below(50) as f64 / 1000.0;
    link.duplicate = sim.random_below(200) as f64 / 1000.0;
    link.reorder = sim.random_below(2) == 0;
    link.bandwidth = (sim.random_below(4) == 0).then_some(20_000_000);
    link
}

/// Cuts links, slows hosts and takes the server's power, for a while.
async fn make_trouble(trouble: Trouble) -> sim::Result {
    let control = sim::control();
    for _ in 0..draw(6) {
        time::sleep(milliseconds(100)).await; // time is tested
        let client = ["one", "two"][draw(2) as usize];
        match (trouble, draw(3)) {
            (Trouble::None, _) => {}
            (Trouble::Crashes, 0) => {
                servers::crash(milliseconds(500)).await?;
            }
            (_, 0) => {
                control.partition_one_way("server", client);
                time::sleep(milliseconds(2000)).await; // time is tested
                control.heal("server", client);
            }
            (_, 1) => {
                control.partition(client, "server");
                time::sleep(milliseconds(2000)).await; // time is tested
                control.heal(client, "server");
            }
            _ => control.slow(client, milliseconds(3)),
        }
    }
    Ok(())
}

/// Makes sessions one after the other.
async fn task(trouble: Trouble) -> io::Result<()> {
    for _ in 0..1 + draw(3) {
        let result = match draw(13) {
            0..=2 => sessions::echo().await,
            3 => sessions::deadlines().await,
            4 => sessions::cancel().await,
            5 | 6 => sessions::readers().await,
            7 => sessions::writers().await,
            8 => sessions::close().await,
            9 => sessions::datagrams().await,
            10 => local::accept().await,
            11 => local::runtime_dropped().await,
            _ => local::timers().await,
        };
        trouble.judge(result)?;
    }
    Ok(())
}

/// Runs tasks that make sessions, on the host's own worker or on a runtime with several, and looks whether the runtime has
/// everything back.
async fn client(trouble: Trouble) -> sim::Result {
    let workers = draw(10) as usize;
    let several = || Runtime::builder().workers(workers).pollers(draw_pollers()).build();
    let runtime = (2..=4).contains(&workers).then(several).transpose()?;
    let handle = runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
    let tasks: Vec<_> = (0..1 + draw(4)).map(|_| handle.spawn(task(trouble))).collect();
    for task in tasks {
        task.await??;
    }
    until("every task has let go", || handle.metrics().tasks == 0).await;
    let metrics = handle.metrics();
    assert_eq!((metrics.waiters, metrics.descriptors), (0, 0), "{metrics:?}");
    Ok(())
}

/// Runs one seed. If it runs alone and fails, it prints everything that happened.
fn one_seed(sim: &mut Sim) -> sim::Result {
    let alone = std::env::var_os("NETPOLL_SIM_SEED").is_some();
    if alone {
        sim.keep_trace();
    }
    let ran = run(sim);
    if alone && ran.is_err() {
        println!("{}", sim.take_trace());
    }
    ran
}

fn run(sim: &mut Sim) -> sim::Result {
    sim.limit(Duration::from_secs(3600));
    sim.set_faults(draw_faults(sim));
    sim.set_links(draw_link(sim));
    let trouble = [Trouble::None, Trouble::Links, Trouble::Crashes][sim.random_below(3) as usize];
    sim.host("server", servers::server);
    sim.host("proxy", servers::proxy);
    for name in ["one", "two"] {
        sim.client(name, client(trouble));
    }
    sim.client("trouble", make_trouble(trouble));
    if sim.random_below(2) == 0 {
        sim.client("pairs", async { generated::operations(10 + draw(60)).await });
    }
    Ok(sim.run()?)
}

#[test]
fn sessions_end_as_they_must() {
    Sim::check(SEEDS, one_seed);
}

#[test]
fn several_workers_interleave_in_the_same_way_again() {
    let trace = |seed| {
        let run = move || {
            let mut sim = Sim::new(seed);
            sim.keep_trace();
            one_seed(&mut sim).unwrap();
            sim.take_trace()
        };
        std::thread::spawn(run).join().unwrap()
    };
    for seed in 0..20 {
        assert!(trace(seed) == trace(seed), "seed {seed}");
    }
}
