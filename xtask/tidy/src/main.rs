//! `tidy` applies the rules of this project, `style` prints counts of its shape and English. `cargo xtask` starts both.

mod prose;
mod rules;
mod style;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((word, rest)) if word == "tidy" => rules::run(rest),
        Some((word, rest)) if word == "style" => style::run(rest),
        _ => Err("takes `tidy` or `style`".to_owned()),
    };
    xtask::exit_code(args.first().map_or("tidy", String::as_str), outcome)
}
