//! Tasks that all sleep until the same instant, and what becomes of a connection meanwhile.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::line::line;
use super::micro::Micro;
use super::samples::Micros;
use super::usage::Usage;
use super::{Mode, Side};

/// How long the connection is in use before the timers are due.
const LEAD: Duration = Duration::from_millis(30);

/// A line for each sample, on a runtime of its own.
pub fn fire<S: Side>(micro: &Micro) -> Result<(), String> {
    for _ in 0..micro.samples {
        let runtime = S::runtime(1).map_err(|error| error.to_string())?;
        S::block_on(&runtime, once::<S>(micro))
            .map_err(|error| format!("the echo beside the timers: {error}"))?;
    }
    Ok(())
}

async fn once<S: Side>(micro: &Micro) -> io::Result<()> {
    let before = Usage::of("self");
    // Far enough away for all to be armed by then.
    let due = Instant::now() + Duration::from_millis(150) + Duration::from_micros(3 * micro.n);
    let client = Client::start::<S>(due);
    let sleepers = (0..micro.n).map(|_| {
        S::spawn(async move {
            S::sleep_until(due).await;
            Instant::now()
        })
    });
    let (mut late, mut last) = (Micros::default(), due);
    for task in sleepers.collect::<Vec<_>>() {
        let now = task.await;
        late.late(due, now);
        last = last.max(now);
    }
    // Its thread has ended before the processor time is read, so that it is not counted.
    let echo = client.stop::<S>(due, last).await?;
    let spent = Usage::of("self").since(before).processor.as_nanos() as f64 / micro.n as f64;
    let exchanges = echo.count() as f64;
    let ([min, p50, p99, max], [echo_p99, echo_max]) = (late.at([0.0, 0.5, 0.99, 1.0]), echo.at([0.99, 1.0]));
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
    line(&micro.bench, &found);
    Ok(())
}

/// One exchange after the other on one connection with a server on the runtime, from a thread beside it.
struct Client {
    stop: Sender<()>,
    thread: JoinHandle<io::Result<Vec<(Instant, Instant)>>>,
}

impl Client {
    fn start<S: Side>(due: Instant) -> Self {
        let (told, address) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        S::launch(async move {
            // When the server fails the client hears nothing, or its connection breaks, and it says so.
            let told = move |address| {
                let _ = told.send(address);
            };
            let _ = S::serve(SocketAddr::from(([127, 0, 0, 1], 0)), Mode::Eager, told).await;
        });
        Self { stop, thread: thread::spawn(move || talk(&address, &stopped, due)) }
    }

    /// The exchanges of which a part lay between the two instants.
    async fn stop<S: Side>(self, from: Instant, to: Instant) -> io::Result<Micros> {
        drop(self.stop);
        // Its last exchange needs the runtime of this very thread.
        while !self.thread.is_finished() {
            S::sleep(Duration::from_millis(1)).await;
        }
        let all = self.thread.join().map_err(|_| io::Error::other("the client panicked"))??;
        let mut echo = Micros::default();
        for (began, ended) in all.into_iter().filter(|(began, ended)| *ended >= from && *began <= to) {
            echo.late(began, ended);
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
    // The sender is dropped when it is over.
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
