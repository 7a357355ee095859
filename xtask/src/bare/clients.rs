//! The clients of the echo server on the chip: 16 connections at once. Every byte that comes back is compared.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Xorshift;

/// The connections at once, and how many times, as in `examples/bare/src/echo.rs`.
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 2;
/// The bytes of a connection that is not idle from the start.
const BYTES: usize = 20_000;
/// The longest message.
const LONGEST: usize = 1_500;
/// The deadline after which the server cuts off an idle connection. The emulator's clock may be late by ticks that it missed,
/// and is early by one at most.
const IDLE: Duration = Duration::from_millis(2_000);
/// The limit of each wait of a client.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns a loopback port that no program uses. It is not one of those that the system gives to clients, so that none takes it
/// before the emulator does.
pub fn free_port() -> Result<u16, String> {
    let first = 20_000 + std::process::id() as u16 % 10_000;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (first..32_000).find(free).ok_or_else(|| format!("no free port from {first} to 32000"))
}

/// The result of a round.
#[derive(Default)]
pub struct Seen {
    pub bytes: usize,
    /// The connections that the server cut off, not before its deadline.
    pub cut: usize,
}

/// The thread that runs a round.
pub type Round = JoinHandle<Result<Seen, String>>;

/// Waits for all rounds and adds them up.
pub fn summary(rounds: Vec<Round>) -> Result<String, String> {
    let count = rounds.len();
    let (mut bytes, mut cut) = (0, 0);
    for round in rounds {
        let seen = round.join().map_err(|_| "a round panicked".to_owned())??;
        bytes += seen.bytes;
        cut += seen.cut;
    }
    if count != ROUNDS {
        return Err(format!("{count} rounds of connections, not {ROUNDS}"));
    }
    Ok(format!("{CONNECTIONS} connections at once, {bytes} bytes compared, {cut} cut off, lost 0"))
}

/// Runs a round of connections.
pub fn round(port: u16, round: usize) -> Result<Seen, String> {
    let client = |index| Client::connect(port, index, round * CONNECTIONS + index);
    // One after the other, each with its first message: the queue of the emulator's listener has one place, and a connection
    // that finds it full and then sends nothing is forgotten by the system.
    let clients = (0..CONNECTIONS).map(client).collect::<Result<Vec<_>, _>>()?;
    let running: Vec<_> = clients.into_iter().map(|client| thread::spawn(|| client.run())).collect();
    let mut seen = Seen::default();
    for running in running {
        let one = running.join().map_err(|_| "a client panicked".to_owned())??;
        seen.bytes += one.bytes;
        seen.cut += one.cut;
    }
    Ok(seen)
}

struct Client {
    index: usize,
    stream: TcpStream,
    random: Xorshift,
    exchanged: usize,
}

impl Client {
    fn connect(port: u16, index: usize, seed: usize) -> Result<Self, String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = stream.map_err(|e| format!("connection {index}: {e}"))?;
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(LIMIT)));
        set.map_err(|e| e.to_string())?;
        let mut client =
            Self { index, stream, random: Xorshift(0x9E37_79B9 ^ (seed as u32 + 1)), exchanged: 0 };
        client.exchange(1)?;
        Ok(client)
    }

    /// Exchanges messages, unless it is one of the quarter that is idle from the start. Then ends the connection, or waits until
    /// the server cuts it off.
    fn run(mut self) -> Result<Seen, String> {
        while !self.index.is_multiple_of(4) && self.exchanged < BYTES {
            let length = 1 + self.random.below(LONGEST);
            self.exchange(length.min(BYTES - self.exchanged))?;
            if self.random.below(4) == 0 {
                thread::sleep(Duration::from_micros(self.random.below(4_000) as u64));
            }
        }
        let waits = self.index.is_multiple_of(2);
        if !waits {
            self.stream.shutdown(Shutdown::Write).map_err(|e| self.failed(e.kind()))?;
        }
        let start = Instant::now();
        let count = self.stream.read(&mut [0]).map_err(|e| self.failed(e.kind()))?;
        let after = start.elapsed();
        match (count, waits) {
            (0, true) if after + Duration::from_millis(100) < IDLE => {
                Err(format!("connection {} was cut off after {after:?}", self.index))
            }
            (0, _) => Ok(Seen { bytes: self.exchanged, cut: usize::from(waits) }),
            _ => Err(format!("connection {}: a byte too many", self.index)),
        }
    }

    /// Sends a message and compares the echo.
    fn exchange(&mut self, length: usize) -> Result<(), String> {
        let sent: Vec<u8> = (0..length).map(|_| (self.random.next() >> 16) as u8).collect();
        let mut received = vec![0; length];
        self.stream.write_all(&sent).map_err(|e| self.failed(e.kind()))?;
        self.stream.read_exact(&mut received).map_err(|e| self.failed(e.kind()))?;
        if let Some(at) = sent.iter().zip(&received).position(|(sent, received)| sent != received) {
            return Err(format!("connection {}: byte {} is another", self.index, self.exchanged + at));
        }
        self.exchanged += length;
        Ok(())
    }

    fn failed(&self, kind: ErrorKind) -> String {
        format!("connection {} after {} bytes: {kind}", self.index, self.exchanged)
    }
}
