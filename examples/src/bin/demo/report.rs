//! What is shown: a line each second, a table at the end. The client's lines are read here too.

use std::time::Duration;

use netpoll_rt::Metrics;

/// What the client says on its standard output, a line each.
pub enum Line {
    /// Once a second: connections that work, messages so far.
    Tick { conns: u64, messages: u64 },
    /// Something was not as it must be.
    Fault(String),
    /// The end.
    Done(Summary),
}

/// The client's figures, all whole numbers.
#[derive(Default)]
pub struct Summary {
    pub conns: u64,
    pub messages: u64,
    pub bytes: u64,
    /// How long the load lasted.
    pub nanos: u64,
    /// Latency in nanoseconds: p50, p99, p99.9 and the longest.
    pub latency: [u64; 4],
}

impl Summary {
    /// The line that [`Line::parse`] reads.
    pub fn to_line(&self) -> String {
        let [p50, p99, p999, max] = self.latency;
        format!(
            "done {} {} {} {} {p50} {p99} {p999} {max}",
            self.conns, self.messages, self.bytes, self.nanos
        )
    }
}

impl Line {
    /// None for a line that the client never says.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        if word == "fault" {
            return Some(Line::Fault(rest.to_owned()));
        }
        let numbers: Vec<u64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        match (word, numbers[..].as_ref()) {
            ("tick", &[conns, messages]) => Some(Line::Tick { conns, messages }),
            ("done", &[conns, messages, bytes, nanos, p50, p99, p999, max]) => {
                Some(Line::Done(Summary { conns, messages, bytes, nanos, latency: [p50, p99, p999, max] }))
            }
            _ => None,
        }
    }
}

/// The lines that appear while the load runs.
#[derive(Default)]
pub struct Progress {
    seconds: u64,
    messages: u64,
}

impl Progress {
    pub fn show(&mut self, conns: u64, messages: u64) {
        if self.seconds == 0 {
            println!("{:>6} {:>12} {:>14} {:>12}", "second", "connections", "messages", "in this one");
        }
        self.seconds += 1;
        let since = messages.saturating_sub(self.messages);
        self.messages = messages;
        println!(
            "{:>6} {:>12} {:>14} {:>12}",
            self.seconds,
            grouped(conns),
            grouped(messages),
            grouped(since)
        );
    }
}

/// The table at the end.
pub fn table(summary: &Summary, metrics: &Metrics) {
    let seconds = summary.nanos as f64 / 1e9;
    // Each connection's first message was part of connecting.
    let loaded = summary.messages.saturating_sub(summary.conns);
    let per_second = (loaded as f64 / seconds) as u64;
    let [p50, p99, p999, max] = summary.latency.map(time);
    let rows = [
        ("connections", grouped(summary.conns)),
        ("messages", grouped(summary.messages)),
        ("bytes verified", grouped(summary.bytes)),
        ("messages per second", grouped(per_second)),
        ("latency p50", p50),
        ("latency p99", p99),
        ("latency p99.9", p999),
        ("latency max", max),
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

/// Three significant places and a unit.
fn time(nanos: u64) -> String {
    let duration = Duration::from_nanos(nanos);
    match nanos {
        0..1_000_000 => format!("{:.0} us", duration.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
