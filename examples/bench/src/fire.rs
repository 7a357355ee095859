//! Tasks that all sleep until the same instant, and the latency of a connection meanwhile.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::micro::Micro;
use crate::peer::{Mode, Peer};
use crate::process::Usage;
use crate::samples::{Samples, print_line};

/// The time before the timers are due at which the connection begins to be used.
const LEAD: Duration = Duration::from_millis(30);

/// Prints one line for each sample, which has a runtime of its own.
pub fn fire<P: Peer>(micro: &Micro) -> Result<(), String> {
    for _ in 0..micro.samples {
        let runtime = P::runtime(1).map_err(|error| error.to_string())?;
        P::block_on(&runtime, once::<P>(micro))
            .map_err(|error| format!("the echo beside the timers: {error}"))?;
    }
    Ok(())
}

async fn once<P: Peer>(micro: &Micro) -> io::Result<()> {
    let before = Usage::of_this_process();
    // All timers are armed by then.
    let due = Instant::now() + Duration::from_millis(150) + Duration::from_micros(3 * micro.n);
    let client = Client::start::<P>(due);
    let sleepers = (0..micro.n).map(|_| {
        P::spawn(async move {
            P::sleep_until(due).await;
            Instant::now()
        })
    });
    let (mut late, mut last) = (Samples::default(), due);
    for task in sleepers.collect::<Vec<_>>() {
        let now = task.await;
        late.push_lateness(due, now);
        last = last.max(now);
    }
    // The client's thread has ended before the processor time is read, so that its time is not counted.
    let echo = client.stop::<P>(due, last).await?;
    let spent = Usage::of_this_process().since(before).processor.as_nanos() as f64 / micro.n as f64;
    let exchanges = echo.count() as f64;
    let ([min, p50, p99, max], [echo_p99, echo_max]) =
        (late.quantiles([0.0, 0.5, 0.99, 1.0]), echo.quantiles([0.99, 1.0]));
    let found = [
        ("min_us", min),
        ("p50_us", p50),
        ("p99_us", p99),
        ("max_us", max),
        ("cpu_ns_per_timer", spent),
        ("echo_p99_us", echo_p99),
        ("echo_max_us", echo_max),
        ("echoes", exchanges),
    ];
    print_line(&micro.bench, &found);
    Ok(())
}

/// A thread beside the runtime that makes one exchange after the other on a connection with a server on the runtime.
struct Client {
    stop: Sender<()>,
    thread: JoinHandle<io::Result<Vec<(Instant, Instant)>>>,
}

impl Client {
    fn start<P: Peer>(due: Instant) -> Self {
        let (listening, address) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        P::launch(async move {
            // If the server fails, the client gets no address or its connection breaks, and it returns an error.
            let listening = move |address| {
                let _ = listening.send(address);
            };
            let _ = P::serve(SocketAddr::from(([127, 0, 0, 1], 0)), Mode::Eager, listening).await;
        });
        Self { stop, thread: thread::spawn(move || talk(&address, &stopped, due)) }
    }

    /// Stops the thread. Returns the latencies of the exchanges of which a part lay between the two instants.
    async fn stop<P: Peer>(self, from: Instant, to: Instant) -> io::Result<Samples> {
        drop(self.stop);
        // The last exchange needs the runtime, which runs on this thread.
        while !self.thread.is_finished() {
            P::sleep(Duration::from_millis(1)).await;
        }
        let all = self.thread.join().map_err(|_| io::Error::other("the client panicked"))??;
        let mut echo = Samples::default();
        for (began, ended) in all.into_iter().filter(|(began, ended)| *ended >= from && *began <= to) {
            echo.push_lateness(began, ended);
        }
        Ok(echo)
    }
}

fn talk(
    address: &Receiver<SocketAddr>,
    stopped: &Receiver<()>,
    due: Instant,
) -> io::Result<Vec<(Instant, Instant)>> {
    let patience = Duration::from_secs(20);
    let address = address.recv_timeout(patience).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(LEAD));
    let (mut exchanges, mut answer, mut count) = (Vec::new(), [0; 64], 0_u8);
    // The sender is dropped at the end.
    while stopped.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Timeout) {
        count = count.wrapping_add(1);
        let began = Instant::now();
        stream.write_all(&[count; 64])?;
        stream.read_exact(&mut answer)?;
        exchanges.push((began, Instant::now()));
        if answer != [count; 64] {
            return Err(io::Error::other("other bytes came back"));
        }
    }
    Ok(exchanges)
}
