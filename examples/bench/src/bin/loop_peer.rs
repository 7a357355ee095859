//! An echo server without a runtime: one thread, one epoll, one buffer. Its costs are the lower bound for the others.
//!
//! ```text
//! loop_peer echo --addr 127.0.0.1:0 [--threads 1] [--max-secs S] [--until-eof 1]
//! ```

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use netpoll_bench::peer::{READ_BUFFER, unless_blocked};
use netpoll_bench::process::Options;

const LISTENER: Token = Token(usize::MAX);

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
        return Err("this peer can only echo, on one thread and without deadlines".to_owned());
    }
    let address = options.get("addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    serve(address).map_err(|error| format!("{address}: {error}"))
}

struct Connection {
    stream: TcpStream,
    /// The bytes that could not be written at once.
    rest: Vec<u8>,
}

fn serve(address: SocketAddr) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("LISTENING {}", listener.local_addr()?);
    // A connection's token is its index; free indices are reused.
    let (mut connections, mut free) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(index) = event.token();
            if event.token() == LISTENER {
                while let Some((mut stream, _)) = unless_blocked(listener.accept())? {
                    stream.set_nodelay(true)?;
                    let index = free.pop().unwrap_or(connections.len());
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(index), both)?;
                    connections.resize_with(connections.len().max(index + 1), || None);
                    connections[index] = Some(Connection { stream, rest: Vec::new() });
                }
            } else if let Some(connection) = &mut connections[index] {
                let lives = !event.is_error() && connection.turn(&mut buffer).unwrap_or(false);
                if !lives {
                    connections[index] = None;
                    free.push(index);
                }
            }
        }
    }
}

impl Connection {
    /// Echoes the available bytes. Returns false at the end of the stream.
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
                    // A read that did not fill its buffer emptied the socket: the next byte is a new edge.
                    if !self.send(&buffer[..n])? || n < buffer.len() {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Writes the bytes. Returns false if a part of them was kept for later.
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
