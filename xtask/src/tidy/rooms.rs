//! unsafe, cfg and loom each have named rooms.

use super::Looked;
use super::files::{Files, Finding};
use super::source::{Source, has_word, words};
use super::tables::{CFG_ROOMS, LOOM_ROOMS, Room, SELECTIONS, UNSAFE_ROOMS, in_room};

/// `unsafe` in any Rust file.
pub fn unsafe_rooms(files: &Files, out: &mut Vec<Finding>) -> Looked {
    keep_in(UNSAFE_ROOMS, "unsafe", files.rust.iter(), |line| has_word(line, "unsafe"), out)
}

/// The word in code; the commands that start the models have a room.
pub fn loom_rooms(files: &Files, out: &mut Vec<Finding>) -> Looked {
    keep_in(LOOM_ROOMS, "loom", files.rust.iter(), |line| has_word(line, "loom"), out)
}

/// The words that begin code, as opposed to the selection of a module.
const CODE: &[&str] =
    &["fn", "const", "static", "let", "struct", "enum", "union", "impl", "trait", "type", "macro_rules"];

/// Finds `#[cfg]`, `cfg!` and `cfg_attr` in `src` outside the files that may have them. A file that selects modules may have
/// nothing else. Tests stand outside `src`, so no file may have `cfg(test)`.
pub fn cfg_rooms(files: &Files, out: &mut Vec<Finding>) -> Looked {
    for source in files.src() {
        for (line, code) in
            source.code.iter().enumerate().filter(|(_, code)| is_cfg(code) && has_word(code, "test"))
        {
            let message = format!("cfg(test) in src; a test stands in tests/: {}", code.trim());
            out.push(source.finding(line, message));
        }
    }
    for source in files.src().filter(|source| in_room(SELECTIONS, &source.path)) {
        let is_code = |code: &str| CODE.iter().any(|word| has_word(code, word));
        for (line, code) in source.code.iter().enumerate().filter(|(_, code)| is_code(code)) {
            let message = format!("cfg selects modules here, so there is no code: {}", code.trim());
            out.push(source.finding(line, message));
        }
    }
    keep_in(CFG_ROOMS, "cfg", files.src(), is_cfg, out)
}

fn is_cfg(code: &str) -> bool {
    let attribute = |at: usize| code[..at].trim_end().ends_with('[');
    let called = |at: usize| code[at + 3..].trim_start().starts_with('!');
    words(code, "cfg").any(|at| attribute(at) || called(at)) || has_word(code, "cfg_attr")
}

fn keep_in<'f>(
    rooms: &[Room],
    what: &str,
    sources: impl Iterator<Item = &'f Source>,
    is_one: impl Fn(&str) -> bool,
    out: &mut Vec<Finding>,
) -> Looked {
    let (mut files, mut inside) = (0, 0);
    for source in sources {
        files += 1;
        let lines = source.code.iter().enumerate().filter(|(_, code)| is_one(code));
        if in_room(rooms, &source.path) {
            inside += lines.count();
            continue;
        }
        for (line, _) in lines {
            out.push(
                source
                    .finding(line, format!("{what} outside its rooms; a new one is a row of tidy/tables.rs")),
            );
        }
    }
    Looked(files, format!("{files} files, {inside} lines in {} rooms", rooms.len()))
}
