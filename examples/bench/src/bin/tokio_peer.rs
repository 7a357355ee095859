//! tokio under the measurements, and its echo server. The flavor is `current_thread` for one thread, else `multi_thread`.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netpoll_bench::peer::{self, Form, Mode, Peer, READ_BUFFER, echo_available, poll_once};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{timeout, timeout_at};

struct Tokio;

fn main() -> ExitCode {
    peer::main::<Tokio>()
}

impl Peer for Tokio {
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

    fn spawn_blocking<T: Send + 'static>(
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let task = tokio::task::spawn_blocking(closure);
        async { task.await.expect("a closure of a measurement panicked") }
    }

    fn launch_cancellable(future: impl Future<Output = ()> + Send + 'static) -> impl FnOnce() {
        let task = tokio::spawn(future);
        move || task.abort()
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

    async fn serve(
        address: SocketAddr,
        mode: Mode,
        listening: impl FnOnce(SocketAddr) + Send,
    ) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        listening(listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // The load generator judges how a connection ends.
            match mode {
                Mode::Eager => drop(tokio::spawn(eager(stream))),
                Mode::Deadline(Form::At, limit) => drop(tokio::spawn(deadline_at(stream, limit))),
                Mode::Deadline(Form::After, limit) => drop(tokio::spawn(deadline_after(stream, limit))),
                Mode::Lazy => drop(tokio::spawn(async move { lazy(&mut stream).await })),
            }
        }
    }

    async fn write_all_the_time(stream: std::net::TcpStream, size: usize) {
        let Ok(mut stream) = TcpStream::from_std(stream) else { return };
        let bytes = vec![1; size];
        while stream.write_all(&bytes).await.is_ok() {}
    }

    /// Creates a `timeout` around nothing, polls it once, which arms it, and drops it.
    async fn move_deadline(form: Form, limit: Duration, times: u64) -> io::Result<()> {
        for _ in 0..times {
            match form {
                Form::At => poll_once(timeout_at((Instant::now() + limit).into(), pending::<()>())).await,
                Form::After => poll_once(timeout(limit, pending::<()>())).await,
            }
        }
        Ok(())
    }
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

/// Echoes without a buffer of the connection. The future that writes a rest is boxed, because a rest is rare. The stream is
/// borrowed, because an owned argument of an `async fn` is stored twice in its future.
async fn lazy(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let Some(rest) = echo_available(|buffer| stream.try_read(buffer), |bytes| stream.try_write(bytes))?
        else {
            return Ok(());
        };
        if !rest.is_empty() {
            Box::pin(stream.write_all(&rest)).await?;
        }
    }
}
