//! The report of a run: a line each second, a table at the end, and the judgment.

use std::time::{Duration, Instant};

use netpoll_load::{Figures, figure, grouped};
use netpoll_rt::Metrics;

use crate::usage::{Held, Memory};

/// The part of the memory by which it may change between early and late in the run.
const FLAT: f64 = 0.05;

/// The KiB that a run below `SHORT` may gather beside that, because its caches are still filling.
const GATHERED: f64 = 1024.0;
const SHORT: Duration = Duration::from_secs(300);

/// The lines that appear while the load runs.
pub struct Progress {
    began: Instant,
    shown: Instant,
    messages: u64,
}

impl Progress {
    pub fn new() -> Self {
        let now = Instant::now();
        Self { began: now, shown: now, messages: 0 }
    }

    pub fn show(&mut self, figures: &Figures, memory: &Memory) {
        let row = |[a, b, c, d, e, f, g, h]: [&str; 8]| {
            println!("{a:>6} {b:>11} {c:>13} {d:>9} {e:>9} {f:>9} {g:>9} {h:>11}");
        };
        if self.shown == self.began {
            row([
                "second",
                "connections",
                "messages",
                "a second",
                "closed",
                "cancelled",
                "expired",
                "server KiB",
            ]);
        }
        let (now, of) = (Instant::now(), |name| figure(figures, name));
        let messages = of("messages");
        let since = messages.saturating_sub(self.messages) as f64 / (now - self.shown).as_secs_f64();
        row([
            &(now - self.began).as_secs().to_string(),
            &grouped(of("connections now")),
            &grouped(messages),
            &grouped(since as u64),
            &grouped(of("connections made").saturating_sub(of("connections now"))),
            &grouped(of("reads cancelled")),
            &grouped(of("deadlines expired")),
            &grouped(memory.last().unwrap_or(0)),
        ]);
        (self.shown, self.messages) = (now, messages);
    }
}

/// The outcome of a run.
pub struct Outcome {
    /// The figures of the client.
    pub figures: Figures,
    /// The figures of the server.
    pub own: Figures,
    /// The memory of the server.
    pub memory: Memory,
    pub length: Duration,
    pub before: Held,
    /// An error if the server does not hold the same as before.
    pub settled: Result<(), String>,
    /// The number of times that the limits were lowered, with `--limits`.
    pub lowered: Option<usize>,
}

impl Outcome {
    /// Returns the sum of both processes' figures of this name.
    fn of(&self, name: &str) -> u64 {
        figure(&self.figures, name) + figure(&self.own, name)
    }

    /// Returns the memory of the server and of the client, early and late.
    fn memories(&self) -> [(&'static str, [u64; 2]); 2] {
        let client = ["client KiB early", "client KiB late"].map(|name| figure(&self.figures, name));
        [("server", self.memory.early_and_late().unwrap_or_default()), ("client", client)]
    }

    /// Returns an error if resources are still held, memory has grown, or a part of the soak never happened.
    pub fn judge(&self) -> Result<(), String> {
        self.settled.clone().map_err(|what| format!("the server: {what}"))?;
        for (process, [early, late]) in self.memories() {
            let gathered = if self.length < SHORT { GATHERED } else { 0.0 };
            if early == 0 || (late as f64 - early as f64).abs() > FLAT * early as f64 + gathered {
                return Err(format!(
                    "the {process}'s memory is not flat: {early} KiB early, {late} KiB late"
                ));
            }
        }
        let always = ["messages", "reads cancelled", "deadlines expired", "parked directions compared"];
        let limited = ["work done by threads", "work refused", "waits for a descriptor", "threads refused"];
        let mut expected = always.iter().chain(limited.iter().filter(|_| self.lowered.is_some()));
        match expected.find(|name| self.of(name) == 0) {
            Some(name) => Err(format!("a part of the soak did nothing: {name} 0")),
            None => Ok(()),
        }
    }

    /// Shows the line that means success.
    pub fn show_verdict(&self) {
        let of = |name| grouped(self.of(name));
        println!(
            "\nsoak: {} messages, every byte as it was sent; {} parked directions compared, {} wakeups lost",
            of("messages"),
            of("parked directions compared"),
            of("wakeups lost")
        );
    }

    pub fn show_table(&self, metrics: &Metrics) {
        println!();
        let row = |name: &str, value: &str| println!("{name:<44} {value:>20}");
        let shown = |name: &str| !name.contains("KiB") && name != "connections now";
        for (name, _) in self.figures.iter().filter(|(name, _)| shown(name)) {
            let both = self.of(name);
            match name.as_str() {
                "their microseconds" => {
                    row("microseconds of a check", &grouped(both / self.of("checks of the watchdog").max(1)));
                }
                _ => row(name, &grouped(both)),
            }
        }
        for (process, [early, late]) in self.memories() {
            let moved = 100.0 * (late as f64 - early as f64) / early.max(1) as f64;
            let value = format!("{} -> {} ({moved:+.1} %)", grouped(early), grouped(late));
            row(&format!("{process}: resident KiB, early and late"), &value);
        }
        if let Some(times) = self.lowered {
            row("times that limits were lowered", &times.to_string());
        }
        let Held { descriptors, slots, tasks, .. } = self.before;
        let after = if self.settled.is_ok() { "the same after" } else { "NOT the same after" };
        row("server: descriptors before", &format!("{descriptors}, {after}"));
        row("server: slots and tasks before", &format!("{slots} and {tasks}, {after}"));
        row("server: stale events refused", &grouped(metrics.stale_events as u64));
        row("server: timers armed", &grouped(metrics.timers_armed as u64));
        row("server: timers re-armed", &grouped(metrics.timers_rearmed as u64));
    }
}
