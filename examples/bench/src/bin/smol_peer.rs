//! smol under the measurements, and its echo server: one executor, which the waiting thread runs or several others.

use std::future::{Future, pending};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use netpoll_bench::peer::{self, Form, Mode, Peer, READ_BUFFER, echo_available, poll_once};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Executor, Timer};

static EXECUTOR: Executor<'static> = Executor::new();

struct Smol;

/// The choice whether the waiting thread runs the tasks.
struct Alone(bool);

fn main() -> ExitCode {
    peer::main::<Smol>()
}

impl Peer for Smol {
    type Runtime = Alone;

    /// Starts the threads, which live as long as the process. It makes one measurement.
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

    fn spawn_blocking<T: Send + 'static>(
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        smol::unblock(closure)
    }

    fn launch_cancellable(future: impl Future<Output = ()> + Send + 'static) -> impl FnOnce() {
        let task = EXECUTOR.spawn(future);
        move || drop(task)
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

    async fn serve(
        address: SocketAddr,
        mode: Mode,
        listening: impl FnOnce(SocketAddr) + Send,
    ) -> io::Result<()> {
        let listener = Async::<TcpListener>::bind(address)?;
        listening(listener.get_ref().local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            // The load generator judges how a connection ends.
            match mode {
                Mode::Eager => EXECUTOR.spawn(eager(stream)).detach(),
                Mode::Deadline(form, limit) => EXECUTOR.spawn(deadline(stream, form, limit)).detach(),
                Mode::Lazy => EXECUTOR.spawn(async move { lazy(&mut stream).await }).detach(),
            }
        }
    }

    async fn write_all_the_time(stream: std::net::TcpStream, size: usize) {
        let Ok(mut stream) = Async::new(stream) else { return };
        let bytes = vec![1; size];
        while stream.write_all(&bytes).await.is_ok() {}
    }

    /// Creates a timer beside nothing, polls it once, which arms it, and drops it.
    async fn move_deadline(form: Form, limit: Duration, times: u64) -> io::Result<()> {
        for _ in 0..times {
            poll_once(pending::<io::Result<usize>>().or(timed_out(form, limit))).await;
        }
        Ok(())
    }
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

/// Echoes without a buffer of the connection. The future that writes a rest is boxed, because a rest is rare. The stream is
/// borrowed, because an owned argument of an `async fn` is stored twice in its future.
async fn lazy(stream: &mut Async<TcpStream>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let mut socket = stream.get_ref();
        let mut other = socket;
        let Some(rest) = echo_available(|buffer| socket.read(buffer), |bytes| other.write(bytes))? else {
            return Ok(());
        };
        if !rest.is_empty() {
            Box::pin(stream.write_all(&rest)).await?;
        }
    }
}
