//! `sizes`: bytes of the types that have a limit, and of the programs for a chip.

use std::path::Path;
use std::process::Command;

use crate::bare;
use xtask::{Outcome, cmd};

/// Runs the program that measures and compares each line with its limit.
pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    let program = cmd::build_examples(&root, &["--bin", "sizes"])?.join("sizes");
    let output = cmd::capture(&mut Command::new(program))?;
    println!("{:<40} {:>8} {:>8}", "type", "bytes", "limit");
    let (mut types, mut over) = (0, 0);
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let (name, bytes, limit) = parse(line)?;
        println!("{name:<40} {bytes:>8} {limit:>8}{}", if bytes > limit { "  over its limit" } else { "" });
        types += 1;
        over += usize::from(bytes > limit);
    }
    on_a_chip(&root);
    println!("sizes: {types} types, {over} over their limit");
    if types > 0 && over == 0 { Ok(()) } else { Err(format!("{over} of {types} types are over their limit")) }
}

/// Flash and RAM of the programs of `bare`, where their target can be built for; a machine without it says so.
fn on_a_chip(root: &Path) {
    match bare::all_sizes(root) {
        Ok(programs) => {
            for (name, sizes) in programs {
                println!("{name}: flash {} bytes, RAM {} bytes without the stack", sizes.flash, sizes.ram);
            }
        }
        Err(reason) => println!("flash and RAM on a chip are not shown: {reason}"),
    }
}

/// `name bytes limit`; the name may hold spaces, as in `Armed<'_, 2>`.
fn parse(line: &str) -> Result<(&str, usize, usize), String> {
    let wrong = || format!("not `name bytes limit`: {line}");
    let mut parts = line.trim().rsplitn(3, char::is_whitespace);
    let mut number = || parts.next().and_then(|text| text.parse().ok()).ok_or_else(wrong);
    let (limit, bytes) = (number()?, number()?);
    Ok((parts.next().ok_or_else(wrong)?.trim(), bytes, limit))
}
