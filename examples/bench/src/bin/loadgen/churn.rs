//! Connections that are opened, used for one echo and closed, again and again.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;

use crate::pattern::{Pattern, bound_socket, other_bytes};
use crate::window::{Window, report};
use crate::{Load, PATIENCE};

struct Client {
    stream: TcpStream,
    number: u64,
    began: Instant,
    asked: bool,
    received: usize,
}

pub fn run(load: &Load) -> io::Result<()> {
    let pattern = Pattern::new(load.size);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut window = Window::new(load, true)?;
    window.is_over(Instant::now())?;
    let mut opened = 0;
    let mut open = |poll: &Poll, token: usize| {
        opened += 1;
        Client::open(load, poll, token, opened)
    };
    let mut clients: Vec<Client> =
        (0..load.connections).map(|token| open(&poll, token)).collect::<io::Result<_>>()?;
    let (mut buffer, mut closed) = (vec![0; load.size], 0);
    loop {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::other(format!("no answer for {PATIENCE:?}")));
        }
        for event in &events {
            let client = &mut clients[event.token().0];
            if client.turn(&pattern, &mut buffer)? {
                window.record(client.began, Instant::now());
                closed += 1;
                // The assignment closes the old connection.
                *client = open(&poll, event.token().0)?;
            }
            if load.count == Some(closed) {
                window.close()?;
                return report(&[window], "churn", 1);
            }
        }
        if window.is_over(Instant::now())? {
            return report(&[window], "churn", 1);
        }
    }
}

impl Client {
    fn open(load: &Load, poll: &Poll, token: usize, number: u64) -> io::Result<Self> {
        let began = Instant::now();
        let socket = bound_socket(number)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&load.address.into()) {
            // `EINPROGRESS` means that the connection is under way.
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, number, began, asked: false, received: 0 })
    }

    /// Sends the message once it is connected, then reads. Returns whether the whole answer has come.
    fn turn(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<bool> {
        let expected = pattern.batch(self.number);
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.write(expected) {
                Ok(n) if n == expected.len() => self.asked = true,
                Ok(_) => return Err(io::Error::other("a message does not fit into the socket's buffer")),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
                Err(error) => return Err(error),
            }
            return Ok(false);
        }
        match self.stream.read(&mut buffer[self.received..]) {
            Ok(0) => Err(io::Error::other("the server closed a connection")),
            Ok(n) => {
                self.received += n;
                match buffer[..self.received] == expected[..self.received] {
                    true => Ok(self.received == expected.len()),
                    false => Err(other_bytes()),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
