//! What was meant for a day and stayed.

use super::Looked;
use super::files::{Files, Finding};
use super::source::{Source, has_word, words};
use super::tables::{KERNEL_ROOMS, ROOT, in_room};

/// Marks, sleeps, paths of one machine, strangers in the root, and what belongs to another crate.
pub fn leftovers(files: &Files, out: &mut Vec<Finding>) -> Looked {
    for source in &files.rust {
        marks(source, out);
        kernel(source, out);
    }
    files.under(&["std-rt/tests/", "core/tests/"]).for_each(|source| sleeps(source, out));
    files.under(&["core/src/"]).for_each(|source| foreign_to_core(source, out));
    for (path, lines) in &files.texts {
        for (line, _) in lines.iter().enumerate().filter(|(_, text)| machine_path(text)) {
            let message = "a path of one machine".to_owned();
            out.push(Finding { path: path.clone(), line: line + 1, message });
        }
    }
    let entries = root(files, out);
    Looked(files.texts.len(), format!("{} files, {entries} entries of the root", files.texts.len()))
}

fn marks(source: &Source, out: &mut Vec<Finding>) {
    for (line, (code, comment)) in source.code.iter().zip(&source.comments).enumerate() {
        let called = |name: &str| words(code, name).any(|at| code[at + name.len()..].starts_with('!'));
        let macros = ["todo", "unimplemented", "dbg"].into_iter().filter(|name| called(name));
        let words = ["FIXME", "XXX", "TODO"].into_iter().filter(|word| has_word(comment, word));
        let ignored = code.contains("#[ignore").then_some("#[ignore]");
        for name in macros.chain(words).chain(ignored) {
            out.push(source.finding(line, format!("{name} is left over")));
        }
    }
}

fn sleeps(source: &Source, out: &mut Vec<Finding>) {
    const EXCUSE: &str = "// time is what is tested";
    for (line, code) in source.code.iter().enumerate() {
        let sleeps = words(code, "sleep").any(|at| code[at..].starts_with("sleep("));
        let excused = source.comments[line.saturating_sub(1)..=line].iter().any(|text| text.contains(EXCUSE));
        if sleeps && !excused {
            out.push(
                source
                    .finding(line, format!("a test awaits an event, it does not sleep; else say `{EXCUSE}`")),
            );
        }
    }
}

fn kernel(source: &Source, out: &mut Vec<Finding>) {
    if in_room(KERNEL_ROOMS, &source.path) {
        return;
    }
    for (line, code) in source.code.iter().enumerate() {
        if let Some(name) = ["rustix", "libc"].into_iter().find(|name| has_word(code, name)) {
            out.push(source.finding(line, format!("{name} outside std-rt/src/sys")));
        }
    }
}

/// Core has no lock and no static: the memory is the caller's.
fn foreign_to_core(source: &Source, out: &mut Vec<Finding>) {
    const LOCKS: &[&str] = &["Mutex", "RwLock", "Condvar", "OnceLock", "LazyLock", "thread_local"];
    for (line, code) in source.code.iter().enumerate() {
        let is_static = words(code, "static").any(|at| !code[..at].ends_with('\''));
        let found = LOCKS.iter().copied().find(|lock| has_word(code, lock)).or(is_static.then_some("static"));
        if let Some(name) = found {
            out.push(source.finding(line, format!("{name} in core")));
        }
    }
}

/// A folder of somebody's home or workplace, at the start of a path.
fn machine_path(text: &str) -> bool {
    let starts = |at: usize| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-.}~".contains(c))
    };
    ["work", "home", "root", "Users"].iter().any(|folder| {
        let path = format!("/{folder}/");
        text.match_indices(&path).any(|(at, _)| starts(at))
    })
}

fn root(files: &Files, out: &mut Vec<Finding>) -> usize {
    let ignored =
        files.texts.iter().find(|(path, _)| path == ".gitignore").map_or(&[][..], |(_, lines)| lines);
    let ignored = |name: &str| ignored.iter().any(|line| line.trim_matches('/') == name);
    // The tree was read a moment ago.
    let entries = std::fs::read_dir(&files.root).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let known = |name: &&String| ROOT.split_whitespace().any(|known| known == *name) || ignored(name);
    for name in names.iter().filter(|name| !known(name)) {
        let message = "does not belong in the root".to_owned();
        out.push(Finding { path: name.clone(), line: 1, message });
    }
    names.len()
}
