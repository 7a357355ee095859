//! The time that is measured: what happened in it, and what it cost the server.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Load;
use crate::line::line;
use crate::usage::Usage;

pub struct Window<'l> {
    load: &'l Load,
    opens: Instant,
    /// The start, and the server's costs then, once it is open.
    open: Option<(Instant, Usage)>,
    latency: Histogram<u64>,
    /// Batches, or connections.
    done: u64,
}

impl<'l> Window<'l> {
    /// Opens when the warm-up is over; where a count is told there is none.
    pub fn new(load: &'l Load) -> io::Result<Self> {
        let warmup = if load.count.is_some() { Duration::ZERO } else { load.warmup };
        // A thousandth exact, from a nanosecond to a minute; what is longer counts as that.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
        Ok(Self { load, opens: Instant::now() + warmup, open: None, latency, done: 0 })
    }

    /// One was answered.
    pub fn record(&mut self, began: Instant, now: Instant) {
        if self.open.is_some() {
            self.latency.saturating_record((now - began).as_nanos() as u64);
            self.done += 1;
        }
    }

    /// Looks at the clock once: true when it is all over. With a count that is for the caller to see.
    pub fn is_over(&mut self, now: Instant) -> bool {
        match self.open {
            None if now >= self.opens => self.open = Some((now, Usage::of(&self.load.server))),
            Some((began, _)) => return self.load.count.is_none() && now >= began + self.load.length,
            None => {}
        }
        false
    }

    /// Prints what was found, for batches of so many operations each.
    pub fn report(self, name: &str, each: u64) -> io::Result<()> {
        let (began, before) = self.open.ok_or_else(|| io::Error::other("nothing was measured"))?;
        let seconds = began.elapsed().as_secs_f64();
        let spent = Usage::of(&self.load.server).since(before);
        if self.done == 0 {
            return Err(io::Error::other("not one answer within the measured time"));
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
        line(name, &found);
        Ok(())
    }
}
