//! UDP in a simulation.

use std::io::ErrorKind;
use std::time::Duration;

use netpoll_rt::net::UdpSocket;
use netpoll_rt::sim::{self, Faults, Link, Sim};
use netpoll_rt::time;

/// Adds a host that keeps the numbers that it is sent, until none has come for a second, and checks them.
fn add_sink(sim: &mut Sim, check: impl Fn(&[u32]) + Clone + 'static) {
    sim.client("sink", async move {
        let socket = UdpSocket::bind("0.0.0.0:9").await?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let (mut numbers, mut bytes) = (Vec::new(), [0; 4]);
        loop {
            match socket.recv_from(&mut bytes).await {
                Ok((4, from)) => {
                    assert_eq!(from.ip().to_string(), "10.0.0.2");
                    numbers.push(u32::from_be_bytes(bytes));
                }
                Ok((n, _)) => return Err(format!("{n} bytes").into()),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => return Err(error.into()),
            }
        }
        check(&numbers);
        Ok(())
    });
}

fn add_source(sim: &mut Sim, count: u32) {
    sim.client("source", async move {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        for number in 0..count {
            let to = ("sink", 9);
            socket.send_to(&number.to_be_bytes(), to).await?;
            time::sleep(Duration::from_micros(10)).await; // time is tested
        }
        Ok(())
    });
}

#[test]
fn a_good_link_loses_nothing_and_keeps_the_order() {
    Sim::check(20, |sim| {
        add_sink(sim, |numbers| assert!(numbers.iter().copied().eq(0..200), "{numbers:?}"));
        add_source(sim, 200);
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_bad_link_loses_duplicates_and_reorders() {
    Sim::check(20, |sim| {
        let jitter = Duration::from_millis(2);
        sim.set_links(Link { loss: 0.1, duplicate: 0.1, reorder: true, jitter, ..Link::LAN });
        add_sink(sim, |numbers| {
            let mut sorted = numbers.to_vec();
            sorted.sort_unstable();
            assert_ne!(numbers, sorted, "no message has overtaken another one");
            sorted.dedup();
            assert!(sorted.len() < numbers.len(), "no message came twice");
            assert!((100..200).contains(&sorted.len()), "{} came", sorted.len());
        });
        add_source(sim, 200);
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_connected_socket_is_told_that_nobody_listens() {
    let mut sim = Sim::new(1);
    sim.set_faults(Faults::NONE);
    sim.host("server", std::future::pending);
    sim.client("client", async {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.connect("server:9").await?;
        socket.send(b"anybody").await?;
        let error = socket.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        sim::control().partition("client", "server");
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send(b"anybody").await?;
        let error = socket.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        Ok(())
    });
    sim.run().unwrap();
}
