//! The verifier: runs the models of netpoll-core and of the runtime's protocols, and weakens core to see them turn red.
//!
//! `cargo xtask loom`, `protocols` and `mutants` start it. A command prints what it did in numbers and fails when it did
//! nothing.

mod checker;
mod loom;
mod models;
mod mutants;
mod protocols;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((word, rest)) if word == "loom" => loom::run(rest),
        Some((word, rest)) if word == "protocols" => protocols::run(rest),
        Some((word, rest)) if word == "mutants" => mutants::run(rest),
        _ => Err("takes `loom`, `protocols` or `mutants`".to_owned()),
    };
    xtask::exit_code(args.first().map_or("verify", String::as_str), outcome)
}
