//! The hosts that serve.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream, UdpSocket};
use netpoll_rt::{sim, spawn, time};

/// Sends back the bytes of each connection.
pub const ECHO: u16 = 7;
/// Passes bytes on to the echo, on the host `proxy`.
pub const PROXY: u16 = 8;
/// Sends back messages of UDP.
pub const DATAGRAMS: u16 = 9;
/// Sends bytes later, as a [`Request`] asks.
pub const LATER: u16 = 11;

/// Neither reads nor writes, for a second.
pub const HOLD: u16 = 12;

/// The orders of the server on [`LATER`].
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub microseconds: u32,
    /// The bytes that it sends in pieces, with that pause before each, which are those of [`byte`].
    pub length: u32,
    pub pieces: u32,
}

impl Request {
    pub fn to_bytes(self) -> [u8; 12] {
        let words = [self.microseconds, self.length, self.pieces];
        let mut bytes = [0; 12];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: [u8; 12]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { microseconds: word(0), length: word(4), pieces: word(8) }
    }
}

/// Returns the byte at a place of a stream.
pub fn byte(place: usize) -> u8 {
    (place % 251) as u8 ^ (place / 251) as u8
}

pub async fn server() -> sim::Result {
    let echo = TcpListener::bind(("0.0.0.0", ECHO)).await?;
    let later = TcpListener::bind(("0.0.0.0", LATER)).await?;
    let hold = TcpListener::bind(("0.0.0.0", HOLD)).await?;
    let messages = UdpSocket::bind(("0.0.0.0", DATAGRAMS)).await?;
    spawn(serve_datagrams(messages));
    spawn(serve(later, send_later));
    spawn(serve(hold, |stream| async move {
        time::sleep(Duration::from_secs(1)).await; // time is tested
        drop(stream);
        Ok(())
    }));
    serve(echo, send_back).await?;
    Ok(())
}

/// Passes each connection to a task of its own.
async fn serve<F>(listener: TcpListener, body: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(body(stream));
    }
}

thread_local! {
    /// The number of connections that the server has.
    static CONNECTIONS: Cell<usize> = const { Cell::new(0) };
}

/// A connection of the server, which is counted.
struct Connection;

impl Connection {
    fn new() -> Self {
        CONNECTIONS.set(CONNECTIONS.get() + 1);
        Self
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        CONNECTIONS.set(CONNECTIONS.get() - 1);
    }
}

/// Takes the server's power for a while. All of its tasks are gone then.
pub async fn crash(pause: Duration) -> sim::Result {
    sim::control().crash("server");
    // The crash comes after this step.
    time::sleep(pause + Duration::from_micros(1)).await; // time is tested
    let left = CONNECTIONS.get();
    sim::control().restart("server");
    if left == 0 { Ok(()) } else { Err(format!("{left} tasks of a server without power").into()) }
}

async fn send_back(stream: TcpStream) -> io::Result<()> {
    let _counted = Connection::new();
    let mut buffer = vec![0; 8192];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

async fn send_later(stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 12];
    stream.read_exact(&mut request).await?;
    let request = Request::from_bytes(request);
    let bytes: Vec<u8> = (0..request.length as usize).map(byte).collect();
    for piece in bytes.chunks(bytes.len().div_ceil(request.pieces as usize).max(1)) {
        time::sleep(Duration::from_micros(request.microseconds.into())).await; // time is tested
        stream.write_all(piece).await?;
    }
    stream.shutdown(Shutdown::Write)?;
    // The client ends its side in turn.
    stream.read(&mut [0]).await.map(drop)
}

async fn serve_datagrams(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 2048];
    loop {
        let (n, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..n], from).await?;
    }
}

pub async fn proxy() -> sim::Result {
    serve(TcpListener::bind(("0.0.0.0", PROXY)).await?, pass_on).await?;
    Ok(())
}

async fn pass_on(client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(("server", ECHO)).await?;
    netpoll_rt::io::copy_bidirectional(&client, &server).await.map(drop)
}
