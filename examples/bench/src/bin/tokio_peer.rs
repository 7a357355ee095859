//! tokio under the measurements, and its echo server. `current_thread` for one thread, `multi_thread` for more.

#[path = "../../../src/bin/peer/work/mod.rs"]
mod work;

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{timeout, timeout_at};

use work::{Form, Mode, READ_BUFFER, Side};

struct Tokio;

fn main() -> ExitCode {
    work::main::<Tokio>()
}

impl Side for Tokio {
    type Runtime = Runtime;

    fn runtime(threads: usize) -> io::Result<Runtime> {
        match threads {
            1 => Builder::new_current_thread().enable_all().build(),
            n => Builder::new_multi_thread().worker_threads(n).enable_all().build(),
        }
    }

    fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
        runtime.block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output> + Send + 'static
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = tokio::spawn(future);
        async { task.await.expect("a task of a measurement ended early") }
    }

    fn launch(future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> + Send + 'static {
        tokio::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(duration)
    }

    fn sleep_until(at: Instant) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep_until(at.into())
    }

    async fn serve(address: SocketAddr, mode: Mode, told: impl FnOnce(SocketAddr) + Send) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        told(listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends is the load generator's to judge.
            match mode {
                Mode::Eager => drop(tokio::spawn(eager(stream))),
                Mode::Deadline(Form::At, limit) => drop(tokio::spawn(deadline_at(stream, limit))),
                Mode::Deadline(Form::After, limit) => drop(tokio::spawn(deadline_after(stream, limit))),
                Mode::Lazy => drop(tokio::spawn(async move { lazy(&mut stream).await })),
            }
        }
    }

    /// A `timeout` is made, armed by its first poll and dropped. What it bounds is nothing, which costs nothing.
    async fn move_deadline(form: Form, limit: Duration, times: u64) -> io::Result<()> {
        for _ in 0..times {
            match form {
                Form::At => polled(timeout_at((Instant::now() + limit).into(), pending::<()>())).await,
                Form::After => polled(timeout(limit, pending::<()>())).await,
            }
        }
        Ok(())
    }
}

/// Polls once.
async fn polled(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        drop(future.as_mut().poll(cx));
        Poll::Ready(())
    })
    .await
}

async fn eager(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        match stream.read_buf(&mut buffer).await? {
            0 => return Ok(()),
            _ => stream.write_all(&buffer).await?,
        }
    }
}

async fn deadline_after(mut stream: TcpStream, limit: Duration) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        match timeout(limit, stream.read_buf(&mut buffer)).await?? {
            0 => return Ok(()),
            _ => stream.write_all(&buffer).await?,
        }
    }
}

async fn deadline_at(mut stream: TcpStream, limit: Duration) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        match timeout_at((Instant::now() + limit).into(), stream.read_buf(&mut buffer)).await?? {
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
async fn lazy(stream: &mut TcpStream) -> io::Result<()> {
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
        Ok(Some(bytes[sent..].to_vec()))
    })
}
