//! The measurements, one text for all runtimes: what differs is the implementation of [`Side`]. The peers outside the
//! default build take this folder in by its path.

mod fire;
mod line;
mod micro;
mod multi;
mod options;
mod samples;
mod sync;
mod timers;
mod usage;

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use options::Options;

/// What every peer offers to one read.
pub const READ_BUFFER: usize = 16 * 1024;

/// How a connection reads.
#[derive(Clone, Copy)]
pub enum Mode {
    /// It has its buffer from the start.
    Eager,
    /// The same, with a fresh deadline before every read.
    Deadline(Form, Duration),
    /// It has no buffer: all of a thread share one.
    Lazy,
}

/// How a deadline is told.
#[derive(Clone, Copy)]
pub enum Form {
    /// As an instant, which the caller works out.
    At,
    /// As a duration from now.
    After,
}

/// A runtime.
pub trait Side: 'static {
    type Runtime;

    /// One thread: it runs on the one that calls `block_on`. More: on threads of its own.
    fn runtime(threads: usize) -> io::Result<Self::Runtime>;

    fn block_on<F: Future>(runtime: &Self::Runtime, future: F) -> F::Output;

    /// A task and its value. It goes on when the future that is given is dropped, or not, as the runtime has it.
    fn spawn<F>(future: F) -> impl Future<Output = F::Output> + Send + 'static
    where
        F: Future<Output: Send + 'static> + Send + 'static;

    /// A task that nobody awaits.
    fn launch(future: impl Future<Output = ()> + Send + 'static);

    fn yield_now() -> impl Future<Output = ()> + Send + 'static;

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send + 'static;

    fn sleep_until(at: Instant) -> impl Future<Output = ()> + Send + 'static;

    /// An echo server, written as the runtime's documentation would; tells where it listens.
    fn serve(
        address: SocketAddr,
        mode: Mode,
        told: impl FnOnce(SocketAddr) + Send + 'static,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static;

    /// What it takes to have a fresh deadline before a read, so many times.
    fn move_deadline(form: Form, limit: Duration, times: u64) -> impl Future<Output = io::Result<()>>;
}

/// The program of a peer.
pub fn main<S: Side>() -> ExitCode {
    match run::<S>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("peer: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run<S: Side>() -> Result<(), String> {
    let (command, options) = Options::from_args()?;
    match command.as_str() {
        "echo" => echo::<S>(&options),
        "micro" => micro::run::<S>(&options),
        _ => Err(format!("there is no command `{command}`: echo or micro")),
    }
}

fn echo<S: Side>(options: &Options) -> Result<(), String> {
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
    let runtime = S::runtime(options.get("threads", 1)?).map_err(|error| error.to_string())?;
    let block = Duration::from_millis(options.get("block", 0)?);
    // The acceptor is a task, not the future of this thread, which is no worker when there are several.
    let served = S::block_on(&runtime, async move {
        if !block.is_zero() {
            S::launch(block_again_and_again::<S>(block));
        }
        S::spawn(S::serve(address, mode, announce)).await
    });
    served.map_err(|error| format!("{address}: {error}"))
}

/// A bad task: it holds its worker for so long, and after a short pause whichever has it then.
async fn block_again_and_again<S: Side>(block: Duration) {
    loop {
        S::sleep(Duration::from_millis(100)).await;
        std::thread::sleep(block);
    }
}

/// Whoever started us waits for this line; without it he gives up, so a closed output needs no word of ours.
fn announce(address: SocketAddr) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "LISTENING {address}").and_then(|()| out.flush());
}
