//! Unix sockets, passed descriptors, pipes and copies within a host of a simulation.

use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use netpoll_rt::net::pipe::{PipeReader, PipeWriter, pipe};
use netpoll_rt::net::{TcpListener, TcpStream, UnixDatagram, UnixListener, UnixSeqpacket, UnixStream};
use netpoll_rt::sim::{Faults, Sim};
use netpoll_rt::{fs, io, spawn, time};

use crate::tcp::{add_echo, echo};

/// Returns a path in a folder for temporary files that only this test uses.
fn path(sim: &Sim, name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("netpoll-sim-{}-{}-{name}", std::process::id(), sim.seed()))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_unix_server_is_found_by_its_path_and_by_an_abstract_name() {
    Sim::check(20, |sim| {
        let path = path(sim, "server");
        sim.client("host", async move {
            let name = SocketAddr::from_abstract_name("server")?;
            for address in [SocketAddr::from_pathname(&path)?, name] {
                let listener = UnixListener::bind_addr(&address)?.unlink_on_drop(true);
                let server = spawn(async move {
                    let (stream, _) = listener.accept().await?;
                    let mut bytes = Vec::new();
                    while stream.read_buf(&mut bytes).await? > 0 {}
                    stream.write_all(&bytes).await
                });
                let stream = UnixStream::connect_addr(&address).await?;
                assert_eq!(stream.peer_cred()?.pid(), Some(std::process::id() as i32));
                let sent = pattern(300_000);
                stream.write_all(&sent).await?;
                stream.shutdown(std::net::Shutdown::Write)?;
                let mut back = Vec::new();
                while stream.read_buf(&mut back).await? > 0 {}
                assert!(back == sent);
                server.await??;
            }
            let error = UnixStream::connect(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn an_abstract_name_belongs_to_its_host() {
    let mut sim = Sim::new(1);
    sim.host("server", || async {
        let name = SocketAddr::from_abstract_name("server")?;
        let _listener = UnixListener::bind_addr(&name)?;
        std::future::pending().await
    });
    sim.client("client", async {
        time::sleep(Duration::from_secs(1)).await; // time is tested
        let name = SocketAddr::from_abstract_name("server")?;
        let error = UnixStream::connect_addr(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_passed_connection_goes_on_at_its_receiver() {
    Sim::check(20, |sim| {
        add_echo(sim);
        sim.client("client", async {
            let (one, other) = UnixStream::pair()?;
            let stream = TcpStream::connect("server:7").await?;
            echo(&stream, b"before").await?;
            one.send_fds(b"x", &[stream.as_fd(), one.as_fd()]).await?;
            drop(stream);
            time::sleep(Duration::from_secs(1)).await; // time is tested
            let mut byte = [0];
            let (n, fds) = other.recv_fds(&mut byte, 2).await?;
            assert_eq!((n, fds.len()), (1, 2));
            let mut fds = fds.into_iter();
            let stream = TcpStream::from_std(fds.next().map(std::net::TcpStream::from).unwrap())?;
            echo(&stream, b"after").await?;
            // The duplicate keeps the connection open.
            let _copy = fds.next();
            drop(one);
            assert!(time::timeout(Duration::from_secs(1), other.read(&mut byte)).await.is_err());
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn descriptors_that_are_not_taken_are_closed() {
    let mut sim = Sim::new(1);
    sim.client("host", async {
        let (reader, writer) = pipe()?;
        let (one, other) = UnixSeqpacket::pair()?;
        one.send_fds(b"x", &[writer.as_fd()]).await?;
        drop(writer);
        drop((one, other));
        assert_eq!(reader.read(&mut [0]).await?, 0);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn messages_stay_whole_and_a_full_queue_stops_the_sender() {
    Sim::check(20, |sim| {
        let path = path(sim, "datagrams");
        sim.client("host", async move {
            let receiver = UnixDatagram::bind(&path)?.unlink_on_drop(true);
            let sender = UnixDatagram::unbound()?;
            sender.connect(&path)?;
            let sending = spawn(async move {
                for number in 0..200_u32 {
                    sender.send(&number.to_be_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
            for number in 0..200_u32 {
                if number % 20 == 0 {
                    time::sleep(Duration::from_millis(1)).await; // time is tested
                }
                let mut bytes = [0; 8];
                assert_eq!(receiver.recv(&mut bytes).await?, 4);
                assert_eq!(bytes[..4], number.to_be_bytes());
            }
            sending.await??;
            let (one, other) = UnixSeqpacket::pair()?;
            one.send(b"first").await?;
            one.send(b"second").await?;
            drop(one);
            let mut bytes = [0; 3];
            assert_eq!(other.recv(&mut bytes).await?, 3);
            assert_eq!((other.recv(&mut bytes).await?, &bytes), (3, b"sec"));
            assert_eq!(other.recv(&mut bytes).await?, 0);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_pipe_and_a_fifo_carry_everything_to_the_end() {
    async fn carry(reader: PipeReader, writer: PipeWriter) -> std::io::Result<()> {
        let sent = pattern(300_000);
        let of_writer = sent.clone();
        let writing = spawn(async move { writer.write_all(&of_writer).await });
        let mut back = Vec::new();
        while reader.read_buf(&mut back).await? > 0 {}
        assert!(back == sent);
        writing.await?
    }
    Sim::check(20, |sim| {
        let path = path(sim, "fifo");
        sim.client("host", async move {
            let (reader, writer) = pipe()?;
            carry(reader, writer).await?;
            let (reader, writer) = pipe()?;
            drop(reader);
            assert_eq!(writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let made = std::process::Command::new("mkfifo").arg(&path).status()?;
            assert!(made.success());
            assert!(PipeWriter::open_fifo(&path).is_err(), "without a reader");
            let reader = PipeReader::open_fifo(&path)?;
            let writer = PipeWriter::open_fifo(&path)?;
            carry(reader, writer).await?;
            std::fs::remove_file(&path)?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

/// A proxy whose bytes go through pipes, and a file that is sent to a connection.
#[test]
fn copies_within_the_kernel_carry_everything() {
    Sim::check(10, |sim| {
        add_echo(sim);
        let path = path(sim, "file");
        sim.host("proxy", || async {
            let listener = TcpListener::bind("0.0.0.0:8").await?;
            loop {
                let (near, _) = listener.accept().await?;
                spawn(async move {
                    let far = TcpStream::connect("server:7").await?;
                    io::copy_bidirectional(&near, &far).await.map(drop)
                });
            }
        });
        sim.client("client", async move {
            let sent = pattern(400_000);
            std::fs::File::create(&path)?.write_all(&sent)?;
            let stream = TcpStream::connect("proxy:8").await?;
            let (reader, writer) = stream.into_split();
            let of_writer = path.clone();
            let writing = spawn(async move {
                let file = fs::File::open(&of_writer).await?;
                io::copy(&file, &writer).await?;
                writer.shutdown().await
            });
            let mut back = Vec::new();
            while reader.read_buf(&mut back).await? > 0 {}
            assert!(back == sent);
            writing.await??;
            std::fs::remove_file(&path)?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_full_unix_stream_stops_its_writer() {
    let mut sim = Sim::new(1);
    sim.set_faults(Faults::NONE);
    sim.client("host", async {
        let (one, other) = UnixStream::pair()?;
        let writing = spawn(async move {
            let bytes = vec![1; 1 << 20];
            one.write_all(&bytes).await
        });
        time::sleep(Duration::from_secs(1)).await; // time is tested
        assert!(!writing.is_finished());
        let mut all = vec![0; 1 << 20];
        other.read_exact(&mut all).await?;
        writing.await??;
        Ok(())
    });
    sim.run().unwrap();
}
