//! The server: it echoes, starts the client and shows the client's figures.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use netpoll_load::{
    BUFFER, Client, Failure, Figures, LONGEST_MESSAGE, Line, figure, grouped, raise_descriptor_limit,
};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Metrics, Runtime};

use crate::{Options, Spoil};

/// The time without a line after which the client counts as hung. It reports every second.
const SILENCE: Duration = Duration::from_secs(15);

/// Descriptors that each process needs beside its connections: standard streams, poller, listener, pipes.
const OTHER_DESCRIPTORS: u64 = 32;

/// The read of the chosen connection that `--spoil` applies to.
const SPOILED_READ: usize = 3;

/// The first error of the server.
type Trouble = OnceLock<String>;

pub fn run(options: &Options) -> Result<(), Failure> {
    let refused = |what: &str, error: io::Error| Failure::Refused(format!("{what}: {error}"));
    check_descriptors(options.conns as u64).map_err(Failure::Refused)?;
    let built = Runtime::builder().workers(options.workers).build();
    let runtime = built.map_err(|error| refused("cannot start the runtime", error))?;
    let bound = runtime.block_on(TcpListener::bind(options.addr));
    let listener = bound.map_err(|error| refused("cannot listen (--addr chooses the address)", error))?;
    let address = listener.local_addr().map_err(|error| refused("cannot tell the address", error))?;
    let client = Client::start(&[
        format!("--addr={address}"),
        format!("--conns={}", options.conns),
        format!("--workers={}", options.workers),
        format!("--seconds={}", options.seconds),
    ]);
    let client = client.map_err(|error| refused("cannot start the client", error))?;
    println!(
        "echo server on {address}, client in process {}; {} workers each, every message of 1 to {LONGEST_MESSAGE} bytes \
         is checked",
        client.id(),
        options.workers
    );
    let trouble = Arc::new(Trouble::new());
    let spoil = options.spoil.map(|how| (options.conns / 2, how));
    runtime.spawn(accept(listener, spoil, trouble.clone()));
    // A thread of the blocking pool reads the client's lines, because this thread may be the only worker.
    let followed = runtime.block_on(runtime.spawn_blocking(move || follow(client, &trouble)));
    let figures = followed.map_err(|error| Failure::Broken(error.to_string()))?.map_err(Failure::Broken)?;
    show_table(&figures, &runtime.metrics());
    Ok(())
}

/// Returns an error if the system does not allow as many descriptors as each of the two processes needs.
fn check_descriptors(conns: u64) -> Result<(), String> {
    let (needed, limit) = (conns + OTHER_DESCRIPTORS, raise_descriptor_limit());
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "{conns} connections need {needed} descriptors, and this system allows {limit} at most (`ulimit -Hn`): ask for \
         {} connections or fewer",
        limit.saturating_sub(OTHER_DESCRIPTORS)
    ))
}

/// Accepts connections. `spoil` is the number of one of them and the mistake to make on it.
async fn accept(listener: TcpListener, spoil: Option<(usize, Spoil)>, trouble: Arc<Trouble>) {
    for number in 0.. {
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                trouble.get_or_init(|| error.to_string());
                return;
            }
        };
        let how = spoil.and_then(|(at, how)| (at == number).then_some(how));
        let trouble = trouble.clone();
        netpoll_rt::spawn(async move {
            if let Err(error) = echo(stream, how).await {
                trouble.get_or_init(|| error.to_string());
            }
        });
    }
}

async fn echo(stream: TcpStream, spoil: Option<Spoil>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for read in 0.. {
        let n = stream.read(&mut buffer).await?;
        match spoil.filter(|_| read == SPOILED_READ) {
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

/// Shows the client's figures until it ends, and returns the last of them.
fn follow(client: Client, trouble: &Trouble) -> Result<Figures, String> {
    let (mut second, mut before) = (0, 0);
    println!("{:>6} {:>12} {:>14} {:>12}", "second", "connections", "messages", "in this one");
    loop {
        let line = client.next_line(SILENCE)?.ok_or(format!("the client was silent for {SILENCE:?}"))?;
        // A fault of the client is reported first: the client's end may be the cause of the server's error.
        if let (Some(what), false) = (trouble.get(), matches!(line, Line::Fault(_))) {
            return Err(format!("the server: {what}"));
        }
        match line {
            Line::Tick(figures) => {
                let (conns, messages) = (figure(&figures, "connections"), figure(&figures, "messages"));
                let since = messages.saturating_sub(before);
                (second, before) = (second + 1, messages);
                let [conns, messages, since] = [conns, messages, since].map(grouped);
                println!("{second:>6} {conns:>12} {messages:>14} {since:>12}");
            }
            Line::Fault(fault) => return Err(fault),
            Line::Done(figures) => return client.finish().map(|()| figures),
        }
    }
}

fn show_table(figures: &Figures, metrics: &Metrics) {
    let of = |name| figure(figures, name);
    // The first message of each connection was part of connecting.
    let loaded = of("messages").saturating_sub(of("connections"));
    let per_second = (loaded as f64 / (of("nanoseconds") as f64 / 1e9)) as u64;
    let rows = [
        ("connections", grouped(of("connections"))),
        ("messages", grouped(of("messages"))),
        ("bytes verified", grouped(of("bytes"))),
        ("messages per second", grouped(per_second)),
        ("latency p50", duration(of("p50"))),
        ("latency p99", duration(of("p99"))),
        ("latency p99.9", duration(of("p99.9"))),
        ("latency max", duration(of("max"))),
        ("server: polls of the kernel", grouped(metrics.polls as u64)),
        ("server: of these empty", grouped(metrics.empty_polls as u64)),
        ("server: breaks sent", grouped(metrics.breaks_sent as u64)),
        ("server: breaks coalesced", grouped(metrics.breaks_coalesced as u64)),
    ];
    println!();
    for (name, value) in rows {
        println!("{name:<28} {value:>16}");
    }
    println!("\nEvery byte came back as it was sent.");
}

/// Formats nanoseconds with a unit that fits.
fn duration(nanoseconds: u64) -> String {
    let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
    match nanoseconds {
        0..1_000_000 => format!("{:.0} us", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}
