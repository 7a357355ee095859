//! The bytes of the load, and its blocking connections.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::PATIENCE;

/// The length after which the bytes repeat, a prime, so that no message's length is a multiple of it.
const CYCLE: usize = 251;

/// The number of loopback addresses that clients bind. The ports of one address would be used up within seconds, because a
/// closed connection keeps its port for a minute.
const SOURCES: u64 = 200;

/// Bytes of which no two neighbors are alike, and of which no two batches in a row begin alike.
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// Creates the bytes of batches of this length.
    pub fn new(length: usize) -> Self {
        Self((0..length + CYCLE).map(|i| (i % CYCLE) as u8).collect())
    }

    /// Returns a batch by its number.
    pub fn batch(&self, number: u64) -> &[u8] {
        let from = (number % CYCLE as u64) as usize;
        &self.0[from..from + self.0.len() - CYCLE]
    }
}

/// Opens blocking connections, a few at a time, so that the server's backlog never overflows: each has had an answer of
/// `probe` bytes before the next few begin. A `probe` of 0 asks for no answer.
pub fn connect_all(address: SocketAddr, count: usize, probe: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let first = streams.len();
        for _ in first..count.min(first + 64) {
            let socket = bound_socket(streams.len() as u64)?;
            socket.connect_timeout(&address.into(), PATIENCE)?;
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            streams.push(stream);
        }
        exchange(&streams[first..], probe)?;
    }
    Ok(streams)
}

/// Exchanges one message on each connection.
pub fn exchange(streams: &[TcpStream], size: usize) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    let (pattern, mut answer) = (Pattern::new(size), vec![0; size]);
    for (mut stream, number) in streams.iter().zip(0..) {
        stream.write_all(pattern.batch(number))?;
    }
    for (mut stream, number) in streams.iter().zip(0..) {
        stream.read_exact(&mut answer)?;
        if answer != pattern.batch(number) {
            return Err(other_bytes());
        }
    }
    Ok(())
}

pub fn other_bytes() -> io::Error {
    io::Error::other("other bytes came back than were sent")
}

/// Creates a socket for the connection of this number, bound to one of the sources.
pub fn bound_socket(number: u64) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = Ipv4Addr::new(127, 0, 1, (1 + number % SOURCES) as u8);
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    Ok(socket)
}
