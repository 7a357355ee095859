//! smol under the measurements, and its echo server: one executor, run by the thread that waits or by several.

#[path = "../../../src/bin/peer/work/mod.rs"]
mod work;

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Executor, Timer};

use work::{Form, Mode, READ_BUFFER, Side};

static EXECUTOR: Executor<'static> = Executor::new();

struct Smol;

/// Whether the thread that waits runs the tasks too.
struct Alone(bool);

fn main() -> ExitCode {
    work::main::<Smol>()
}

impl Side for Smol {
    type Runtime = Alone;

    /// Threads live as long as the process, which measures one thing and ends.
    fn runtime(threads: usize) -> io::Result<Alone> {
        for _ in 0..if threads == 1 { 0 } else { threads } {
            thread::Builder::new().spawn(|| smol::block_on(EXECUTOR.run(pending::<()>())))?;
        }
        Ok(Alone(threads == 1))
    }

    fn block_on<F: Future>(runtime: &Alone, future: F) -> F::Output {
        if runtime.0 { smol::block_on(EXECUTOR.run(future)) } else { smol::block_on(future) }
    }

    fn spawn<F>(future: F) -> impl Future<Output = F::Output> + Send + 'static
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        EXECUTOR.spawn(future)
    }

    fn launch(future: impl Future<Output = ()> + Send + 'static) {
        EXECUTOR.spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + Send + 'static {
        smol::future::yield_now()
    }

    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    async fn sleep_until(at: Instant) {
        Timer::at(at).await;
    }

    async fn serve(address: SocketAddr, mode: Mode, told: impl FnOnce(SocketAddr) + Send) -> io::Result<()> {
        let listener = Async::<TcpListener>::bind(address)?;
        told(listener.get_ref().local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            // How a connection ends is the load generator's to judge.
            match mode {
                Mode::Eager => EXECUTOR.spawn(eager(stream)).detach(),
                Mode::Deadline(form, limit) => EXECUTOR.spawn(deadline(stream, form, limit)).detach(),
                Mode::Lazy => EXECUTOR.spawn(async move { lazy(&mut stream).await }).detach(),
            }
        }
    }

    /// A timer beside nothing is made, armed by its first poll and dropped.
    async fn move_deadline(form: Form, limit: Duration, times: u64) -> io::Result<()> {
        for _ in 0..times {
            polled(pending::<io::Result<usize>>().or(timed_out(form, limit))).await;
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

async fn timed_out(form: Form, limit: Duration) -> io::Result<usize> {
    match form {
        Form::At => Timer::at(Instant::now() + limit).await,
        Form::After => Timer::after(limit).await,
    };
    Err(io::ErrorKind::TimedOut.into())
}

async fn eager(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn deadline(mut stream: Async<TcpStream>, form: Form, limit: Duration) -> io::Result<()> {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match stream.read(&mut buffer).or(timed_out(form, limit)).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

thread_local! {
    /// What connections without a buffer of their own read into.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// The rest of a write is rare, and its future has a place of its own only then. The stream is lent: an argument of an
/// `async fn` has two places in its future.
async fn lazy(stream: &mut Async<TcpStream>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let Some(rest) = echo_now(stream.get_ref())? else { return Ok(()) };
        if !rest.is_empty() {
            Box::pin(stream.write_all(&rest)).await?;
        }
    }
}

/// Reads what is there and writes it back, as far as that goes without waiting; gives the rest. None at the end.
fn echo_now(mut stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let unless_blocked = |result: io::Result<usize>| match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    };
    BUFFER.with_borrow_mut(|buffer| {
        let read = match unless_blocked(stream.read(buffer))? {
            Some(0) => return Ok(None),
            read => read.unwrap_or(0),
        };
        let bytes = &buffer[..read];
        let sent = if bytes.is_empty() { 0 } else { unless_blocked(stream.write(bytes))?.unwrap_or(0) };
        Ok(Some(bytes[sent..].to_vec()))
    })
}
