//! Every ordering names its partner, and the partner names it back.

use std::collections::BTreeSet;

use super::Looked;
use super::files::{Files, Finding};
use super::source::{Source, has_word, words};
use super::tables::{ORDERING_ROOMS, in_room};

const WORDS: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
const SRC: &str = "core/src/";

/// One direction of a pair, written at `line` of `path`.
struct Pair {
    path: String,
    line: usize,
    from: String,
    to: String,
}

/// Orderings outside core, orderings without an explanation, pairs with one end, `SeqCst` on an access.
pub fn orderings(files: &Files, out: &mut Vec<Finding>) -> Looked {
    let mut pairs = Vec::new();
    let mut lines = 0;
    for source in &files.rust {
        if !in_room(ORDERING_ROOMS, &source.path) {
            outside(source, out);
        } else if source.path.starts_with(SRC) {
            lines += explained(source, out);
            collect(source, &mut pairs, out);
        }
    }
    both_ends(files, &pairs, out);
    let edge =
        |pair: &'_ Pair| [pair.from.clone().min(pair.to.clone()), pair.from.clone().max(pair.to.clone())];
    let edges: BTreeSet<_> = pairs.iter().map(edge).collect();
    Looked(lines, format!("{lines} lines with an ordering, {} pairs", edges.len()))
}

/// `Less` and its kin belong to another `Ordering`.
fn outside(source: &Source, out: &mut Vec<Finding>) {
    for (line, code) in source.code.iter().enumerate() {
        let path = WORDS.iter().any(|word| code.contains(&format!("Ordering::{word}")));
        let list = code.contains("Ordering::{") || code.contains("Ordering::*");
        let bare = ["Relaxed", "AcqRel", "SeqCst"].iter().any(|word| has_word(code, word));
        let fence = words(code, "fence").any(|at| code[at..].starts_with("fence("));
        if path || list || bare || fence {
            out.push(source.finding(line, "an atomic ordering outside core/src"));
        }
    }
}

/// Returns how many lines carry an ordering.
fn explained(source: &Source, out: &mut Vec<Finding>) -> usize {
    let mut count = 0;
    for (line, code) in source.code.iter().enumerate() {
        if source.imports[line] || !WORDS.iter().any(|word| has_word(code, word)) {
            continue;
        }
        count += 1;
        let says = |mark: &str| source.region(line).any(|line| said(&source.comments[line], mark).is_some());
        let fences = words(code, "SeqCst").all(|at| in_fence(&code[..at]));
        let seq_cst = has_word(code, "SeqCst");
        let message = match (seq_cst && !fences, says("pair:"), says("alone:")) {
            (true, ..) => "SeqCst only in fence(SeqCst)",
            (false, true, _) => continue,
            (false, false, true) if !seq_cst => continue,
            (false, false, true) => "a fence has a partner: `// pair: file::function`, not alone",
            (false, false, false) => "an ordering without `// pair: file::function` or `// alone: reason`",
        };
        out.push(source.finding(line, message));
    }
    count
}

fn in_fence(before: &str) -> bool {
    let before = before.strip_suffix("Ordering::").unwrap_or(before);
    before.ends_with("fence(")
}

/// What a comment says after a mark that begins it; nothing when it says nothing.
fn said<'c>(comment: &'c str, mark: &str) -> Option<&'c str> {
    let text = comment.trim_start().strip_prefix("// ")?.strip_prefix(mark)?.trim();
    (!text.is_empty()).then_some(text)
}

/// The pairs that a file's comments name, at an ordering or at the call of a word's method that has it.
fn collect(source: &Source, pairs: &mut Vec<Pair>, out: &mut Vec<Finding>) {
    let file = stem(&source.path);
    for (line, comment) in source.comments.iter().enumerate() {
        let Some(text) = said(comment, "pair:") else { continue };
        let targets = targets(text);
        if targets.is_empty() {
            out.push(source.finding(line, "a pair names `file::function`"));
        }
        let Some(function) = source.function_at(line) else {
            out.push(source.finding(line, "a pair outside a function has no name to be named back by"));
            continue;
        };
        let from = format!("{file}::{}", function.name);
        let pair = |to| Pair { path: source.path.clone(), line: line + 1, from: from.clone(), to };
        pairs.extend(targets.into_iter().map(pair));
    }
}

/// `a::b, c::d and why` names two.
fn targets(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let end = part.find(|c| !is_path(c)).unwrap_or(part.len());
        let path = part[..end].trim_end_matches(':');
        if !path.contains("::") {
            break;
        }
        found.push(path.to_owned());
        if end < part.len() {
            break;
        }
    }
    found
}

fn both_ends(files: &Files, pairs: &[Pair], out: &mut Vec<Finding>) {
    for pair in pairs {
        let (file, name) = pair.to.rsplit_once("::").unwrap_or_default();
        let mut named = files.under(&[SRC]).filter(|source| stem(&source.path) == file);
        let exists = named.any(|source| source.functions.iter().any(|f| f.name == name));
        let message = if !exists {
            format!("no file {file}.rs of core has a function {name}")
        } else if !pairs.iter().any(|back| back.from == pair.to && back.to == pair.from) {
            format!("{} does not name {} back", pair.to, pair.from)
        } else {
            continue;
        };
        out.push(Finding { path: pair.path.clone(), line: pair.line, message });
    }
}

/// The name by which a pair calls a file, wherever in core it lies: `sema` for `core/src/poll/sema.rs`.
fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs")
}
