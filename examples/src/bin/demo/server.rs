//! The process that was started: it serves, starts the client, and shows what the client says.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netpoll_rt::Runtime;
use netpoll_rt::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::options::{Options, Spoil, check_descriptors};
use crate::report::{Line, Progress, Summary, table};

const BUFFER: usize = 4096;

/// The client speaks every second. Silence for so long means that even its timers stand still.
const SILENCE: Duration = Duration::from_secs(15);

/// Which read of the chosen connection a mistake falls on.
const SPOILED_READ: usize = 3;

/// The first thing that went wrong on the server's side.
#[derive(Default)]
struct Trouble(Mutex<Option<String>>);

impl Trouble {
    fn note(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    fn first(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    check_descriptors(options.conns).map_err(Failure::Refused)?;
    let refused = |what: &str, error: io::Error| Failure::Refused(format!("{what}: {error}"));
    let built = Runtime::builder().workers(options.workers).build();
    let runtime = built.map_err(|e| refused("cannot start the runtime", e))?;
    let bound = runtime.block_on(TcpListener::bind(options.addr));
    let listener = bound.map_err(|e| refused("cannot listen (--addr chooses the address)", e))?;
    let address = listener.local_addr().map_err(|e| refused("no address", e))?;
    let client = start_client(options, address).map_err(|e| refused("cannot start the client", e))?;
    println!(
        "echo server on {address}, client in process {}; {} workers each, every message of 1 to 16384 bytes is checked",
        client.id(),
        options.workers
    );
    let trouble = Arc::new(Trouble::default());
    let spoil = options.spoil.map(|how| (options.conns / 2, how));
    runtime.spawn(accept(listener, spoil, trouble.clone()));
    // Reading the client's lines blocks, so a thread of the pool does it; this one may be the only worker.
    let watched = runtime.block_on(runtime.spawn_blocking(move || watch(client, &trouble)));
    let summary = watched.map_err(|error| Failure::Broken(error.to_string()))??;
    table(&summary, &runtime.metrics());
    Ok(())
}

/// `spoil` is a connection's number and the mistake to make on it.
async fn accept(listener: TcpListener, spoil: Option<(usize, Spoil)>, trouble: Arc<Trouble>) {
    for number in 0.. {
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) => return trouble.note(error.to_string()),
        };
        let how = spoil.and_then(|(at, how)| (at == number).then_some(how));
        let trouble = trouble.clone();
        netpoll_rt::spawn(async move {
            if let Err(error) = echo(stream, how).await {
                trouble.note(error.to_string());
            }
        });
    }
}

async fn echo(stream: TcpStream, spoil: Option<Spoil>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for turn in 0.. {
        let n = stream.read(&mut buffer).await?;
        match spoil.filter(|_| turn == SPOILED_READ) {
            _ if n == 0 => break,
            Some(Spoil::End) => break,
            Some(Spoil::Lose) => continue,
            Some(Spoil::Flip) => buffer[n - 1] ^= 1,
            None => {}
        }
        stream.write_all(&buffer[..n]).await?;
    }
    Ok(())
}

/// The client ends when its standard input does, and so with this process, however that ends.
fn start_client(options: &Options, address: SocketAddr) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["client", "--addr", &address.to_string()])
        .args(["--conns", &options.conns.to_string()])
        .args(["--workers", &options.workers.to_string()])
        .args(["--seconds", &options.seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// Follows the client to its end; if it does not end well, it is ended.
fn watch(mut client: Child, trouble: &Trouble) -> Result<Summary, Failure> {
    // Not left in `client`: waiting would close it, which tells the client to give up.
    let input = client.stdin.take();
    let lines = lines_of(&mut client);
    let result = follow(&lines, trouble);
    if result.is_err() {
        // Fails only if the client has just ended by itself, which is as good.
        let _ = client.kill();
    }
    let status = client.wait();
    drop(input);
    let summary = result.map_err(Failure::Broken)?;
    match status {
        Ok(status) if status.success() => Ok(summary),
        Ok(status) => Err(Failure::Broken(format!("the client ended with {status}"))),
        Err(error) => Err(Failure::Broken(format!("the client's end is unknown: {error}"))),
    }
}

fn lines_of(client: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let output = client.stdout.take();
    std::thread::spawn(move || {
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

fn follow(lines: &Receiver<String>, trouble: &Trouble) -> Result<Summary, String> {
    let mut progress = Progress::default();
    loop {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(format!("the client was silent for {SILENCE:?}")),
            Err(RecvTimeoutError::Disconnected) => return Err("the client ended without a result".to_owned()),
        };
        let said = Line::parse(&line);
        // A fault of the client comes first: what troubles the server then may come from the client's end.
        if let (Some(what), false) = (trouble.first(), matches!(said, Some(Line::Fault(_)))) {
            return Err(format!("the server: {what}"));
        }
        match said {
            Some(Line::Tick { conns, messages }) => progress.show(conns, messages),
            Some(Line::Fault(fault)) => return Err(fault),
            Some(Line::Done(summary)) => return Ok(summary),
            None => return Err(format!("the client said something unknown: {line}")),
        }
    }
}
