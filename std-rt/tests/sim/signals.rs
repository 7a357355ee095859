//! Signals to the hosts of a simulation.

use std::io::ErrorKind;
use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::signal::{self, SignalKind};
use netpoll_rt::sim::{self, Sim};
use netpoll_rt::{spawn, time};

use crate::tcp::{add_echo, echo};

#[test]
fn a_host_that_listens_is_told_and_goes_on() {
    Sim::check(20, |sim| {
        sim.client("server", async {
            let hangup = signal::signal(SignalKind::HANGUP)?;
            let stop = signal::terminate();
            let start = time::now();
            hangup.recv().await?;
            assert_eq!((time::now() - start).as_secs(), 1);
            // Two signals that nobody has received count as one.
            time::sleep(Duration::from_millis(2500)).await; // time is tested
            hangup.recv().await?;
            assert!(time::timeout(Duration::from_millis(1), hangup.recv()).await.is_err());
            stop.await?;
            assert_eq!((time::now() - start).as_secs(), 5);
            Ok(())
        });
        sim.client("operator", async {
            for _ in 0..3 {
                time::sleep(Duration::from_secs(1)).await; // time is tested
                sim::control().signal("server", SignalKind::HANGUP);
            }
            time::sleep(Duration::from_secs(2)).await; // time is tested
            sim::control().signal("server", SignalKind::TERMINATE);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn the_default_action_ends_the_process_and_its_kernel_closes_the_connections() {
    Sim::check(20, |sim| {
        add_echo(sim);
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            echo(&stream, b"x").await?;
            sim::control().signal("server", SignalKind::TERMINATE);
            assert_eq!(stream.read(&mut [0]).await?, 0);
            let error = TcpStream::connect("server:7").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            sim::control().restart("server");
            time::sleep(Duration::from_secs(1)).await; // time is tested
            echo(&TcpStream::connect("server:7").await?, b"again").await?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_stopped_process_goes_on_where_it_was() {
    let mut sim = Sim::new(1);
    add_echo(&mut sim);
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        sim::control().signal("server", SignalKind::from_raw(19));
        let start = time::now();
        spawn(async {
            time::sleep(Duration::from_secs(10)).await; // time is tested
            sim::control().signal("server", SignalKind::from_raw(18));
        });
        echo(&stream, b"x").await?;
        assert_eq!((time::now() - start).as_secs(), 10);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn the_default_action_can_be_restored_and_sigkill_always_ends() {
    let mut sim = Sim::new(1);
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        let kill = signal::signal(SignalKind::from_raw(9)).unwrap_err();
        assert_eq!(kill.kind(), ErrorKind::InvalidInput);
        let mut first = signal::ctrl_c();
        (&mut first).await?;
        signal::restore_default(SignalKind::INTERRUPT)?;
        loop {
            listener.accept().await?;
        }
    });
    sim.client("client", async {
        let connects = async || TcpStream::connect("server:7").await.is_ok();
        let pause = async || time::sleep(Duration::from_secs(1)).await; // time is tested
        pause().await;
        sim::control().signal("server", SignalKind::WINDOW_CHANGE);
        sim::control().signal("server", SignalKind::INTERRUPT);
        pause().await;
        assert!(connects().await);
        sim::control().signal("server", SignalKind::INTERRUPT);
        pause().await;
        assert!(!connects().await);
        sim::control().restart("server");
        pause().await;
        assert!(connects().await);
        sim::control().signal("server", SignalKind::from_raw(9));
        pause().await;
        assert!(!connects().await);
        Ok(())
    });
    sim.run().unwrap();
}
