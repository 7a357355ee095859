//! This runtime under the measurements, and its echo server.

use std::cell::RefCell;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Runtime, time};

use crate::work::{Form, Mode, READ_BUFFER, Side};

/// The runtime's own default where it may use several processors.
const SPIN: Duration = Duration::from_micros(50);

pub struct Ours;

impl Side for Ours {
    type Runtime = Runtime;

    /// With 1 worker it has no thread of its own, and is tied to a processor while whom it serves runs on another: the
    /// runtime cannot see that and must be told.
    fn runtime(threads: usize) -> io::Result<Runtime> {
        let builder = Runtime::builder().workers(threads);
        match threads {
            1 => builder.spin_before_park(SPIN).build(),
            _ => builder.build(),
        }
    }

    fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
        runtime.block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output> + Send + 'static
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = netpoll_rt::spawn(future);
        async { task.await.expect("a task of a measurement ended early") }
    }

    fn launch(future: impl Future<Output = ()> + Send + 'static) {
        drop(netpoll_rt::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> + Send + 'static {
        netpoll_rt::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        time::sleep(duration)
    }

    fn sleep_until(at: Instant) -> impl Future<Output = ()> + Send + 'static {
        time::sleep_until(at)
    }

    async fn serve(address: SocketAddr, mode: Mode, told: impl FnOnce(SocketAddr) + Send) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        told(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // How a connection ends is the load generator's to judge.
            match mode {
                Mode::Eager => drop(netpoll_rt::spawn(eager(stream))),
                Mode::Deadline(Form::At, limit) => drop(netpoll_rt::spawn(deadline_at(stream, limit))),
                Mode::Deadline(Form::After, limit) => drop(netpoll_rt::spawn(deadline_after(stream, limit))),
                Mode::Lazy => drop(netpoll_rt::spawn(async move { lazy(&stream).await })),
            }
        }
    }

    /// The deadline of one connection moves later again and again.
    async fn move_deadline(form: Form, limit: Duration, times: u64) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        match form {
            Form::At => {
                (0..times).try_for_each(|_| stream.set_read_deadline(Some(Instant::now() + limit)))?
            }
            Form::After => (0..times).try_for_each(|_| stream.set_read_deadline_after(limit))?,
        }
        ready(Ok(())).await
    }
}

/// Read into a vector's own room, a buffer need not be filled with zeros first.
async fn eager(stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        match stream.read_buf(&mut buffer).await? {
            0 => return Ok(()),
            _ => stream.write_all(&buffer).await?,
        }
    }
}

async fn deadline_after(stream: TcpStream, limit: Duration) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        stream.set_read_deadline_after(limit)?;
        match stream.read_buf(&mut buffer).await? {
            0 => return Ok(()),
            _ => stream.write_all(&buffer).await?,
        }
    }
}

async fn deadline_at(stream: TcpStream, limit: Duration) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        stream.set_read_deadline(Some(Instant::now() + limit))?;
        match stream.read_buf(&mut buffer).await? {
            0 => return Ok(()),
            _ => stream.write_all(&buffer).await?,
        }
    }
}

thread_local! {
    /// What connections without a buffer of their own read into.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// The rest of a write is rare, and its future has a place of its own only then. The stream is lent: an argument of an
/// `async fn` has two places in its future.
async fn lazy(stream: &TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let Some(rest) = echo_now(stream)? else { return Ok(()) };
        if !rest.is_empty() {
            Box::pin(stream.write_all(&rest)).await?;
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
