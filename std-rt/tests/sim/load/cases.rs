//! The cases of the load, each with the ends that are allowed.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use netpoll_rt::net::pipe::pipe;
use netpoll_rt::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixSeqpacket, UnixStream};
use netpoll_rt::{OpError, is_closed, sim, spawn, time};

use super::Scenario;
use super::hosts::pause;

/// The number of cases.
pub const NUMBER: usize = 9;

/// The longest exchange, in bytes.
const LONGEST: u64 = 60_000;

/// The time after which a reader gives up: the pauses between the repetitions of a segment grow to two minutes.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a case once.
pub async fn run(case: usize, scenario: Scenario) {
    match case {
        0 => exchange("server:7", Reader::Plain, scenario).await,
        1 => exchange("server:10", Reader::Deadlines, scenario).await,
        2 => exchange("server:10", Reader::Cancels, scenario).await,
        3 => exchange("proxy:8", Reader::Plain, scenario).await,
        4 => connections(scenario).await,
        5 => close_wakes_a_reader(scenario).await,
        6 => datagrams(scenario).await,
        7 => local().await.unwrap(),
        _ => passed_descriptors().await.unwrap(),
    }
}

/// The manner in which a client reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Plain,
    Deadlines,
    /// Drops reads that are not ready.
    Cancels,
}

/// Returns whether a call failed for want of memory or descriptors, and may be repeated.
pub fn is_exhausted(error: &io::Error) -> bool {
    const NOMEM: i32 = 12;
    const MFILE: i32 = 24;
    const NOBUFS: i32 = 105;
    matches!(number_of(error), Some(NOMEM | MFILE | NOBUFS))
}

/// Returns the kernel's number of an error.
fn number_of(error: &io::Error) -> Option<i32> {
    let of_call = error.get_ref().and_then(|inner| inner.downcast_ref::<OpError>());
    of_call.map_or_else(|| error.raw_os_error(), OpError::raw_os_error)
}

/// Returns whether the peer has ended a connection.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::ConnectionRefused
            | ErrorKind::TimedOut
    ) || is_closed(error)
}

/// Repeats a call while memory or descriptors are lacking.
macro_rules! retry {
    ($call:expr) => {
        loop {
            match $call {
                Err(error) if $crate::load::cases::is_exhausted(&error) => {
                    netpoll_rt::time::sleep(std::time::Duration::from_micros(10)).await; // time is tested
                }
                result => break result,
            }
        }
    };
}
pub(super) use retry;

/// Writes everything, and repeats each call that fails for want of memory.
pub async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = retry!(stream.write(bytes).await)?;
        bytes = &bytes[n..];
    }
    Ok(())
}

fn pattern(length: usize, first: u8) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8 ^ first).collect()
}

/// Returns what a future has, unless the time is over first.
async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), pin!(time::sleep(time))); // time is tested
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|_| None),
    })
    .await
}

/// Sends bytes and reads them back, over as many connections as the scenario makes necessary.
async fn exchange(address: &'static str, reader: Reader, scenario: Scenario) {
    let random = sim::control();
    let bytes = Arc::new(pattern(random.random_below(LONGEST) as usize, random.random() as u8));
    loop {
        let mut received = 0;
        match try_exchange(address, reader, &bytes, &mut received).await {
            Ok(()) => return,
            Err(error) => {
                let allowed = match scenario {
                    Scenario::Hidden => false,
                    Scenario::Visible => received == 0,
                    Scenario::Crashes => true,
                };
                assert!(allowed && is_reset(&error), "{address}: {error} after {received} bytes");
                pause(10).await;
            }
        }
    }
}

async fn try_exchange(
    address: &str,
    reader: Reader,
    bytes: &Arc<Vec<u8>>,
    received: &mut usize,
) -> io::Result<()> {
    let stream = Arc::new(retry!(TcpStream::connect(address).await)?);
    let (of_writer, to_send) = (stream.clone(), bytes.clone());
    let writing = spawn(async move {
        write_all(&of_writer, &to_send).await?;
        of_writer.shutdown(Shutdown::Write)
    });
    let read = read_back(&stream, reader, bytes, received).await;
    if read.is_err() {
        // The writer may wait for a peer that does not read any more.
        stream.close().await?;
    }
    let written = writing.await.map_err(io::Error::other)?;
    read.and(written)
}

async fn read_back(stream: &TcpStream, reader: Reader, bytes: &[u8], received: &mut usize) -> io::Result<()> {
    let random = sim::control();
    let start = Instant::now();
    loop {
        let mut buffer = vec![0; 1 + random.random_below(9000) as usize];
        let time = Duration::from_micros(1 + random.random_below(5000));
        let n = match reader {
            Reader::Plain => {
                // Only a reader with a limit learns of a peer that has lost its power.
                within(LIMIT, async { retry!(stream.read(&mut buffer).await) })
                    .await
                    .ok_or(ErrorKind::TimedOut)??
            }
            Reader::Cancels => match within(time, async { retry!(stream.read(&mut buffer).await) }).await {
                Some(read) => read?,
                None if start.elapsed() > LIMIT => return Err(ErrorKind::TimedOut.into()),
                None => continue,
            },
            Reader::Deadlines => {
                stream.set_read_deadline(Some(time::now() + time))?;
                match retry!(stream.read(&mut buffer).await) {
                    // The kernel's own error is that of a peer that does not answer for a quarter of an hour.
                    Err(error)
                        if error.kind() == ErrorKind::TimedOut
                            && number_of(&error).is_none()
                            && start.elapsed() < LIMIT =>
                    {
                        continue;
                    }
                    read => read?,
                }
            }
        };
        if n == 0 {
            return if *received == bytes.len() { Ok(()) } else { Err(ErrorKind::ConnectionReset.into()) };
        }
        let expected = &bytes[*received..];
        assert!(
            expected.starts_with(&buffer[..n]),
            "other bytes than were sent, at {received} of {}: {n} bytes, {:?}, and not {:?}",
            bytes.len(),
            &buffer[..n.min(10)],
            &expected[..n.min(10).min(expected.len())]
        );
        *received += n;
    }
}

