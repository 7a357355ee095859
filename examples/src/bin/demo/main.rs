//! The echo server under a verified load: `cargo xtask demo`, or `demo --help` for the options.
//!
//! This process is the server. It starts itself a second time as the client, so that each has the descriptor limit to
//! itself: `server.rs` serves and watches, `client.rs` loads and checks every byte that comes back.

mod client;
mod options;
mod report;
mod server;

use std::process::ExitCode;

use options::Role;

/// Why the demo did not end well.
pub enum Failure {
    /// It could not begin: a wrong option, a port in use, too few descriptors. Exit code 2.
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
    eprintln!("demo: {reason}");
    ExitCode::from(code)
}
