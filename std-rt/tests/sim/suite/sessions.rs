//! The sessions of a client with the server.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use netpoll_rt::fs::File;
use netpoll_rt::net::{TcpStream, UdpSocket};
use netpoll_rt::{JoinHandle, is_closed, spawn, time, yield_now};

use super::servers::{DATAGRAMS, ECHO, HOLD, LATER, PROXY, Request, byte};
use super::{draw, milliseconds};

/// The time after which a session gives up whose server has lost its power.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The largest delay of a timer: a host is slow by up to 3 ms a step, and has a few dozen tasks.
const LATE: Duration = Duration::from_secs(2);

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

async fn ask(request: Request) -> io::Result<Arc<TcpStream>> {
    let stream = connect("server", LATER).await?;
    stream.set_read_timeout(None)?;
    stream.set_deadline(Some(Instant::now() + PATIENCE))?;
    stream.write_all(&request.to_bytes()).await?;
    Ok(Arc::new(stream))
}

/// Returns the error that says that a session got something else than it must.
fn wrong(what: String) -> io::Error {
    io::Error::other(what)
}

/// Sends messages and compares the bytes that come back; the end comes back too.
pub async fn echo() -> io::Result<()> {
    let (host, port) = [("server", ECHO), ("proxy", PROXY)][draw(2) as usize];
    let stream = connect(host, port).await?;
    let mut place = 0;
    for _ in 0..1 + draw(4) {
        let length = 1 + draw([50, 5000, 60_000][draw(3) as usize]) as usize;
        let bytes: Vec<u8> = (place..place + length).map(byte).collect();
        place += length;
        let mut back = vec![0; length];
        let (sent, read) = zip(stream.write_all(&bytes), stream.read_exact(&mut back)).await;
        sent?;
        read?;
        if back != bytes {
            return Err(wrong(format!("other bytes of {length} came back")));
        }
    }
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0]).await? {
        0 => stream.close().await,
        _ => Err(wrong("more bytes came back than were sent".to_owned())),
    }
}

/// The deadline of reads, and whether one has passed since the last read.
struct Deadline {
    at: Instant,
    has_passed: bool,
}

impl Deadline {
    fn set(this: &Mutex<Self>, stream: &TcpStream, time: Duration) -> io::Result<()> {
        let (mut this, now) = (this.lock().expect("nothing panics here"), Instant::now());
        this.has_passed |= now >= this.at;
        this.at = now + time;
        stream.set_read_deadline(Some(this.at))
    }

    fn take_passed(this: &Mutex<Self>) -> bool {
        let mut this = this.lock().expect("nothing panics here");
        std::mem::take(&mut this.has_passed) || Instant::now() >= this.at
    }
}

/// Waits with deadlines while bytes come later; another task moves them meanwhile. None ends a read before its time.
pub async fn deadlines() -> io::Result<()> {
    let request = Request {
        microseconds: draw(30_000) as u32,
        length: 1 + draw(2000) as u32,
        pieces: 1 + draw(3) as u32,
    };
    let stream = ask(request).await?;
    let deadline = Arc::new(Mutex::new(Deadline { at: Instant::now() + PATIENCE, has_passed: false }));
    let mover = spawn({
        let (stream, deadline) = (stream.clone(), deadline.clone());
        async move {
            for _ in 0..draw(6) {
                time::sleep(milliseconds(10)).await; // time is tested
                if Deadline::set(&deadline, &stream, milliseconds(20)).is_err() {
                    return;
                }
            }
        }
    });
    let (mut place, mut misses) = (0, 0);
    let mut buffer = vec![0; 700];
    loop {
        if misses == 20 {
            mover.abort();
        }
        Deadline::set(&deadline, &stream, if misses < 20 { milliseconds(20) } else { PATIENCE })?;
        let start = Instant::now();
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(n) => {
                compare(&buffer[..n], place)?;
                place += n;
            }
            Err(error) if error.kind() == ErrorKind::TimedOut && misses < 20 => {
                let taken = start.elapsed();
                if !Deadline::take_passed(&deadline) {
                    return Err(wrong(format!("a deadline ended a read after {taken:?}, before its time")));
                }
                // The mover sets a deadline up to six times, each within 20 ms.
                if taken > Duration::from_millis(140) + LATE {
                    return Err(wrong(format!("a deadline was missed by {taken:?}")));
                }
                misses += 1;
            }
            Err(error) => return Err(error),
        }
    }
    drop(mover);
    all_came(place, request)
}

