//! Samples, and the lines that say what came of them.

use std::time::{Duration, Instant};

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

/// One line of JSON.
pub fn line(bench: &str, fields: &[(&str, f64)]) {
    let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value:.3}")).collect();
    println!("{{\"bench\":\"{bench}\"{fields}}}");
}

/// There is no such measurement here.
pub fn unsupported(bench: &str) {
    println!("{{\"bench\":\"{bench}\",\"unsupported\":1}}");
}

/// How late wake-ups came, in microseconds.
pub struct Lateness {
    late: Vec<f64>,
    spent: Duration,
}

impl Lateness {
    /// Processor time is counted from here.
    pub fn begin(capacity: usize) -> Self {
        Self { late: Vec::with_capacity(capacity), spent: processor_time() }
    }

    /// A wake-up due at `due` came at `now`.
    pub fn record(&mut self, due: Instant, now: Instant) {
        let late = now.saturating_duration_since(due).as_secs_f64()
            - due.saturating_duration_since(now).as_secs_f64();
        self.late.push(late * 1e6);
    }

    /// Prints quantiles, and the processor time of one wake-up under the name `cost`.
    pub fn report(mut self, bench: &str, cost: &str) {
        let spent =
            processor_time().saturating_sub(self.spent).as_nanos() as f64 / self.late.len().max(1) as f64;
        self.late.sort_by(f64::total_cmp);
        let last = self.late.len().saturating_sub(1);
        let at =
            |quantile: f64| self.late.get((last as f64 * quantile) as usize).copied().unwrap_or(f64::NAN);
        line(
            bench,
            &[
                ("min_us", at(0.0)),
                ("p50_us", at(0.5)),
                ("p99_us", at(0.99)),
                ("max_us", at(1.0)),
                (cost, spent),
            ],
        );
    }
}

/// Of all threads that live now; 0 where the system does not say.
fn processor_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let told = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}
