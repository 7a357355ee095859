//! This runtime as a peer of a benchmark that compares several: an echo server, and small measurements that print a
//! line of JSON each. What is measured stands in `work`, one text for all runtimes; `cargo xtask bench` runs it beside
//! tokio and smol.
//!
//! ```text
//! peer echo  --addr 127.0.0.1:0 --threads N [--deadline MS] [--form after|at] [--buf eager|lazy]
//! peer micro --bench NAME [--n N] [--samples K] [--us MICROSECONDS] [--apart MICROSECONDS] [--outstanding N] [--secs S]
//! ```
//!
//! With `--threads 1` everything runs on one thread. The process ends with its parent and after `--max-secs S`; with
//! `--until-eof 1` also when its input ends.

mod ours;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    work::main::<ours::Ours>()
}