/// Drops reads that wait: no byte is lost by that.
pub async fn cancel() -> io::Result<()> {
    let request = Request {
        microseconds: draw(5000) as u32,
        length: 1 + draw(20_000) as u32,
        pieces: 1 + draw(9) as u32,
    };
    let stream = ask(request).await?;
    let (mut place, mut misses) = (0, 0);
    let mut buffer = vec![0; 1 + draw(3000) as usize];
    loop {
        let patience = if misses < 50 { milliseconds(3) } else { PATIENCE };
        match time::timeout(patience, stream.read(&mut buffer)).await {
            Err(_) => misses += 1,
            Ok(Ok(0)) => break,
            Ok(Ok(n)) => {
                compare(&buffer[..n], place)?;
                place += n;
            }
            Ok(Err(error)) => return Err(error),
        }
    }
    all_came(place, request)
}

fn compare(bytes: &[u8], place: usize) -> io::Result<()> {
    match bytes.iter().enumerate().find(|(index, found)| **found != byte(place + index)) {
        None => Ok(()),
        Some((index, _)) => Err(wrong(format!("another byte at {}", place + index))),
    }
}

fn all_came(place: usize, request: Request) -> io::Result<()> {
    if place == request.length as usize {
        return Ok(());
    }
    // A server that loses its power ends nothing in good order.
    Err(wrong(format!("{place} bytes came, not {}", request.length)))
}

/// Lets several tasks read one stream, each by another method, with drops: together they get each byte, and all of them get
/// the end.
pub async fn readers() -> io::Result<()> {
    let request = Request {
        microseconds: draw(5000) as u32,
        length: 1 + draw(20_000) as u32,
        pieces: 1 + draw(20) as u32,
    };
    let stream = ask(request).await?;
    // The sum of the bytes says whether one came twice.
    let got: Arc<Mutex<(usize, u64)>> = Arc::default();
    let readers: Vec<_> = (0..2 + draw(4)).map(|_| spawn(reader(stream.clone(), got.clone()))).collect();
    join(readers).await?;
    let (count, sum) = *got.lock().expect("no reader has panicked");
    let right: u64 = (0..request.length as usize).map(|place| u64::from(byte(place))).sum();
    all_came(count, request)?;
    if sum == right { Ok(()) } else { Err(wrong("other bytes came".to_owned())) }
}

async fn reader(stream: Arc<TcpStream>, got: Arc<Mutex<(usize, u64)>>) -> io::Result<()> {
    let mut buffer = vec![0; 1 + draw(1000) as usize];
    let mut in_vain = 0;
    loop {
        let read = match draw(5) {
            4 => {
                two_waits(&stream).await?;
                stream.try_read(&mut buffer)
            }
            0 => stream.read(&mut buffer).await,
            1 if in_vain < 50 => match time::timeout(milliseconds(3), stream.read(&mut buffer)).await {
                Ok(read) => read,
                Err(_) => {
                    in_vain += 1;
                    continue;
                }
            },
            2 => {
                stream.readable().await?;
                stream.try_read(&mut buffer)
            }
            _ => {
                poll_fn(|cx| futures_lite::AsyncRead::poll_read(Pin::new(&mut &*stream), cx, &mut buffer))
                    .await
            }
        };
        match read {
            Ok(0) => return Ok(()),
            Ok(n) => {
                let mut got = got.lock().expect("no reader has panicked");
                got.0 += n;
                got.1 += buffer[..n].iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
            Err(error) => return Err(error),
        }
    }
}

/// Waits by two futures at once, of which the first is dropped: the other ends the wait.
async fn two_waits(stream: &TcpStream) -> io::Result<()> {
    let (mut first, mut second) = (Box::pin(stream.readable()), Box::pin(stream.readable()));
    let both = poll_fn(|cx| {
        let polled = (first.as_mut().poll(cx), second.as_mut().poll(cx));
        Poll::Ready(match polled {
            (Poll::Ready(ready), _) | (_, Poll::Ready(ready)) => Some(ready),
            _ => None,
        })
    });
    match both.await {
        Some(ready) => ready,
        None => {
            drop(first);
            second.await
        }
    }
}

async fn join(tasks: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    let mut first = Ok(());
    for task in tasks {
        let result = task.await.map_err(io::Error::other)?;
        first = first.and(result);
    }
    first
}

/// The byte of the files that are copied between messages, which begins none.
const FILLER: u8 = 255;

/// Copies a file of that byte to a stream.
async fn copy_file(stream: &TcpStream) -> io::Result<()> {
    static CONTENT: OnceLock<PathBuf> = OnceLock::new();
    let path = CONTENT.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("filler-{}", std::process::id()));
        std::fs::write(&path, vec![FILLER; 3000]).expect("a file for the test");
        path
    });
    let file = File::open(path).await?;
    netpoll_rt::io::copy(&file, stream).await.map(drop)
}

