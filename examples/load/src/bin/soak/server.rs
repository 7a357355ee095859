//! The server: it echoes, starts the client, watches itself and judges the run.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_load::{BUFFER, Client, Failure, Figures, Line};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Handle, Runtime, spawn};

use crate::connection::{PATIENCE, cancel_after};
use crate::limits::ChangingLimits;
use crate::report::{Outcome, Progress};
use crate::tally::Tally;
use crate::usage::{Held, Memory};
use crate::watchdog::{self, Watchdog};
use crate::work::wait_for_descriptor;
use crate::{Options, Spoil};

/// The number of ports. With several, the port numbers of ended connections are never all in use.
const PORTS: usize = 4;

/// The time without a line after which the client counts as hung. It reports every second.
const SILENCE: Duration = Duration::from_secs(30);

/// The read of the chosen connection from which `--spoil` applies.
const SPOILED_READ: usize = 2;

/// One read of this many is cancelled.
const CANCELS: u8 = 100;

/// The state that the tasks of the server share.
#[derive(Default)]
struct Shared {
    /// The first error.
    trouble: OnceLock<String>,
    tally: Tally,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let refused = |what: &str, error: io::Error| Failure::Refused(format!("{what}: {error}"));
    let built = Runtime::builder().workers(options.workers).build();
    let runtime = built.map_err(|error| refused("cannot start the runtime", error))?;
    let shared = Arc::new(Shared::default());
    let addrs = listen(&runtime, options, &shared).map_err(|error| refused("cannot listen", error))?;
    let before = when_settled(runtime.handle()).map_err(|error| refused("/proc", error))?;
    let client = start_client(options, &addrs).map_err(|error| refused("cannot start the client", error))?;
    println!(
        "{} connections for {:?}, server in process {}, client in {}, {} workers each",
        options.conns,
        options.length,
        std::process::id(),
        client.id(),
        options.workers
    );
    let limits = options.limits.then(ChangingLimits::start);
    let (figures, memory) = watch(client, runtime.handle(), &shared).map_err(Failure::Broken)?;
    let lowered = limits.map(ChangingLimits::stop).transpose().map_err(Failure::Broken)?;
    let settled = Held::settles_at(before, runtime.handle());
    let (own, length) = (shared.tally.figures(), options.length);
    let outcome = Outcome { figures, own, memory, length, before, settled, lowered };
    outcome.show_table(&runtime.metrics());
    outcome.judge().map_err(Failure::Broken)?;
    outcome.show_verdict();
    Ok(())
}

/// Listens on all ports and starts to accept.
fn listen(runtime: &Runtime, options: &Options, shared: &Arc<Shared>) -> io::Result<Vec<SocketAddr>> {
    let mut addrs = Vec::new();
    for port in 0..PORTS {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        addrs.push(listener.local_addr()?);
        runtime.spawn(accept(listener, options.spoil.filter(|_| port == 0), shared.clone()));
    }
    Ok(addrs)
}

/// Returns what the process holds once the acceptors are parked.
fn when_settled(handle: &Handle) -> io::Result<Held> {
    let began = Instant::now();
    while handle.waiters() < PORTS && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
    Held::now(handle)
}

/// Accepts connections. The mistake is made on the first of them.
async fn accept(listener: TcpListener, mut spoil: Option<Spoil>, shared: Arc<Shared>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) if wait_for_descriptor(&error, &shared.tally).await => continue,
            Err(error) => {
                shared.trouble.get_or_init(|| error.to_string());
                return;
            }
        };
        let (how, shared) = (spoil.take(), shared.clone());
        spawn(async move {
            let ended = echo(&stream, how, &shared.tally).await;
            if let Some(error) = ended.err().filter(|error| !is_of_the_peer(error)) {
                shared.trouble.get_or_init(|| error.to_string());
            }
            if how == Some(Spoil::Leak) {
                mem::forget(stream);
            }
        });
    }
}

/// Returns whether the error is the effect of a client that drops its end with an echo in flight.
fn is_of_the_peer(error: &io::Error) -> bool {
    [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind())
}

async fn echo(stream: &TcpStream, spoil: Option<Spoil>, tally: &Tally) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for turn in 0.. {
        stream.set_read_deadline_after(PATIENCE)?;
        let read = stream.read(&mut buffer);
        let n = if fastrand::u8(..CANCELS) == 0 {
            let limit = Duration::from_micros(fastrand::u64(..1000));
            match cancel_after(limit, read, tally).await {
                Some(n) => n?,
                None => continue,
            }
        } else {
            read.await?
        };
        if n == 0 {
            break;
        }
        match spoil.filter(|_| turn >= SPOILED_READ) {
            Some(Spoil::Flip) => buffer[n - 1] ^= 1,
            Some(Spoil::Deaf) => Netpoll::current()?.deregister(stream.as_fd()),
            Some(Spoil::Leak) | None => {}
        }
        stream.set_write_deadline_after(PATIENCE)?;
        stream.write_all(&buffer[..n]).await?;
    }
    Ok(())
}

fn start_client(options: &Options, addrs: &[SocketAddr]) -> io::Result<Client> {
    let mut words: Vec<_> = addrs.iter().map(|addr| format!("--addr={addr}")).collect();
    words.push(format!("--conns={}", options.conns));
    words.push(format!("--workers={}", options.workers));
    words.push(format!("--pause={}", options.pause.as_millis()));
    words.push(format!("--seconds={}", options.length.as_secs()));
    words.extend(options.limits.then(|| "--limits".to_owned()));
    Client::start(&words)
}

/// Follows the client to its end and runs the watchdog of this process. Returns the client's figures.
fn watch(client: Client, handle: &Handle, shared: &Shared) -> Result<(Figures, Memory), String> {
    let (mut watchdog, mut memory, mut progress) = (Watchdog::default(), Memory::default(), Progress::new());
    let mut heard = Instant::now();
    loop {
        match client.next_line(watchdog::INTERVAL)? {
            Some(Line::Tick(figures)) => {
                heard = Instant::now();
                memory.sample();
                progress.show(&figures, &memory);
            }
            Some(Line::Fault(fault)) => return Err(fault),
            Some(Line::Done(figures)) => return client.finish().map(|()| (figures, memory)),
            None if heard.elapsed() > SILENCE => {
                return Err(format!("the client was silent for {SILENCE:?}"));
            }
            None => {}
        }
        watchdog.check(handle, &shared.tally).map_err(|fault| format!("the server: {fault}"))?;
        if let Some(what) = shared.trouble.get() {
            return Err(format!("the server: {what}"));
        }
    }
}
