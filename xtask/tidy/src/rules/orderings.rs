//! Every ordering names its partner, and the partner names it back.

use std::collections::{BTreeMap, BTreeSet};

use tidy::source::{Kind, Source};

use super::tables::{ORDERING_FILES, is_in};
use super::{Findings, Looked, Tree};

const ORDERINGS: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
const SRC: &str = "core/src/";

/// One direction of a pair, written at `line` of `path`.
struct Pair {
    path: String,
    line: usize,
    from: String,
    to: String,
}

/// Finds orderings outside core, orderings without an explanation, pairs with one end, and `SeqCst` on an access.
pub fn orderings(tree: &Tree, out: &mut Findings) -> Looked {
    let (mut pairs, mut lines) = (Vec::new(), 0);
    for source in &tree.rust {
        if !is_in(ORDERING_FILES, &source.path) {
            outside(source, out);
        } else if source.path.starts_with(SRC) {
            lines += explained(source, out);
            collect(source, &mut pairs, out);
        }
    }
    both_ends(tree, &pairs, out);
    let edges: BTreeSet<_> = pairs
        .iter()
        .map(|pair| pair.from.clone().min(pair.to.clone()) + &pair.from.clone().max(pair.to.clone()))
        .collect();
    Looked(lines, format!("{lines} lines with an ordering, {} pairs", edges.len()))
}

/// Finds an ordering of atomics: `Less` and its kin belong to another `Ordering`.
fn outside(source: &Source, out: &mut Findings) {
    let mut lines = BTreeSet::new();
    for at in (0..source.tokens.len()).filter(|at| source.tokens[*at].kind == Kind::Word) {
        let path = source.stands(at, &["Ordering", ":", ":"])
            && (ORDERINGS.contains(&source.word(at + 3)) || ["{", "*"].contains(&source.word(at + 3)));
        let bare = ["Relaxed", "AcqRel", "SeqCst"].contains(&source.word(at));
        if path || bare || source.stands(at, &["fence", "("]) {
            lines.insert(source.line(at));
        }
    }
    lines.iter().for_each(|line| out.add(&source.path, *line, "an atomic ordering outside core/src"));
}

/// Returns how many lines have an ordering.
fn explained(source: &Source, out: &mut Findings) -> usize {
    let mut lines: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut import = false;
    for at in 0..source.tokens.len() {
        let word = source.word(at);
        import = word == "use" || import && word != ";";
        if !import && ORDERINGS.contains(&word) {
            lines.entry(source.line(at)).or_default().push(at);
        }
    }
    for (line, orderings) in &lines {
        let says = |mark| source.said(*line).any(|comment| said(&comment.text, mark).is_some());
        let mut seq_cst = orderings.iter().filter(|at| source.word(**at) == "SeqCst").peekable();
        let fence = seq_cst.peek().is_some();
        let message = match (seq_cst.all(|at| in_fence(source, *at)), says("pair:"), says("alone:")) {
            (false, ..) => "SeqCst only in fence(SeqCst)",
            (true, true, _) => continue,
            (true, false, true) if !fence => continue,
            (true, false, true) => "a fence has a partner: `// pair: file::function`, not alone",
            (true, false, false) => "an ordering without `// pair: file::function` or `// alone: reason`",
        };
        out.add(&source.path, *line, message);
    }
    lines.len()
}

fn in_fence(source: &Source, at: usize) -> bool {
    let path = at.checked_sub(5).is_some_and(|at| source.stands(at, &["fence", "(", "Ordering", ":", ":"]));
    path || at.checked_sub(2).is_some_and(|at| source.stands(at, &["fence", "("]))
}

/// Returns the text behind a mark that begins a comment, if there is any.
fn said<'c>(comment: &'c str, mark: &str) -> Option<&'c str> {
    let text = comment.strip_prefix(mark)?.trim();
    (!text.is_empty()).then_some(text)
}

/// Collects the pairs that the comments of a file name, at an ordering or at the call of a method that has it.
fn collect(source: &Source, pairs: &mut Vec<Pair>, out: &mut Findings) {
    for comment in &source.comments {
        let Some(text) = said(&comment.text, "pair:") else { continue };
        let targets = targets(text);
        if targets.is_empty() {
            out.add(&source.path, comment.line, "a pair names `file::function`");
        }
        let Some(function) = source.function_at(comment.line) else {
            out.add(&source.path, comment.line, "a pair stands in a function, whose name its partner names");
            continue;
        };
        let from = format!("{}::{}", stem(&source.path), function.name);
        let pair = |to| Pair { path: source.path.clone(), line: comment.line, from: from.clone(), to };
        pairs.extend(targets.into_iter().map(pair));
    }
}

/// Reads the paths at the start of a text: `a::b, c::d and why` has two.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim) {
        let end = part.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(part.len());
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

fn both_ends(tree: &Tree, pairs: &[Pair], out: &mut Findings) {
    for pair in pairs {
        let (file, name) = pair.to.rsplit_once("::").unwrap_or_default();
        let mut named = tree.under(SRC).filter(|source| stem(&source.path) == file);
        if !named.any(|source| source.functions.iter().any(|function| function.name == name)) {
            out.add(&pair.path, pair.line, format!("no file {file}.rs of core has a function {name}"));
        } else if !pairs.iter().any(|back| back.from == pair.to && back.to == pair.from) {
            out.add(&pair.path, pair.line, format!("{} does not name {} back", pair.to, pair.from));
        }
    }
}

/// Returns the name by which a pair calls a file, wherever in core it lies: `sema` for `core/src/poll/sema.rs`.
fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs")
}
