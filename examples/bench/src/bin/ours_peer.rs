//! netpoll under the measurements, and its echo server.

use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netpoll_bench::peer::{self, Form, Mode, Peer, READ_BUFFER, echo_available};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Runtime, time};

/// The runtime's default if it may use several processors.
const SPIN: Duration = Duration::from_micros(50);

struct Ours;

fn main() -> ExitCode {
    peer::main::<Ours>()
}

impl Peer for Ours {
    type Runtime = Runtime;

    /// Enables spinning for one worker. The process may use one processor then, from which the runtime concludes that
    /// spinning is useless, but here the client runs on another processor.
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

    fn spawn_blocking<T: Send + 'static>(
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let task = netpoll_rt::spawn_blocking(closure);
        async { task.await.expect("a closure of a measurement panicked") }
    }

    fn launch_cancellable(future: impl Future<Output = ()> + Send + 'static) -> impl FnOnce() {
        let task = netpoll_rt::spawn(future);
        move || task.abort()
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

    async fn serve(
        address: SocketAddr,
        mode: Mode,
        listening: impl FnOnce(SocketAddr) + Send,
    ) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        listening(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // The load generator judges how a connection ends.
            match mode {
                Mode::Eager => drop(netpoll_rt::spawn(eager(stream))),
                Mode::Deadline(Form::At, limit) => drop(netpoll_rt::spawn(deadline_at(stream, limit))),
                Mode::Deadline(Form::After, limit) => drop(netpoll_rt::spawn(deadline_after(stream, limit))),
                Mode::Lazy => drop(netpoll_rt::spawn(async move { lazy(&stream).await })),
            }
        }
    }

    async fn write_all_the_time(stream: std::net::TcpStream, size: usize) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let bytes = vec![1; size];
        while stream.write_all(&bytes).await.is_ok() {}
    }

    /// Moves the deadline of one connection later, again and again.
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

/// Echoes with `read_buf`, for which a buffer need not be filled with zeros.
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

/// Echoes without a buffer of the connection. The future that writes a rest is boxed, because a rest is rare. The stream is
/// borrowed, because an owned argument of an `async fn` is stored twice in its future.
async fn lazy(stream: &TcpStream) -> io::Result<()> {
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
