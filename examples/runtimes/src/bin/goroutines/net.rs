//! Sockets whose reads and writes look as if they blocked.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use netpoll_rt::poll::{Mode, Modes, Registration};

use crate::runtime::{Runtime, wait};

/// A connection.
pub struct Conn(Registration<TcpStream>);

impl Conn {
    /// Takes a connection over.
    pub fn new(runtime: &Runtime, stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self(runtime.poller.register(stream)?))
    }

    /// Lets reads and writes fail with `TimedOut` from then on, until the next call.
    pub fn set_deadline_after(&self, duration: Duration) -> io::Result<()> {
        self.0.set_deadline(Modes::BOTH, Some(Instant::now() + duration))
    }
}

impl Read for &Conn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(|waker| self.0.poll_io(Mode::Read, waker, |mut stream| stream.read(buffer)))
    }
}

impl Write for &Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wait(|waker| self.0.poll_io(Mode::Write, waker, |mut stream| stream.write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listening socket.
pub struct Listener(pub Registration<TcpListener>);

impl Listener {
    /// Listens at an address.
    pub fn bind(runtime: &Runtime, address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self(runtime.poller.register(listener)?))
    }

    /// Waits for a connection.
    pub fn accept(&self, runtime: &Runtime) -> io::Result<Conn> {
        let (stream, _) = wait(|waker| self.0.poll_io(Mode::Read, waker, TcpListener::accept))?;
        Conn::new(runtime, stream)
    }
}
