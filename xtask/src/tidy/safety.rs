//! Every `unsafe` says which invariant makes it sound.

use std::collections::BTreeSet;

use super::Looked;
use super::files::{Files, Finding};
use super::source::{Source, line_of, words};

/// Blocks and impls cite an invariant; functions and traits say what they ask of the caller.
pub fn safety(files: &Files, out: &mut Vec<Finding>) -> Looked {
    let of_core = defined(files, &["core/src/lib.rs"]);
    let of_all = defined(files, &["core/src/lib.rs", "std-rt/src/lib.rs", "examples/bare/src/lib.rs"]);
    let mut count = 0;
    for source in &files.rust {
        let house = if source.path.starts_with("core/") { &of_core } else { &of_all };
        // A test may have an invariant of its own.
        let known = house | &defined(files, &[&source.path]);
        let text = source.text();
        for at in words(&text, "unsafe") {
            let line = line_of(&text, at);
            let message = match after(&text[at + "unsafe".len()..]) {
                Item::Other => continue,
                Item::Sound => unsound(source, line, &known),
                Item::Demands => silent(source, line),
            };
            count += 1;
            out.extend(message.map(|message| source.finding(line, message)));
        }
    }
    Looked(count, format!("{count} uses of unsafe, {} invariants", of_all.len()))
}

enum Item {
    /// A block, an impl, an extern block: the author answers for it.
    Sound,
    /// A function or a trait: the caller answers for it.
    Demands,
    /// An attribute or a type.
    Other,
}

fn after(rest: &str) -> Item {
    let mut next = rest.trim_start();
    if let Some(further) = next.strip_prefix("extern") {
        next = further.trim_start().trim_start_matches(|c| c != '{' && c != 'f').trim_start();
    }
    if next.starts_with('{') || next.starts_with("impl") {
        return Item::Sound;
    }
    let named = |word: &str| next.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '));
    if named("fn") || named("trait") { Item::Demands } else { Item::Other }
}

fn unsound(source: &Source, line: usize, known: &BTreeSet<usize>) -> Option<String> {
    let comments: Vec<&str> = source.region(line).map(|line| source.comments[line].trim()).collect();
    let Some(from) = comments.iter().position(|comment| comment.starts_with("// SAFETY:")) else {
        return Some("unsafe without a `// SAFETY:` comment above".to_owned());
    };
    let cited: BTreeSet<usize> = comments[from..].iter().flat_map(|comment| numbers(comment)).collect();
    let unknown = cited.iter().find(|number| !known.contains(number));
    unknown.map(|number| format!("INV-{number} is not defined in the crate's lib.rs"))
}

fn silent(source: &Source, line: usize) -> Option<String> {
    let told = source.region(line).any(|line| {
        let comment = source.comments[line].trim();
        comment.starts_with("/// # Safety") || comment.starts_with("// SAFETY:")
    });
    (!told).then(|| "an unsafe item without `# Safety` in its doc".to_owned())
}

/// The invariants that crate docs define.
fn defined(files: &Files, paths: &[&str]) -> BTreeSet<usize> {
    let docs = paths.iter().filter_map(|path| files.source(path)).flat_map(|source| &source.comments);
    docs.filter(|comment| comment.trim_start().starts_with("//!"))
        .flat_map(|comment| numbers(comment))
        .collect()
}

fn numbers(comment: &str) -> impl Iterator<Item = usize> {
    comment.split("INV-").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}
