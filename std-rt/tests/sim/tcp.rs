//! TCP in a simulation.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::sim::{self, Faults, Link, Sim};
use netpoll_rt::{spawn, time};

/// Adds a host that sends back what it gets.
pub fn add_echo(sim: &mut Sim) {
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            spawn(async move {
                let mut buffer = vec![0; 4096];
                loop {
                    let n = stream.read(&mut buffer).await?;
                    if n == 0 {
                        return stream.shutdown(Shutdown::Write);
                    }
                    stream.write_all(&buffer[..n]).await?;
                }
            });
        }
    });
}

/// Sends bytes and reads them back.
pub async fn echo(stream: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).await?;
    assert_eq!(bytes, back);
    Ok(())
}

#[test]
fn echo_takes_the_time_of_the_link() {
    let mut sim = Sim::new(1);
    let latency = Duration::from_millis(50);
    sim.set_links(Link { latency, jitter: Duration::ZERO, ..Link::LAN });
    sim.set_faults(Faults::NONE);
    add_echo(&mut sim);
    sim.client("client", async move {
        let start = time::now();
        let stream = TcpStream::connect("server:7").await?;
        let connected = start.elapsed();
        assert!(
            connected >= 2 * latency && connected < 2 * latency + Duration::from_millis(1),
            "{connected:?}"
        );
        echo(&stream, b"one").await?;
        let echoed = time::now() - start;
        assert!(echoed >= 4 * latency && echoed < 4 * latency + Duration::from_millis(1), "{echoed:?}");
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn bytes_arrive_whole_with_every_hidden_fault() {
    Sim::check(20, |sim| {
        sim.set_links(Link { loss: 0.05, bandwidth: Some(10_000_000), ..Link::LAN });
        add_echo(sim);
        for client in ["one", "two", "three"] {
            sim.client(client, async {
                let stream = TcpStream::connect("server:7").await?;
                let sent: Vec<u8> = (0..150_000_u32).map(|n| (n % 251) as u8).collect();
                let (reader, writer) = stream.into_split();
                let of_writer = sent.clone();
                let writing = spawn(async move {
                    writer.write_all(&of_writer).await?;
                    writer.shutdown().await
                });
                let mut back = Vec::new();
                while reader.read_buf(&mut back).await? > 0 {}
                writing.await??;
                assert_eq!(sent, back);
                Ok(())
            });
        }
        sim.run()?;
        assert!(sim.counts().faults > 0, "no fault was made");
        Ok(())
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        std::thread::spawn(move || {
            let mut sim = Sim::new(seed);
            sim.keep_trace();
            add_echo(&mut sim);
            for client in ["one", "two"] {
                sim.client(client, async {
                    let stream = TcpStream::connect("server:7").await?;
                    for n in 1..20 {
                        echo(&stream, &vec![n; usize::from(n) * 50]).await?;
                        time::sleep(Duration::from_millis(sim::control().random_below(20))).await; // time is tested
                    }
                    Ok(())
                });
            }
            sim.run().unwrap();
            (sim.take_trace(), sim.trace_hash())
        })
        .join()
        .unwrap()
    };
    let first = run(3);
    assert!(first.0.lines().count() > 100, "{}", first.0);
    for _ in 0..20 {
        assert_eq!(first, run(3));
    }
    assert_ne!(first.1, run(4).1);
}

#[test]
fn connect_to_a_port_without_a_listener_is_refused() {
    let mut sim = Sim::new(2);
    sim.host("server", std::future::pending);
    sim.client("client", async {
        let error = TcpStream::connect("server:9").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect("10.9.9.9:9").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
        let error = TcpStream::connect("nobody:9").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn close_with_unread_bytes_resets_the_connection() {
    Sim::check(20, |sim| {
        sim.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            let (stream, _) = listener.accept().await?;
            let mut one = [0];
            stream.read_exact(&mut one).await?;
            // Until the rest has arrived.
            time::sleep(Duration::from_secs(1)).await; // time is tested
            drop(stream);
            std::future::pending().await
        });
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            stream.write_all(b"more than one").await?;
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(stream.read(&mut [0; 8]).await?, 0);
            assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    Sim::check(20, |sim| {
        sim.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            let (stream, _) = listener.accept().await?;
            let mut all = Vec::new();
            while stream.read_buf(&mut all).await? > 0 {}
            time::sleep(Duration::from_secs(5)).await; // time is tested
            stream.write_all(&all).await?;
            drop(stream);
            std::future::pending().await
        });
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            stream.write_all(b"question").await?;
            stream.shutdown(Shutdown::Write)?;
            let mut all = Vec::new();
            while stream.read_buf(&mut all).await? > 0 {}
            assert_eq!(all, b"question");
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer() {
    let mut sim = Sim::new(5);
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        let (stream, _) = listener.accept().await?;
        time::sleep(Duration::from_secs(10)).await; // time is tested
        let mut count = 0;
        let mut buffer = vec![0; 10_000];
        while count < 2_000_000 {
            count += stream.read(&mut buffer).await?;
        }
        std::future::pending().await
    });
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        let start = time::now();
        stream.write_all(&vec![1; 2_000_000]).await?;
        assert!(time::now() - start >= Duration::from_secs(9));
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn deadlines_follow_the_simulated_clock() {
    let mut sim = Sim::new(6);
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        let _stream = listener.accept().await?;
        std::future::pending().await
    });
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        let (start, of_std) = (time::now(), std::time::Instant::now());
        stream.set_read_timeout(Some(Duration::from_secs(3600)))?;
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        let taken = time::now() - start;
        assert!(taken >= Duration::from_secs(3600) && taken < Duration::from_secs(3601), "{taken:?}");
        assert_eq!(of_std.elapsed(), time::now() - start);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn after_a_heal_each_connection_goes_on_when_linux_repeats_its_segment() {
    let mut sim = Sim::new(1);
    sim.set_faults(Faults::NONE);
    add_echo(&mut sim);
    sim.client("client", async {
        let old = TcpStream::connect("server:7").await?;
        let (control, start) = (sim::control(), time::now());
        control.partition("client", "server");
        let connecting = spawn(async { TcpStream::connect("server:7").await });
        let echoing = spawn(async move { echo(&old, b"old").await });
        time::sleep(Duration::from_millis(500)).await; // time is tested
        control.heal("client", "server");
        let near = |milliseconds: u64| {
            let (at, from) = (start.elapsed(), Duration::from_millis(milliseconds));
            assert!(at >= from && at < from + Duration::from_millis(2), "{at:?} is not {from:?}");
        };
        echo(&TcpStream::connect("server:7").await?, b"new").await?;
        near(500);
        // Repeated after 200 and 400 ms more.
        echoing.await??;
        near(600);
        // A SYN is repeated after a second.
        echo(&connecting.await??, b"syn").await?;
        near(1000);
        Ok(())
    });
    sim.run().unwrap();
}
