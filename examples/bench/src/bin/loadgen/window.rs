//! The measured time, with its answers and the costs of the server.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use netpoll_bench::process::Usage;
use netpoll_bench::samples::print_line;

use crate::Load;

pub struct Window<'l> {
    load: &'l Load,
    /// True if this window reads the costs of the server, as that of one thread of a load does.
    leads: bool,
    /// The pipes to the perf that counts around the server.
    perf: Option<[File; 2]>,
    opens: Instant,
    state: State,
    latency: Histogram<u64>,
    /// The number of batches, or of connections.
    done: u64,
}

enum State {
    WarmingUp,
    /// The start and the server's costs at that time.
    Open(Instant, Usage),
    /// The length and the server's costs in it.
    Closed(Duration, Usage),
}

impl<'l> Window<'l> {
    /// Creates a window that opens after the warm-up. A load with a count has no warm-up.
    pub fn new(load: &'l Load, leads: bool) -> io::Result<Self> {
        let warmup = if load.count.is_some() { Duration::ZERO } else { load.warmup };
        // Exact to a thousandth, from a nanosecond to a minute; a longer time counts as a minute.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
        let perf = load.perf.as_deref().filter(|_| leads).map(pipes).transpose()?;
        let opens = Instant::now() + warmup;
        Ok(Self { load, leads, perf, opens, state: State::WarmingUp, latency, done: 0 })
    }

    /// Counts an answer.
    pub fn record(&mut self, began: Instant, now: Instant) {
        if let State::Open(..) = self.state {
            self.latency.saturating_record((now - began).as_nanos() as u64);
            self.done += 1;
        }
    }

    /// Opens the window if it is time to. Returns whether the measured time is over; with a count it never is.
    pub fn is_over(&mut self, now: Instant) -> io::Result<bool> {
        match self.state {
            State::WarmingUp if now >= self.opens => {
                self.tell_perf("enable\n")?;
                // The time that perf took does not count.
                self.state = State::Open(Instant::now(), self.usage());
            }
            State::Open(began, _) if self.load.count.is_none() && now >= began + self.load.length => {
                self.close()?;
            }
            _ => {}
        }
        Ok(matches!(self.state, State::Closed(..)))
    }

    /// Ends the measured time. A window that is closed stays as it is.
    pub fn close(&mut self) -> io::Result<()> {
        if let State::Open(began, before) = self.state {
            self.state = State::Closed(began.elapsed(), self.usage().since(before));
            self.tell_perf("disable\n")?;
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        if self.leads { Usage::of(self.load.server) } else { Usage::default() }
    }

    /// Sends a command to perf, if there is one, and waits until it has obeyed.
    fn tell_perf(&mut self, command: &str) -> io::Result<()> {
        let Some([commands, answers]) = &mut self.perf else { return Ok(()) };
        commands.write_all(command.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let mut byte = [0];
            answers.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        // Perf writes the zero at the end of its text, too, which begins the next answer.
        match &answer[..] {
            b"ack\n" | b"\0ack\n" => Ok(()),
            other => Err(io::Error::other(format!("perf did not obey: {}", other.escape_ascii()))),
        }
    }
}

/// Opens the pipes. They stay open, because perf stops listening when its end of the first is closed.
fn pipes(path: &Path) -> io::Result<[File; 2]> {
    let commands = OpenOptions::new().write(true).open(path.with_extension("ctl"))?;
    Ok([commands, File::open(path.with_extension("ack"))?])
}

/// Prints the result of the windows of a load's threads, for batches of `each` operations.
pub fn report(windows: &[Window<'_>], name: &str, each: u64) -> io::Result<()> {
    let (mut spent, mut rate, mut done) = (Usage::default(), 0.0, 0);
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
    for window in windows {
        let State::Closed(length, costs) = window.state else {
            return Err(io::Error::other("nothing was measured"));
        };
        (spent, done) = (if window.leads { costs } else { spent }, done + window.done);
        rate += (window.done * each) as f64 / length.as_secs_f64();
        latency.add(&window.latency).map_err(io::Error::other)?;
    }
    if done == 0 {
        return Err(io::Error::other("no answer came within the measured time"));
    }
    let operations = (done * each) as f64;
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    let found = [
        ("rate", rate),
        ("cpu_ns_per_op", spent.processor.as_nanos() as f64 / operations),
        ("p50_us", at(0.5)),
        ("p99_us", at(0.99)),
        ("p999_us", at(0.999)),
        ("max_us", latency.max() as f64 / 1e3),
        ("switches_per_op", spent.switches as f64 / operations),
        ("ops", operations),
    ];
    print_line(name, &found);
    Ok(())
}
