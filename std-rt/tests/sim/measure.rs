//! Figures of the simulation: `cargo test --release --test sim -- --nocapture measure` prints them.
//!
//! A build with debug assertions simulates less, as it takes ten times as long.

use std::time::{Duration, Instant};

use netpoll_rt::internal::sys::Poller;
use netpoll_rt::net::TcpStream;
use netpoll_rt::sim::{self, Faults, Sim};
use netpoll_rt::{Runtime, spawn, time};

use crate::tcp::{add_echo, echo};

/// The hosts beside the server, and the connections of each.
const CLIENTS: [&str; 2] = ["one", "two"];
const CONNECTIONS: usize = 50;

/// The virtual time of one run.
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 2 } else { 60 });

/// The number of runs whose traces are compared, without the variable that sets another one.
const RUNS: usize = 30;

/// The variable with the number of runs.
const RUNS_VARIABLE: &str = "NETPOLL_SIM_RUNS";

/// Adds hosts that each ask on all connections, with pauses, until the time is over.
fn add_clients(sim: &mut Sim) {
    add_echo(sim);
    for name in CLIENTS {
        sim.client(name, async {
            let tasks: Vec<_> = (0..CONNECTIONS).map(|_| spawn(ask_until_the_end())).collect();
            for task in tasks {
                task.await??;
            }
            Ok(())
        });
    }
}

async fn ask_until_the_end() -> std::io::Result<()> {
    let stream = TcpStream::connect("server:7").await?;
    while sim::control().elapsed() < TIME {
        echo(&stream, &[7; 100]).await?;
        time::sleep(Duration::from_millis(sim::control().random_below(100))).await; // time is tested
    }
    Ok(())
}

#[test]
fn measure_three_hosts_with_100_connections() {
    for (name, faults) in [("no faults", Faults::NONE), ("hidden faults", Faults::HIDDEN)] {
        let start = Instant::now();
        let mut sim = Sim::new(1);
        sim.set_faults(faults);
        add_clients(&mut sim);
        sim.run().unwrap();
        let (virtual_time, counts) = (sim.elapsed(), sim.counts());
        drop(sim);
        assert!(virtual_time >= TIME && counts.events > 1000, "{virtual_time:?}, {counts:?}");
        let real = start.elapsed().as_secs_f64();
        println!(
            "{name}: {:.0} virtual seconds a real one, {:.0} events a second, {} steps, {} faults",
            virtual_time.as_secs_f64() / real,
            counts.events as f64 / real,
            counts.steps,
            counts.faults
        );
    }
}

/// The hash of the trace of one program, which every build and machine has.
#[test]
fn the_trace_of_a_program_is_the_same_in_every_build() {
    let run = || {
        let mut sim = Sim::new(11);
        add_echo(&mut sim);
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            for n in 1..20 {
                echo(&stream, &vec![n; usize::from(n) * 100]).await?;
            }
            Ok(())
        });
        sim.run().unwrap();
        sim.trace_hash()
    };
    assert_eq!(run(), TRACE, "if the simulation was changed on purpose, put this hash here");
}

/// The hash with epoll's contract, and with poll(2)'s.
const TRACE: u64 = if Poller::EDGES { 8_914_322_592_658_590_589 } else { 5_676_786_961_542_775_222 };

/// Has threads that take turns.
async fn echo_on_two_workers() -> sim::Result {
    let runtime = Runtime::builder().workers(2).build()?;
    let exchange = async || {
        let stream = TcpStream::connect("server:7").await?;
        echo(&stream, &[7; 1000]).await
    };
    for task in [runtime.spawn(exchange()), runtime.spawn(exchange())] {
        task.await??;
    }
    Ok(())
}

#[test]
fn measure_equal_traces() {
    let run = || {
        std::thread::spawn(|| {
            let mut sim = Sim::new(12);
            sim.keep_trace();
            add_echo(&mut sim);
            for name in CLIENTS {
                sim.client(name, async {
                    let stream = TcpStream::connect("server:7").await?;
                    for n in 1..10 {
                        echo(&stream, &vec![n; usize::from(n) * 100]).await?;
                    }
                    Ok(())
                });
            }
            sim.client("several", echo_on_two_workers());
            sim.run().unwrap();
            (sim.take_trace(), sim.trace_hash())
        })
        .join()
        .unwrap()
    };
    let first = run();
    let runs = std::env::var(RUNS_VARIABLE).map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    for _ in 1..runs {
        assert!(first == run(), "a run with the same seed differs");
    }
    let hash = first.0.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    println!("replay: {runs} traces of {} bytes are equal: {hash:016x}", first.0.len());
}
