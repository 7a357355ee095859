//! The process that was started: it serves, starts the client, keeps watch over itself and judges at the end.

use std::io::{self, BufRead, BufReader};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::netpoll::Netpoll;
use netpoll_rt::{Handle, Runtime, spawn};

use crate::Failure;
use crate::connection::{BUFFER, PATIENCE, given_up};
use crate::options::{Options, Spoil};
use crate::report::{self, Ended, Progress};
use crate::tally::{Figures, Line, Tally};
use crate::usage::{Held, Memory};
use crate::watchdog::{self, Watchdog};
use crate::work::waits_for_descriptors;

/// Ports, so that the connections that end never use up the numbers of those that begin.
const PORTS: usize = 4;

/// The client speaks every second. Silence for so long means that even its threads stand still.
const SILENCE: Duration = Duration::from_secs(30);

/// Which read of the chosen connection a mistake falls on.
const SPOILED_READ: usize = 2;

/// One read in so many is given up.
const CANCELS: u8 = 100;

/// What the tasks of the server share.
#[derive(Default)]
struct Shared {
    /// The first thing that went wrong.
    trouble: Mutex<Option<String>>,
    tally: Tally,
}

impl Shared {
    fn note(&self, what: String) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let refused = |what: &str, error: io::Error| Failure::Refused(format!("{what}: {error}"));
    let built = Runtime::builder().workers(options.workers).build();
    let runtime = built.map_err(|e| refused("cannot start the runtime", e))?;
    let shared = Arc::new(Shared::default());
    let addrs = listen(&runtime, options, &shared).map_err(|e| refused("cannot listen", e))?;
    let before = settled(runtime.handle()).map_err(|e| refused("/proc", e))?;
    let mut client = start_client(options, &addrs).map_err(|e| refused("cannot start the client", e))?;
    println!(
        "{} connections for {:?}, server in process {}, client in {}, {} workers each",
        options.conns,
        options.length,
        std::process::id(),
        client.id(),
        options.workers
    );
    // Not left in `client`: waiting would close it, which tells the client to give up.
    let input = client.stdin.take();
    let watched = watch(&mut client, runtime.handle(), &shared);
    if watched.is_err() {
        // Fails only if the client has just ended by itself, which is as good.
        let _ = client.kill();
    }
    let status = client.wait();
    drop(input);
    let (figures, memory) = watched.map_err(Failure::Broken)?;
    if !status.as_ref().is_ok_and(|status| status.success()) {
        return Err(Failure::Broken(format!("the client ended with {status:?}")));
    }
    let settled = Held::settles_at(before, runtime.handle());
    let (own, length) = (shared.tally.figures(), options.length);
    let ended = Ended { figures, own, memory, length, before, settled, limits: options.limits };
    report::table(&ended, &runtime.metrics());
    ended.judge().map_err(Failure::Broken)?;
    report::verdict(&ended);
    Ok(())
}

/// Listens on some ports, and accepts there from now on.
fn listen(runtime: &Runtime, options: &Options, shared: &Arc<Shared>) -> io::Result<Vec<SocketAddr>> {
    let spoil = options.spoil;
    let mut addrs = Vec::new();
    for port in 0..PORTS {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        addrs.push(listener.local_addr()?);
        runtime.spawn(accept(listener, spoil.filter(|_| port == 0), shared.clone()));
    }
    Ok(addrs)
}

/// What it holds once its first tasks wait.
fn settled(handle: &Handle) -> io::Result<Held> {
    let began = Instant::now();
    while handle.waiters() < PORTS && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
    Held::now(handle)
}

/// The first connection of the port is the one to make a mistake on.
async fn accept(listener: TcpListener, spoil: Option<Spoil>, shared: Arc<Shared>) {
    let mut spoil = spoil;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) if waits_for_descriptors(&error, &shared.tally).await => continue,
            Err(error) => return shared.note(error.to_string()),
        };
        let (how, shared) = (spoil.take(), shared.clone());
        spawn(async move {
            let ended = echo(&stream, how, &shared.tally).await;
            if let Some(error) = ended.err().filter(|error| !is_of_the_peer(error)) {
                shared.note(error.to_string());
            }
            if how == Some(Spoil::Leak) {
                mem::forget(stream);
            }
        });
    }
}

/// A client that drops its end while an echo is under way makes these.
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
            match given_up(limit, read, tally).await {
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

/// The client ends when its standard input does, and so with this process, however that ends.
fn start_client(options: &Options, addrs: &[SocketAddr]) -> io::Result<Child> {
    let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    let limits = options.limits.then_some("--limits");
    Command::new(std::env::current_exe()?)
        .args(["client", "--addrs", &addrs.join(",")])
        .args(["--conns", &options.conns.to_string()])
        .args(["--workers", &options.workers.to_string()])
        .args(["--pause", &options.pause.as_millis().to_string()])
        .args(["--seconds", &options.length.as_secs().to_string()])
        .args(limits)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// Follows the client to its end, with an eye on itself.
fn watch(client: &mut Child, handle: &Handle, shared: &Shared) -> Result<(Figures, Memory), String> {
    let lines = lines_of(client);
    let (mut watchdog, mut memory, mut progress) = (Watchdog::default(), Memory::default(), Progress::new());
    let mut heard = Instant::now();
    loop {
        match lines.recv_timeout(watchdog::EACH) {
            Ok(line) => {
                heard = Instant::now();
                match Line::parse(&line) {
                    Some(Line::Tick(figures)) => {
                        memory.sample();
                        progress.show(&figures, &memory);
                    }
                    Some(Line::Fault(fault)) => return Err(fault),
                    Some(Line::Done(figures)) => return Ok((figures, memory)),
                    None => return Err(format!("the client said something unknown: {line}")),
                }
            }
            Err(RecvTimeoutError::Timeout) if heard.elapsed() < SILENCE => {}
            Err(RecvTimeoutError::Timeout) => return Err(format!("the client was silent for {SILENCE:?}")),
            Err(RecvTimeoutError::Disconnected) => return Err("the client ended without a result".to_owned()),
        }
        watchdog.look(handle, &shared.tally).map_err(|fault| format!("the server: {fault}"))?;
        if let Some(what) = shared.trouble() {
            return Err(format!("the server: {what}"));
        }
    }
}

fn lines_of(client: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let output = client.stdout.take();
    thread::spawn(move || {
        let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
        // A line that cannot be read is the end, and so is a watcher who does not listen any more.
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
