//! The models of the runtime's protocols: modules of `std-rt/src/protocol` and others that take their locks and tokens
//! from `netpoll_rt::internal::sync`, run as they stand by the checker shuttle.
//!
//! `protocols list` prints a line per model, `protocols run NAME` runs one and prints how many schedules it explored.
//! `cargo xtask protocols` does both for all of them and holds the counts against the recorded minimum.

#[cfg(netpoll_shuttle)]
mod driver;
#[cfg(netpoll_shuttle)]
mod ending;
#[cfg(netpoll_shuttle)]
mod file_queue;
#[cfg(netpoll_shuttle)]
mod foreign;
#[cfg(netpoll_shuttle)]
mod hand_over;
#[cfg(netpoll_shuttle)]
mod harness;
#[cfg(netpoll_shuttle)]
mod pool;
#[cfg(netpoll_shuttle)]
mod search;
#[cfg(netpoll_shuttle)]
mod standby;
#[cfg(netpoll_shuttle)]
mod sync;

/// Every model, by protocol. A new protocol is a new line here.
#[cfg(netpoll_shuttle)]
const PROTOCOLS: &[&[harness::Model]] = &[
    driver::MODELS,
    ending::MODELS,
    file_queue::MODELS,
    hand_over::MODELS,
    pool::MODELS,
    standby::MODELS,
    sync::MODELS,
];

#[cfg(netpoll_shuttle)]
fn main() -> std::process::ExitCode {
    harness::main(&PROTOCOLS.concat())
}

#[cfg(not(netpoll_shuttle))]
fn main() {
    eprintln!(
        "protocols: built without --cfg netpoll_shuttle, so there is nothing to check; use `cargo xtask protocols`"
    );
    std::process::exit(2);
}
