//! What is shown, a line each second and a table at the end, and the judgement.

use std::time::{Duration, Instant};

use netpoll_rt::Metrics;

use crate::tally::{Figures, figure};
use crate::usage::{Held, Memory};

/// How far memory may move between early and late.
const FLAT: f64 = 0.05;

/// What a short run is still gathering for reuse, in KiB.
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
        if self.shown == self.began {
            println!(
                "{:>6} {:>11} {:>13} {:>9} {:>9} {:>9} {:>9} {:>11}",
                "second",
                "connections",
                "messages",
                "a second",
                "closed",
                "cancelled",
                "expired",
                "server KiB"
            );
        }
        let (messages, of) = (figure(figures, "messages"), |name| grouped(figure(figures, name)));
        let now = Instant::now();
        let since = messages.saturating_sub(self.messages) as f64 / (now - self.shown).as_secs_f64();
        println!(
            "{:>6} {:>11} {:>13} {:>9} {:>9} {:>9} {:>9} {:>11}",
            (now - self.began).as_secs(),
            of("connections now"),
            grouped(messages),
            grouped(since as u64),
            grouped(figure(figures, "connections made").saturating_sub(figure(figures, "connections now"))),
            of("reads cancelled"),
            of("deadlines expired"),
            grouped(memory.last().unwrap_or(0)),
        );
        (self.shown, self.messages) = (now, messages);
    }
}

/// All that is known at the end.
pub struct Ended {
    /// The client's figures.
    pub figures: Figures,
    /// The server's.
    pub own: Figures,
    pub memory: Memory,
    pub length: Duration,
    pub before: Held,
    /// Whether the server holds the same as before.
    pub settled: Result<(), String>,
    /// Limits were lowered and raised meanwhile.
    pub limits: bool,
}

impl Ended {
    /// Both ends' figures together.
    fn of(&self, name: &str) -> u64 {
        figure(&self.figures, name) + figure(&self.own, name)
    }

    /// Early and late memory of the server and of the client.
    fn memories(&self) -> [(&'static str, [u64; 2]); 2] {
        let client = ["client KiB early", "client KiB late"].map(|name| figure(&self.figures, name));
        [("server", self.memory.early_and_late().unwrap_or_default()), ("client", client)]
    }

    /// An error says what was not as it must be.
    pub fn judge(&self) -> Result<(), String> {
        self.settled.clone().map_err(|what| format!("the server: {what}"))?;
        for (whose, [early, late]) in self.memories() {
            let gathered = if self.length < SHORT { GATHERED } else { 0.0 };
            if early == 0 || (late as f64 - early as f64).abs() > FLAT * early as f64 + gathered {
                return Err(format!("the {whose}'s memory is not flat: {early} KiB early, {late} KiB late"));
            }
        }
        let never = |name: &&&&str| self.of(name) == 0;
        let always = ["messages", "reads cancelled", "deadlines expired", "parked directions compared"];
        let limited = ["work done by threads", "work refused", "waits for a descriptor", "threads refused"];
        let idle = always.iter().chain(limited.iter().filter(|_| self.limits)).collect::<Vec<_>>();
        match idle.iter().find(never) {
            Some(name) => Err(format!("it did nothing: {name} 0")),
            None => Ok(()),
        }
    }
}

fn moved(early: u64, late: u64) -> f64 {
    (late as f64 - early as f64) / early.max(1) as f64
}

/// The last line, if all is well.
pub fn verdict(ended: &Ended) {
    let of = |name| grouped(ended.of(name));
    println!(
        "\nsoak: {} messages, every byte as it was sent; {} parked directions compared, {} wake-ups lost",
        of("messages"),
        of("parked directions compared"),
        of("wake-ups lost")
    );
}

/// The table at the end.
pub fn table(ended: &Ended, metrics: &Metrics) {
    println!();
    let row = |name: &str, value: &str| println!("{name:<44} {value:>20}");
    let shown = |name: &str| !name.contains("KiB") && name != "connections now";
    for (name, _) in ended.figures.iter().filter(|(name, _)| shown(name)) {
        let both = ended.of(name);
        match name.as_str() {
            "their microseconds" => {
                row("microseconds of a look", &grouped(both / ended.of("looks of the watchdog").max(1)));
            }
            _ => row(name, &grouped(both)),
        }
    }
    for (whose, [early, late]) in ended.memories() {
        let value = format!("{} -> {} ({:+.1} %)", grouped(early), grouped(late), 100.0 * moved(early, late));
        row(&format!("{whose}: resident KiB, early and late"), &value);
    }
    let Held { descriptors, slots, tasks, .. } = ended.before;
    let after = if ended.settled.is_ok() { "the same after" } else { "NOT the same after" };
    row("server: descriptors before", &format!("{descriptors}, {after}"));
    row("server: slots and tasks before", &format!("{slots} and {tasks}, {after}"));
    row("server: stale events refused", &grouped(metrics.stale_events as u64));
    row("server: timers armed", &grouped(metrics.timers_armed as u64));
    row("server: timers re-armed", &grouped(metrics.timers_rearmed as u64));
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
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
