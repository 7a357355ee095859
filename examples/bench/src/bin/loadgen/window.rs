//! The measured time, with its answers and the costs of the server.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use netpoll_bench::process::Usage;
use netpoll_bench::samples::print_line;

use crate::Load;

pub struct Window<'l> {
    load: &'l Load,
    opens: Instant,
    /// The start and the server's costs at that time, once the window is open.
    open: Option<(Instant, Usage)>,
    latency: Histogram<u64>,
    /// The number of batches, or of connections.
    done: u64,
}

impl<'l> Window<'l> {
    /// Creates a window that opens after the warm-up. A load with a count has no warm-up.
    pub fn new(load: &'l Load) -> io::Result<Self> {
        let warmup = if load.count.is_some() { Duration::ZERO } else { load.warmup };
        // Exact to a thousandth, from a nanosecond to a minute; a longer time counts as a minute.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
        Ok(Self { load, opens: Instant::now() + warmup, open: None, latency, done: 0 })
    }

    /// Counts an answer.
    pub fn record(&mut self, began: Instant, now: Instant) {
        if self.open.is_some() {
            self.latency.saturating_record((now - began).as_nanos() as u64);
            self.done += 1;
        }
    }

    /// Opens the window if it is time to. Returns whether the measured time is over; with a count it never is.
    pub fn is_over(&mut self, now: Instant) -> bool {
        match self.open {
            None if now >= self.opens => self.open = Some((now, Usage::of(self.load.server))),
            Some((began, _)) => return self.load.count.is_none() && now >= began + self.load.length,
            None => {}
        }
        false
    }

    /// Prints the result, for batches of `each` operations.
    pub fn report(self, name: &str, each: u64) -> io::Result<()> {
        let (began, before) = self.open.ok_or_else(|| io::Error::other("nothing was measured"))?;
        let seconds = began.elapsed().as_secs_f64();
        let spent = Usage::of(self.load.server).since(before);
        if self.done == 0 {
            return Err(io::Error::other("no answer came within the measured time"));
        }
        let operations = (self.done * each) as f64;
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        let found = [
            ("rate", operations / seconds),
            ("cpu_ns_per_op", spent.processor.as_nanos() as f64 / operations),
            ("p50_us", at(0.5)),
            ("p99_us", at(0.99)),
            ("p999_us", at(0.999)),
            ("max_us", self.latency.max() as f64 / 1e3),
            ("switches_per_op", spent.switches as f64 / operations),
            ("ops", operations),
        ];
        print_line(name, &found);
        Ok(())
    }
}
