//! hyper and axum in the simulation of netpoll-rt; empty without `--cfg netpoll_sim`. `cargo xtask sim`
//! runs it.
#![cfg(netpoll_sim)]

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use netpoll_rt::sim::{self, Sim};
use netpoll_rt::time;
use netpoll_simulated::axum_sum::{self, LIMIT};
use netpoll_simulated::hyper_echo::{self, Client};

const SEEDS: u64 = 50;

fn bytes(n: usize) -> Bytes {
    (0..n).map(|i| (i % 251) as u8).collect::<Vec<_>>().into()
}

fn add_hyper(sim: &mut Sim) {
    sim.host("server", async || match hyper_echo::serve().await? {});
}

fn add_axum(sim: &mut Sim) {
    sim.host("server", async || match axum_sum::serve().await? {});
}

#[test]
fn hyper_echoes_bodies_of_every_length() {
    Sim::check(SEEDS, |sim| {
        add_hyper(sim);
        for name in ["one", "two"] {
            sim.client(name, async {
                let mut client = Client::connect("server").await?;
                for n in [0, 1, 1_000, 100_000, 3] {
                    assert_eq!(client.echo(bytes(n)).await?, bytes(n));
                }
                Ok(())
            });
        }
        sim.run()?;
        Ok(())
    });
}

#[test]
fn hypers_timer_is_that_of_the_simulation() {
    Sim::check(SEEDS, |sim| {
        add_hyper(sim);
        sim.client("client", async {
            let mut client = Client::connect("server").await?;
            assert_eq!(client.echo(bytes(9)).await?, bytes(9));
            // The server ends a connection without a request in time.
            time::sleep(hyper_echo::HEAD + Duration::from_secs(1)).await; // time is tested
            assert!(client.echo(bytes(9)).await.is_err());
            Ok(())
        });
        sim.run()?;
        assert!(sim.elapsed() < Duration::from_secs(7), "{:?}", sim.elapsed());
        Ok(())
    });
}

#[test]
fn axum_answers_many_tasks() {
    Sim::check(SEEDS, |sim| {
        add_axum(sim);
        sim.client("client", async {
            assert_eq!(axum_sum::add_at_once("server", 20).await?, 210);
            let echoed = axum_sum::request("server", Method::POST, "/echo", bytes(200_000)).await?;
            assert_eq!(echoed, bytes(200_000));
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_timeout_ends_a_request_across_a_partition() {
    Sim::check(SEEDS, |sim| {
        add_axum(sim);
        sim.client("client", async {
            let control = sim::control();
            let slow = || axum_sum::request("server", Method::GET, "/slow/1000", Bytes::new());
            slow().await?;
            control.partition("client", "server");
            let start = control.elapsed();
            let error = slow().await.unwrap_err();
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            assert_eq!(kind, Some(io::ErrorKind::TimedOut), "{error}");
            let waited = control.elapsed() - start;
            assert!(waited >= LIMIT && waited < LIMIT + Duration::from_millis(100), "{waited:?}");
            control.heal("client", "server");
            // The link sends the segments that it held back when they are next repeated.
            time::sleep(Duration::from_secs(10)).await; // time is tested
            slow().await?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_server_of_axum_that_crashed_serves_again() {
    Sim::check(SEEDS, |sim| {
        add_axum(sim);
        sim.client("client", async {
            let control = sim::control();
            let add = || axum_sum::request("server", Method::POST, "/add/1", Bytes::new());
            assert_eq!((&*add().await?, &*add().await?), (&b"1"[..], &b"2"[..]));
            control.crash("server");
            time::sleep(Duration::from_secs(1)).await; // time is tested
            control.restart("server");
            time::sleep(Duration::from_secs(1)).await; // time is tested
            // The sum was in memory.
            assert_eq!(&*add().await?, b"1");
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn one_seed_has_one_trace() {
    let run = |seed| {
        let traced = move || {
            let mut sim = Sim::new(seed);
            add_axum(&mut sim);
            sim.client("client", async {
                axum_sum::add_at_once("server", 10).await?;
                Ok(())
            });
            sim.run().unwrap();
            sim.trace_hash()
        };
        // The keys of hash maps are drawn from the seed on a thread that has made none.
        std::thread::spawn(traced).join().unwrap()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
