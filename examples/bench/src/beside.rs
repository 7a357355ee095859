//! The work that a server does beside its echo: a task that blocks its worker, one that computes, writers of bulk, and one
//! connection that is always ready.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::Peer;
use crate::process::Options;

/// The time between two reads of the bytes that the writers have sent.
const PAUSE: Duration = Duration::from_millis(100);

/// The bytes in flight on the connection that is always ready.
const FLOOD: usize = 64 * 1024;

/// The work beside an echo; zero is none.
#[derive(Clone, Copy)]
pub struct Beside {
    /// The time for which a task blocks its worker, with a pause after it.
    block: Duration,
    /// The time for which a task computes in each of its turns.
    hog: Duration,
    /// The number of tasks that write all the time.
    writers: usize,
    /// The bytes of one of their writes.
    write_size: usize,
    /// The number of connections whose clients send all the time.
    floods: usize,
}

impl Beside {
    /// Reads the options of the program.
    pub fn from_options(options: &Options) -> Result<Self, String> {
        Ok(Self {
            block: Duration::from_millis(options.get("block", 0)?),
            hog: Duration::from_millis(options.get("hog", 0)?),
            writers: options.get("writers", 0)?,
            write_size: options.get("write-size", 1 << 20)?,
            floods: options.get("floods", 0)?,
        })
    }

    /// Starts the work, within the runtime.
    pub fn start<P: Peer>(&self) -> io::Result<()> {
        if !self.block.is_zero() {
            P::launch(block_again_and_again::<P>(self.block));
        }
        if !self.hog.is_zero() {
            P::launch(compute_again_and_again::<P>(self.hog));
        }
        for stream in read_slowly(self.writers)? {
            P::launch(P::write_all_the_time(stream, self.write_size));
        }
        Ok(())
    }

    /// Starts the clients, once the server listens.
    pub fn start_clients(&self, address: SocketAddr) {
        for _ in 0..self.floods {
            // The measurement fails without it, as the load then finds no server.
            thread::spawn(move || flood(address));
        }
    }
}

/// Blocks the worker that runs this task for `block`, again and again.
async fn block_again_and_again<P: Peer>(block: Duration) {
    loop {
        P::sleep(Duration::from_millis(100)).await;
        thread::sleep(block);
    }
}

/// Computes for `hog` in each turn.
async fn compute_again_and_again<P: Peer>(hog: Duration) {
    loop {
        let began = Instant::now();
        while began.elapsed() < hog {
            std::hint::spin_loop();
        }
        P::yield_now().await;
    }
}

/// Connects that number of streams to a thread that reads 1 MiB from each of them, sleeps, and does so again.
fn read_slowly(count: usize) -> io::Result<Vec<TcpStream>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut writers, mut readers) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let writer = TcpStream::connect(listener.local_addr()?)?;
        writer.set_nonblocking(true)?;
        writers.push(writer);
        let reader = listener.accept()?.0;
        reader.set_nonblocking(true)?;
        readers.push(reader);
    }
    let read_some = move || {
        let mut buffer = vec![0; 1 << 20];
        loop {
            for reader in &mut readers {
                // An error is that nothing has come, or that the process ends.
                let _ = reader.read(&mut buffer);
            }
            thread::sleep(PAUSE);
        }
    };
    if count > 0 {
        thread::spawn(read_some);
    }
    Ok(writers)
}

/// Keeps [`FLOOD`] bytes in flight on a connection with the server.
fn flood(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    let (mut reader, mut writer) = (stream.try_clone()?, stream);
    let message = vec![1; FLOOD / 2];
    writer.write_all(&message)?;
    let mut buffer = vec![0; FLOOD / 2];
    loop {
        writer.write_all(&message)?;
        reader.read_exact(&mut buffer)?;
    }
}
