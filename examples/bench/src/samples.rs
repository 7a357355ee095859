//! Samples of a measurement, and the line that reports them.

use std::time::Instant;

use statrs::statistics::{Data, OrderStatistics};

/// Prints a result as one line of JSON.
pub fn print_line(bench: &str, fields: &[(&str, f64)]) {
    let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value:.3}")).collect();
    println!("{{\"bench\":\"{bench}\"{fields}}}");
}

/// Runs `sample` once to warm up and then `samples` times, and prints nanoseconds per operation.
pub fn time_samples(bench: &str, samples: usize, ops: u64, mut sample: impl FnMut()) {
    if samples > 1 {
        sample();
    }
    let mut times = Samples::default();
    for _ in 0..samples.max(1) {
        let began = Instant::now();
        sample();
        times.push(began.elapsed().as_nanos() as f64 / ops as f64);
    }
    let [min, median, max] = times.quantiles([0.0, 0.5, 1.0]);
    print_line(bench, &[("ns_per_op", median), ("min", min), ("max", max), ("ops", ops as f64)]);
}

/// Values of a measurement.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds the microseconds from `due` to `now`, which are negative if `now` is earlier.
    pub fn push_lateness(&mut self, due: Instant, now: Instant) {
        let seconds = now.saturating_duration_since(due).as_secs_f64()
            - due.saturating_duration_since(now).as_secs_f64();
        self.push(seconds * 1e6);
    }

    /// Moves the values of `other` here.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Returns the number of values.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns these quantiles, or NaN if there are no values.
    pub fn quantiles<const N: usize>(self, quantiles: [f64; N]) -> [f64; N] {
        let mut data = Data::new(self.0);
        quantiles.map(|quantile| data.quantile(quantile))
    }
}