/// Lets several tasks write whole messages, and copies of files, to one stream: each message comes back in one piece.
pub async fn writers() -> io::Result<()> {
    let stream = Arc::new(connect("server", ECHO).await?);
    let (tasks, messages) = (2 + draw(4), 1 + draw(4));
    let writers: Vec<_> = (0..tasks)
        .map(|tag| {
            let stream = stream.clone();
            spawn(async move {
                for _ in 0..messages {
                    if draw(4) == 0 {
                        copy_file(&stream).await?;
                    }
                    let length = draw([20, 3000, 60_000][draw(3) as usize]) as u32;
                    let mut message = vec![tag as u8; 5 + length as usize];
                    message[1..5].copy_from_slice(&length.to_le_bytes());
                    stream.write_all(&message).await?;
                }
                Ok(())
            })
        })
        .collect();
    let read = async {
        for _ in 0..tasks * messages {
            let mut tag = [FILLER];
            while tag == [FILLER] {
                // A byte of a file, which may come in any number of pieces.
                stream.read_exact(&mut tag).await?;
            }
            let ([tag], mut length) = (tag, [0; 4]);
            stream.read_exact(&mut length).await?;
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            stream.read_exact(&mut body).await?;
            if u64::from(tag) >= tasks || body.iter().any(|byte| *byte != tag) {
                return Err(wrong("a message came back with others within".to_owned()));
            }
        }
        Ok(())
    };
    let (read, written) = zip(read, join(writers)).await;
    written?;
    read
}

/// Closes a stream while tasks wait in it: they end, with an error that says so.
pub async fn close() -> io::Result<()> {
    let stream = Arc::new(connect("server", HOLD).await?);
    let tasks: Vec<_> = (0..1 + draw(4))
        .map(|_| {
            let stream = stream.clone();
            let (reads, drops) = (draw(2) == 0, draw(4) == 0);
            spawn(async move {
                loop {
                    let step = async {
                        if reads {
                            stream.read(&mut [0; 10]).await.map(|n| n == 0)
                        } else {
                            stream.write_all(&[255; 50_000]).await.map(|()| false)
                        }
                    };
                    let result = match drops {
                        true => time::timeout(milliseconds(5), step).await.unwrap_or(Ok(false)),
                        false => step.await,
                    };
                    if result? {
                        return Ok(());
                    }
                }
            })
        })
        .collect();
    time::sleep(milliseconds(20)).await; // time is tested
    let closing = stream.close();
    if draw(3) == 0 {
        // It goes on without the future.
        drop(time::timeout(Duration::ZERO, closing).await);
    } else {
        closing.await?;
    }
    for task in tasks {
        let result: io::Result<()> = task.await.map_err(io::Error::other)?;
        match result {
            Err(error) if !is_closed(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Asks by UDP: what comes back is what was sent, of this socket.
pub async fn datagrams() -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).await?;
    socket.connect(("server", DATAGRAMS)).await?;
    let own = draw(u64::MAX);
    let mut buffer = [0; 2048];
    for n in 0..1 + draw(6) {
        let mut message = vec![n as u8; 9 + draw(1400) as usize];
        message[1..9].copy_from_slice(&own.to_le_bytes());
        if let Err(error) = socket.send(&message).await
            && error.kind() != ErrorKind::ConnectionRefused
        {
            return Err(error);
        }
        let patience = milliseconds(50);
        let start = Instant::now();
        socket.set_read_deadline(Some(start + patience))?;
        match socket.recv(&mut buffer).await {
            Ok(got) => {
                if buffer[1..9] != own.to_le_bytes() || u64::from(buffer[0]) > n || got < 9 {
                    return Err(wrong("a message came that this socket has not sent".to_owned()));
                }
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let taken = start.elapsed();
                if taken < patience || taken > patience + LATE {
                    return Err(wrong(format!("a deadline of {patience:?} ended after {taken:?}")));
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
