//! The bytes that are sent: no two neighbours are alike, and no two messages begin alike.

use std::io;
use std::net::{SocketAddr, TcpStream};

use std::io::{Read, Write};

use crate::{PATIENCE, source};

/// A prime, so that it falls in step with no length of a message.
const CYCLE: usize = 251;

pub struct Pattern(Vec<u8>);

impl Pattern {
    /// For batches of so many bytes.
    pub fn new(length: usize) -> Self {
        Self((0..length + CYCLE).map(|i| (i % CYCLE) as u8).collect())
    }

    /// A batch by its number.
    pub fn batch(&self, number: u64) -> &[u8] {
        let from = (number % CYCLE as u64) as usize;
        &self.0[from..from + self.0.len() - CYCLE]
    }
}

/// Blocking connections, a few at a time so that the server's backlog never overflows: each has had one answer before the
/// next few begin, or none where `probe` is 0 bytes.
pub fn connect_all(address: SocketAddr, count: usize, probe: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let first = streams.len();
        for _ in first..count.min(first + 64) {
            let socket = source::socket(streams.len() as u64)?;
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

/// One message on each and its answer.
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
