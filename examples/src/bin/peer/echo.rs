//! The echo server.

use std::cell::RefCell;
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
    /// A connection has no buffer: all of a thread share one.
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

thread_local! {
    /// What connections without a buffer of their own read into.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

async fn lazy(stream: TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match echo_now(&stream)? {
            None => return Ok(()),
            Some(rest) => stream.write_all(&rest).await?,
        }
    }
}

/// Reads what is there and writes it back, as far as that goes without waiting; gives the rest. None at the end.
fn echo_now(stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let unless_blocked = |result: io::Result<usize>| match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    };
    BUFFER.with_borrow_mut(|buffer| {
        let read = match unless_blocked(stream.try_read(buffer))? {
            Some(0) => return Ok(None),
            read => read.unwrap_or(0),
        };
        let bytes = &buffer[..read];
        let sent = if bytes.is_empty() { 0 } else { unless_blocked(stream.try_write(bytes))?.unwrap_or(0) };
        // As a rule nothing is left, and an empty vector has no memory.
        Ok(Some(bytes[sent..].to_vec()))
    })
}
