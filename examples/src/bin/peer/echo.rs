//! The echo server.

use std::io;
use std::time::{Duration, Instant};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::spawn;

use crate::{Options, runtime};

/// What every peer offers to one read.
const READ_BUFFER: usize = 16 * 1024;

#[derive(Clone, Copy)]
enum Mode {
    /// A connection has its buffer from the start.
    Eager,
    /// The same, with a fresh deadline before every read.
    Deadline(Duration),
    /// A connection has a buffer only while there are bytes.
    Lazy,
}

pub fn run(options: &Options) -> Result<(), String> {
    let deadline = options.get("deadline", 0)?;
    let mode = match (options.get("buf", "eager".to_owned())?.as_str(), deadline) {
        ("lazy", _) => Mode::Lazy,
        ("eager", 0) => Mode::Eager,
        ("eager", milliseconds) => Mode::Deadline(Duration::from_millis(milliseconds)),
        (other, _) => return Err(format!("--buf {other}: eager or lazy")),
    };
    let address = options.get("addr", "127.0.0.1:0".to_owned())?;
    let runtime = runtime(options.get("threads", 1)?)?;
    let served = runtime.block_on(async move {
        // The acceptor is a task, not the future of this thread, which is no worker when there are several.
        spawn(serve(address, mode)).await.map_err(io::Error::other)?
    });
    served.map_err(|error| error.to_string())
}

async fn serve(address: String, mode: Mode) -> io::Result<()> {
    let listener = TcpListener::bind(&address).await?;
    println!("LISTENING {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // How a connection ends is the load generator's to judge.
        match mode {
            Mode::Eager => drop(spawn(eager(stream))),
            Mode::Deadline(limit) => drop(spawn(with_deadline(stream, limit))),
            Mode::Lazy => drop(spawn(lazy(stream))),
        }
    }
}

async fn eager(stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn with_deadline(stream: TcpStream, limit: Duration) -> io::Result<()> {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        stream.set_read_deadline(Some(Instant::now() + limit))?;
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn lazy(stream: TcpStream) -> io::Result<()> {
    loop {
        // One byte is looked at and left, so that the buffer is there only when it can be filled.
        if stream.peek(&mut [0]).await? == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; READ_BUFFER];
        let n = stream.read(&mut buffer).await?;
        stream.write_all(&buffer[..n]).await?;
    }
}
