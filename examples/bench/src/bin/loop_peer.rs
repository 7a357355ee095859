//! An echo server with no runtime at all: one thread, one epoll, one buffer. What it costs is the floor under the others.
//!
//! ```text
//! loop_peer echo --addr 127.0.0.1:0 [--threads 1] [--max-secs S] [--until-eof 1]
//! ```

#[path = "../../../src/bin/peer/work/options.rs"]
mod options;

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use options::Options;

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER: usize = 16 * 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("loop_peer: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (command, options) = Options::from_args()?;
    if command != "echo" || options.get("threads", 1)? != 1 || options.get("deadline", 0)? != 0 {
        return Err("it echoes, on one thread and without deadlines".to_owned());
    }
    let address = options.get("addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    serve(address).map_err(|error| format!("{address}: {error}"))
}

struct Connection {
    stream: TcpStream,
    /// What could not be written at once.
    rest: Vec<u8>,
}

fn serve(address: SocketAddr) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("LISTENING {}", listener.local_addr()?);
    // A connection's token is its place; free places are used again.
    let (mut connections, mut free) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(place) = event.token();
            if event.token() == LISTENER {
                while let Some((mut stream, _)) = unless_blocked(listener.accept())? {
                    stream.set_nodelay(true)?;
                    let place = free.pop().unwrap_or(connections.len());
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(place), both)?;
                    connections.resize_with(connections.len().max(place + 1), || None);
                    connections[place] = Some(Connection { stream, rest: Vec::new() });
                }
            } else if let Some(connection) = &mut connections[place] {
                let lives = !event.is_error() && connection.turn(&mut buffer).unwrap_or(false);
                if !lives {
                    connections[place] = None;
                    free.push(place);
                }
            }
        }
    }
}

impl Connection {
    /// Echoes what there is. False at the end.
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            if !self.send(&rest)? {
                return Ok(true);
            }
        }
        loop {
            match unless_blocked(self.stream.read(buffer))? {
                Some(0) => return Ok(false),
                None => return Ok(true),
                Some(n) => {
                    // A read that did not fill its buffer took all there was: the next byte is a new edge.
                    if !self.send(&buffer[..n])? || n < buffer.len() {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// True when all of it went out; else the rest is kept.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            match unless_blocked(self.stream.write(bytes))? {
                Some(n) => bytes = &bytes[n..],
                None => {
                    self.rest = bytes.to_vec();
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}
