//! Programs of tokio, on the package of tokio's name that has netpoll-rt within, in the simulation; empty without
//! `--cfg netpoll_sim`. `cargo xtask sim tokio` runs it.
#![cfg(netpoll_sim)]

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use netpoll_rt::sim::{self, Faults, Link, Sim};
use netpoll_simulated_tokio::counter::{self, Client, LIMIT};
use netpoll_simulated_tokio::{BoxError, PORT, datagrams, store};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// The seeds of each test.
const SEEDS: u64 = 50;

/// Returns bytes that are not all equal.
fn bytes(n: usize) -> Bytes {
    (0..n).map(|i| (i % 251) as u8).collect::<Vec<_>>().into()
}

async fn add(client: &Client, n: u64) -> Result<u64, BoxError> {
    let sum = client.request("server", Method::POST, &format!("/add/{n}"), Bytes::new()).await?;
    Ok(std::str::from_utf8(&sum)?.parse()?)
}

#[test]
fn a_server_of_axum_answers_clients_on_several_hosts() {
    Sim::check(SEEDS, |sim| {
        sim.host("server", counter::serve);
        for name in ["one", "two", "three"] {
            sim.client(name, async {
                let client = Client::default();
                let tasks: Vec<_> = (1..=10)
                    .map(|n| {
                        let client = client.clone();
                        tokio::spawn(async move { add(&client, n).await })
                    })
                    .collect();
                let mut largest = 0;
                for task in tasks {
                    largest = largest.max(task.await??);
                }
                assert!((55..=165).contains(&largest), "{largest}");
                let echoed = client.request("server", Method::POST, "/echo", bytes(100_000)).await?;
                assert_eq!(echoed, bytes(100_000));
                Ok(())
            });
        }
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_timeout_of_tokio_ends_a_request_across_a_partition() {
    Sim::check(SEEDS, |sim| {
        sim.host("server", counter::serve);
        sim.client("client", async {
            let (control, client) = (sim::control(), Client::default());
            let slow = || client.request("server", Method::GET, "/slow/1000", Bytes::new());
            slow().await?;
            control.partition("client", "server");
            let start = Instant::now();
            let error = slow().await.unwrap_err();
            assert!(error.is::<tokio::time::error::Elapsed>(), "{error}");
            let waited = start.elapsed();
            assert!(waited >= LIMIT && waited < LIMIT + Duration::from_millis(100), "{waited:?}");
            control.heal("client", "server");
            // The link sends the segments that it held back when they are next repeated.
            sleep(Duration::from_secs(10)).await; // time is tested
            slow().await?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_program_of_tokio_that_crashed_serves_again() {
    Sim::check(SEEDS, |sim| {
        sim.host("server", counter::serve);
        sim.client("client", async {
            let (control, client) = (sim::control(), Client::default());
            assert_eq!((add(&client, 1).await?, add(&client, 1).await?), (1, 2));
            control.crash("server");
            sleep(Duration::from_secs(1)).await; // time is tested
            control.restart("server");
            sleep(Duration::from_secs(1)).await; // time is tested
            // The first request may go out on a connection of the pool that the server has forgotten.
            let again = match add(&client, 1).await {
                Ok(sum) => sum,
                Err(_) => add(&client, 1).await?,
            };
            // The sum was in memory.
            assert_eq!(again, 1);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn datagrams_that_are_lost_are_sent_again() {
    Sim::check(SEEDS, |sim| {
        let mut link = Link::LAN;
        (link.loss, link.duplicate, link.reorder) = (0.2, 0.2, true);
        sim.set_links(link);
        sim.host("server", async || Ok(datagrams::serve().await?));
        for name in ["one", "two"] {
            sim.client(name, async {
                let start = Instant::now();
                let sent = datagrams::count("server", 40).await?;
                assert!(sent >= 40, "{sent}");
                // Each number but the first waits for a tick.
                assert!(start.elapsed() >= datagrams::PAUSE * (sent - 1), "{:?}", start.elapsed());
                Ok(())
            });
        }
        sim.run()?;
        Ok(())
    });
}

#[test]
fn halves_and_channels_of_tokio_keep_every_line() {
    Sim::check(SEEDS, |sim| {
        sim.host("server", store::serve);
        for name in ["one", "two", "three"] {
            sim.client(name, async {
                let last = store::store("server", 30).await?;
                assert!((30..=90).contains(&last), "{last}");
                Ok(())
            });
        }
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_silent_connection_ends_after_its_virtual_time() {
    Sim::check(SEEDS, |sim| {
        sim.host("server", store::serve);
        sim.client("client", async {
            let start = Instant::now();
            let mut stream = TcpStream::connect(("server", PORT)).await?;
            assert_eq!(timeout(store::SILENCE * 2, stream.read(&mut [0; 9])).await??, 0);
            let waited = start.elapsed();
            assert!(
                waited >= store::SILENCE && waited < store::SILENCE + Duration::from_secs(1),
                "{waited:?}"
            );
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn sockets_of_std_are_simulated() {
    Sim::check(SEEDS, |sim| {
        // The program makes calls without a wait for readiness.
        sim.set_faults(Faults::NONE);
        sim.client("client", async {
            let from = std::net::UdpSocket::bind("0.0.0.0:0")?;
            let to = std::net::UdpSocket::bind("0.0.0.0:0")?;
            to.set_nonblocking(true)?;
            let port = to.local_addr()?.port();
            assert_eq!(to.recv_from(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            from.send_to(b"hello", ("client", port))?;
            let to = tokio::net::UdpSocket::from_std(to)?;
            let (mut buffer, source) = ([0; 9], from.local_addr()?.port());
            let (n, sender) = to.recv_from(&mut buffer).await?;
            assert_eq!((&buffer[..n], sender.port()), (&b"hello"[..], source));
            let unknown = std::net::ToSocketAddrs::to_socket_addrs(&("nowhere", 1)).map(drop);
            assert!(unknown.is_err());
            let (one, other) = std::os::unix::net::UnixStream::pair()?;
            let copy = one.try_clone()?;
            drop(one);
            io::Write::write_all(&mut &copy, b"pair")?;
            let mut buffer = [0; 9];
            assert_eq!(io::Read::read(&mut &other, &mut buffer)?, 4);
            drop(copy);
            assert_eq!(io::Read::read(&mut &other, &mut buffer)?, 0);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn one_seed_of_a_program_of_tokio_has_one_trace() {
    let run = |seed| {
        let traced = move || {
            let mut sim = Sim::new(seed);
            sim.host("server", counter::serve);
            sim.client("client", async {
                let client = Client::default();
                for n in 0..10 {
                    add(&client, n).await?;
                }
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
