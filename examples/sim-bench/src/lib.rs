//! One program in three simulations: three hosts, of which two have 50 connections each to the third. Each connection sends 100
//! bytes, reads them back, and pauses for up to 100 ms, until the virtual time is over. `cargo xtask sim compare` runs it.
//!
//! ```text
//! netpoll|turmoil|madsim SECONDS     prints messages, virtual seconds, and each for a second of the processor
//! ```
//!
//! A message takes 1 to 2 ms on its way in all of them. turmoil advances in ticks of 1 ms, as it does by default; the others go
//! to the next event. Each is a program of its own, because two of them replace the clock of the process.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use netpoll_core::sync::Counter;

/// The result of a part of the program.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The hosts that ask.
pub const CLIENTS: [&str; 2] = ["one", "two"];
/// The connections of each.
pub const CONNECTIONS: usize = 50;
/// The bytes of a message.
pub const SIZE: usize = 100;
/// The longest pause, in milliseconds.
const PAUSE: u64 = 100;
/// The shortest and the longest time of a message on its way.
pub const LATENCY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(2)];
/// The unit in seconds in which the kernel counts the time of a process.
const CLOCK_TICK: f64 = 0.01;

/// The number of messages that have come back.
pub type Messages = Arc<Counter>;

/// The pauses of one connection, the same in each simulation.
#[derive(Debug)]
pub struct Pauses(u64);

impl Pauses {
    /// Returns the pauses of a connection.
    pub fn new(connection: usize) -> Self {
        Self(connection as u64)
    }

    /// Returns the next pause.
    pub fn next_pause(&mut self) -> Duration {
        // The constants are those of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((self.0 >> 33) % PAUSE)
    }
}

/// Runs a simulation for as many virtual seconds as the argument says, and prints its speed.
///
/// # Errors
///
/// Returns an error if there is no argument, or the simulation fails.
pub fn measure(name: &str, run: fn(Duration, &Messages) -> Outcome) -> Outcome {
    let seconds = std::env::args().nth(1).ok_or("needs the number of virtual seconds")?;
    let virtual_time = Duration::from_secs(seconds.parse()?);
    let messages = Messages::default();
    run(virtual_time, &messages)?;
    let (messages, taken) = (messages.get(), processor_seconds()?);
    println!(
        "{name:<7} {messages} messages in {seconds} virtual seconds; {:.1} virtual seconds and {:.0} messages for a second of \
         the processor",
        virtual_time.as_secs_f64() / taken,
        messages as f64 / taken
    );
    Ok(())
}

/// Returns the time of the processor that this process has taken. The clocks of the process may be simulated; this file is not.
fn processor_seconds() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name of the program in parentheses: fields 3 and on. 14 and 15 are the time in user space and in the kernel.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(times.sum::<Result<f64, _>>()? * CLOCK_TICK)
}