/// Opens connections that their server closes at once.
async fn connections(scenario: Scenario) {
    for _ in 0..5 {
        let connected = retry!(TcpStream::connect("server:11").await);
        let ended = match connected {
            Ok(stream) => {
                let read = within(LIMIT, async { retry!(stream.read(&mut [0]).await) });
                read.await.unwrap_or(Err(ErrorKind::TimedOut.into()))
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(n) => assert_eq!(n, 0),
            Err(error) => assert!(scenario != Scenario::Hidden && is_reset(&error), "{error}"),
        }
    }
}

/// Closes a connection and a listener on which tasks wait.
async fn close_wakes_a_reader(scenario: Scenario) {
    let connected = retry!(TcpStream::connect("server:10").await);
    if let Err(error) = &connected {
        assert!(scenario != Scenario::Hidden && is_reset(error), "{error}");
    }
    let listener = Arc::new(retry!(TcpListener::bind("0.0.0.0:0").await).unwrap());
    let of_task = listener.clone();
    let accepting = spawn(async move { retry!(of_task.accept().await.map(drop)) });
    if let Ok(stream) = connected {
        let stream = Arc::new(stream);
        let of_task = stream.clone();
        let reading = spawn(async move { retry!(of_task.read(&mut [0]).await) });
        pause(2).await;
        stream.close().await.unwrap();
        let read = reading.await.unwrap().unwrap_err();
        assert!(is_closed(&read) || scenario != Scenario::Hidden && is_reset(&read), "{read}");
    }
    listener.close().await.unwrap();
    let accepted = accepting.await.unwrap().unwrap_err();
    assert!(is_closed(&accepted), "{accepted}");
}

/// Sends datagrams until each has come back: none with other bytes than were sent.
async fn datagrams(scenario: Scenario) {
    let socket = retry!(UdpSocket::bind("0.0.0.0:0").await).unwrap();
    retry!(socket.connect("server:9").await).unwrap();
    let random = sim::control();
    for number in 0..10_u8 {
        let bytes = pattern(1 + random.random_below(1400) as usize, number);
        'sent: loop {
            // A server that is down answers that no socket has the port.
            let check =
                |error: io::Error| assert!(scenario == Scenario::Crashes && is_reset(&error), "{error}");
            let _sent = retry!(socket.send(&bytes).await).map_err(check);
            socket.set_read_deadline(Some(time::now() + Duration::from_millis(50))).unwrap();
            loop {
                let mut back = vec![0; 1500];
                match retry!(socket.recv(&mut back).await) {
                    Ok(n) if back[..n] == bytes => break 'sent,
                    // The answer to an earlier one, doubled or late.
                    Ok(n) => assert!((0..number).any(|first| back[..n] == pattern(n, first)), "other bytes"),
                    Err(error) if error.kind() == ErrorKind::TimedOut => break,
                    Err(error) => check(error),
                }
            }
        }
    }
}

/// Sends bytes through Unix sockets and a pipe.
async fn local() -> io::Result<()> {
    let bytes = pattern(sim::control().random_below(LONGEST) as usize, 3);
    let (one, other) = retry!(UnixStream::pair())?;
    let (reader, writer) = retry!(pipe())?;
    let to_send = bytes.clone();
    let sending = spawn(async move {
        let mut left = &to_send[..];
        while !left.is_empty() {
            let n = retry!(one.write(left).await)?;
            left = &left[n..];
        }
        io::Result::Ok(())
    });
    let passing = spawn(async move {
        let mut buffer = vec![0; 5000];
        loop {
            let n = retry!(other.read(&mut buffer).await)?;
            if n == 0 {
                return io::Result::Ok(());
            }
            writer.write_all(&buffer[..n]).await?;
        }
    });
    let mut back = Vec::new();
    while retry!(reader.read_buf(&mut back).await)? > 0 {}
    assert!(back == bytes, "{} of {} bytes, or others", back.len(), bytes.len());
    sending.await.map_err(io::Error::other)??;
    passing.await.map_err(io::Error::other)?
}

/// Passes the end of a pipe with a message, and writes to it there; sends messages until the queue is full.
async fn passed_descriptors() -> io::Result<()> {
    let (one, other) = retry!(UnixSeqpacket::pair())?;
    let (reader, writer) = retry!(pipe())?;
    retry!(one.send_fds(b"end", &[writer.as_fd()]).await)?;
    drop(writer);
    let mut buffer = [0; 8];
    let (n, fds) = retry!(other.recv_fds(&mut buffer, 1).await)?;
    assert_eq!((&buffer[..n], fds.len()), (&b"end"[..], 1));
    drop(one);
    assert_eq!(retry!(other.recv(&mut buffer).await)?, 0);
    drop(fds);
    assert_eq!(retry!(reader.read(&mut buffer).await)?, 0);
    let (one, other) = retry!(UnixDatagram::pair())?;
    let sending = spawn(async move {
        for number in 0..30_u32 {
            retry!(one.send(&number.to_be_bytes()).await)?;
        }
        io::Result::Ok(())
    });
    for number in 0..30_u32 {
        assert_eq!(retry!(other.recv(&mut buffer).await)?, 4);
        assert_eq!(buffer[..4], number.to_be_bytes());
    }
    sending.await.map_err(io::Error::other)?
}
