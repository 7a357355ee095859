//! A long run of everything that can go wrong on a connection at once: `cargo xtask soak`, or `soak --help`.
//!
//! Thousands of connections, a deadline on every read, connections closed at random and reads given up at random. Every
//! byte is compared; in both processes a watchdog compares the parked tasks with what poll(2) says of their descriptors;
//! at the end descriptors, slots, tasks and timers are what they were before, and memory what it was early on.
//!
//! This process is the server. It starts itself a second time as the client, so that each has the descriptor limit to
//! itself: `server.rs` serves and judges, `client.rs` loads, `connection.rs` is what one connection goes through.
//!
//! With `--limits` the limits of descriptors and threads are lowered and raised meanwhile, which `cargo xtask soak` does.

mod client;
mod connection;
mod options;
mod report;
mod server;
mod tally;
mod usage;
mod watchdog;
mod work;

use std::process::ExitCode;

use options::Role;

/// Why the soak did not end well.
pub enum Failure {
    /// It could not begin: a wrong option, too few descriptors. Exit code 2.
    Refused(String),
    /// It ran, and something was not as it must be. Exit code 1.
    Broken(String),
}

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Role::Help) => {
            print!("{}", options::USAGE);
            Ok(())
        }
        Ok(Role::Server(options)) => server::run(&options),
        Ok(Role::Client(options)) => client::run(&options),
        Err(reason) => Err(Failure::Refused(format!("{reason}; `--help` lists the options"))),
    };
    let (reason, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(reason)) => (reason, 2),
        Err(Failure::Broken(reason)) => (reason, 1),
    };
    eprintln!("soak: {reason}");
    ExitCode::from(code)
}
