//! A runtime under the measurements.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::beside::Beside;
use crate::micro;
use crate::process::Options;

/// The size of the buffer that every peer reads into.
pub const READ_BUFFER: usize = 16 * 1024;

/// The way in which a connection of the server reads.
#[derive(Clone, Copy)]
pub enum Mode {
    /// The connection has a buffer from the start.
    Eager,
    /// The same, with a new deadline before every read.
    Deadline(Form, Duration),
    /// The connection has no buffer: all connections of a thread share one.
    Lazy,
}

/// The form in which a deadline is given.
#[derive(Clone, Copy)]
pub enum Form {
    /// An instant, which the caller computes.
    At,
    /// A duration from now.
    After,
}

/// A runtime under the measurements.
pub trait Peer: 'static {
    /// The runtime's own type.
    type Runtime;

    /// Creates a runtime. With one thread it runs on the thread that calls `block_on`, with more on threads of its own.
    fn runtime(threads: usize) -> io::Result<Self::Runtime>;

    /// Runs a future to its end on this thread.
    fn block_on<F: Future>(runtime: &Self::Runtime, future: F) -> F::Output;

    /// Spawns a task and returns its output. Whether the task continues when that future is dropped is the runtime's
    /// matter.
    fn spawn<F>(future: F) -> impl Future<Output = F::Output> + Send + 'static
    where
        F: Future<Output: Send + 'static> + Send + 'static;

    /// Runs a closure on a thread that may block, and returns its output.
    fn spawn_blocking<T: Send + 'static>(
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static;

    /// Spawns a task. The function that is returned cancels it.
    fn launch_cancellable(future: impl Future<Output = ()> + Send + 'static) -> impl FnOnce();

    /// Spawns a task that is never awaited.
    fn launch(future: impl Future<Output = ()> + Send + 'static);

    /// Lets the other tasks run once.
    fn yield_now() -> impl Future<Output = ()> + Send + 'static;

    /// Sleeps for a duration.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send + 'static;

    /// Sleeps until an instant.
    fn sleep_until(at: Instant) -> impl Future<Output = ()> + Send + 'static;

    /// Runs an echo server, written in the style of the runtime's documentation. Calls `listening` with its address.
    fn serve(
        address: SocketAddr,
        mode: Mode,
        listening: impl FnOnce(SocketAddr) + Send + 'static,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static;

    /// Writes `size` bytes to a nonblocking stream, again and again.
    fn write_all_the_time(stream: TcpStream, size: usize) -> impl Future<Output = ()> + Send + 'static;

    /// Does `times` times what a read needs to have a new deadline.
    fn move_deadline(form: Form, limit: Duration, times: u64) -> impl Future<Output = io::Result<()>>;
}

/// Runs the program of a peer.
///
/// ```text
/// echo  --addr 127.0.0.1:0 --threads N [--deadline MS] [--form after|at] [--buf eager|lazy]
///       [--block MS] [--hog MS] [--writers N] [--write-size BYTES] [--floods N]
/// micro --bench NAME [--n N] [--samples K] [--us MICROSECONDS] [--apart MICROSECONDS] [--outstanding N] [--secs S]
///       [--threads N]
/// ```
///
/// With `--threads 1` everything runs on one thread.
pub fn main<P: Peer>() -> ExitCode {
    match run::<P>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("peer: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run<P: Peer>() -> Result<(), String> {
    let (command, options) = Options::from_args()?;
    match command.as_str() {
        "echo" => echo::<P>(&options),
        "micro" => micro::run::<P>(&options),
        _ => Err(format!("there is no command `{command}`: echo or micro")),
    }
}

fn echo<P: Peer>(options: &Options) -> Result<(), String> {
    let form = match options.get("form", "after".to_owned())?.as_str() {
        "at" => Form::At,
        "after" => Form::After,
        other => return Err(format!("--form {other}: after or at")),
    };
    let mode = match (options.get("buf", "eager".to_owned())?.as_str(), options.get("deadline", 0)?) {
        ("lazy", _) => Mode::Lazy,
        ("eager", 0) => Mode::Eager,
        ("eager", milliseconds) => Mode::Deadline(form, Duration::from_millis(milliseconds)),
        (other, _) => return Err(format!("--buf {other}: eager or lazy")),
    };
    let address: SocketAddr = options.get("addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let runtime = P::runtime(options.get("threads", 1)?).map_err(|error| error.to_string())?;
    let beside = Beside::from_options(options)?;
    // The acceptor is a task, because with several workers this thread is not one of them.
    let served = P::block_on(&runtime, async move {
        // A task starts them, as with several workers this thread is not one of them.
        let begin = move |address| {
            beside.start_clients(address);
            announce(address);
        };
        P::spawn(async move {
            beside.start::<P>()?;
            P::serve(address, mode, begin).await
        })
        .await
    });
    served.map_err(|error| format!("{address}: {error}"))
}

/// Prints the address. The parent fails without this line, so an error to write it needs no report.
fn announce(address: SocketAddr) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "LISTENING {address}").and_then(|()| out.flush());
}

/// Polls a future once, which arms a timer.
#[inline]
pub async fn poll_once(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        drop(future.as_mut().poll(cx));
        Poll::Ready(())
    })
    .await
}

thread_local! {
    /// The buffer of the connections that have none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// Reads the available bytes and writes them back, as far as either is possible without waiting. Returns the rest, or
/// `None` at the end of the stream. As a rule there is no rest, and an empty vector has no memory.
#[inline]
pub fn echo_available(
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<Option<Vec<u8>>> {
    BUFFER.with_borrow_mut(|buffer| {
        let read = match unless_blocked(read(buffer))? {
            Some(0) => return Ok(None),
            read => read.unwrap_or(0),
        };
        let bytes = &buffer[..read];
        let sent = if bytes.is_empty() { 0 } else { unless_blocked(write(bytes))?.unwrap_or(0) };
        Ok(Some(bytes[sent..].to_vec()))
    })
}

/// Returns `None` in place of the error `WouldBlock`.
#[inline]
pub fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}
