//! Samples, and what comes of them.

use std::time::Instant;

use super::line::line;

/// Runs `sample` once to warm up and then `samples` times; prints nanoseconds per operation.
pub fn time_samples(bench: &str, samples: usize, ops: u64, mut sample: impl FnMut()) {
    if samples > 1 {
        sample();
    }
    let mut once = || {
        let began = Instant::now();
        sample();
        began.elapsed().as_nanos() as f64 / ops as f64
    };
    let mut taken: Vec<f64> = (0..samples.max(1)).map(|_| once()).collect();
    taken.sort_by(f64::total_cmp);
    let (least, most) = (taken[0], taken[taken.len() - 1]);
    line(bench, &[("ns_per_op", taken[taken.len() / 2]), ("min", least), ("max", most), ("ops", ops as f64)]);
}

/// Microseconds, to be asked for quantiles.
#[derive(Default)]
pub struct Micros(Vec<f64>);

impl Micros {
    /// A wake-up due at `due` came at `now`; one that came early counts below nought.
    pub fn late(&mut self, due: Instant, now: Instant) {
        let seconds = now.saturating_duration_since(due).as_secs_f64()
            - due.saturating_duration_since(now).as_secs_f64();
        self.0.push(seconds * 1e6);
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The values at such quantiles; not a number when there are none.
    pub fn at<const N: usize>(mut self, quantiles: [f64; N]) -> [f64; N] {
        self.0.sort_by(f64::total_cmp);
        let last = self.0.len().saturating_sub(1) as f64;
        quantiles.map(|quantile| self.0.get((last * quantile) as usize).copied().unwrap_or(f64::NAN))
    }
}
