//! Rules on comments: the invariants they cite, the futures they describe, the English they are written in.

use std::collections::BTreeSet;

use tidy::source::{Item, Marker, Source};

use super::tables::ENGLISH;
use super::{Findings, Looked, Tree};
use crate::prose::{self, Opening};

/// Finds the invariants that a comment cites and no `lib.rs` defines. clippy demands the comments.
pub fn invariants(tree: &Tree, out: &mut Findings) -> Looked {
    let (mut cited, mut known) = (0, BTreeSet::new());
    for path in ["core/src/lib.rs", "std-rt/src/lib.rs", "examples/bare/src/lib.rs"] {
        known.extend(tree.under(path).flat_map(defined));
        // The crates below do not know the invariants of those above.
        for source in tree.under(path.trim_end_matches("src/lib.rs")) {
            // A test may have an invariant of its own.
            let own: BTreeSet<usize> = defined(source).collect();
            for comment in &source.comments {
                for number in numbers(&comment.text) {
                    cited += 1;
                    if !known.contains(&number) && !own.contains(&number) {
                        let message = format!("INV-{number} is not defined in the lib.rs of the crate");
                        out.add(&source.path, comment.line, message);
                    }
                }
            }
        }
    }
    Looked(known.len(), format!("{cited} citations of {} invariants", known.len()))
}

fn defined(source: &Source) -> impl Iterator<Item = usize> {
    let docs = source.comments.iter().filter(|comment| comment.marker == Marker::Inner);
    docs.flat_map(|comment| numbers(&comment.text))
}

fn numbers(comment: &str) -> impl Iterator<Item = usize> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    comment.split("INV-").skip(1).filter_map(move |rest| digits(rest).parse().ok())
}

/// Demands that the doc of every `pub async fn` of the runtime says what happens when its future is dropped.
pub fn cancel(tree: &Tree, out: &mut Findings) -> Looked {
    let mut count = 0;
    for source in tree.under("std-rt/src/") {
        for at in source.words("fn").filter(|at| *at > 1 && source.stands(at - 2, &["pub", "async"])) {
            count += 1;
            let doc = source.docs.iter().find(|doc| doc.item == Item::Function(at));
            let mut lines = doc.into_iter().flat_map(|doc| &source.comments[doc.comment..]);
            let says =
                |text: &str| ["Dropped", "dropped", "Cancel safety"].iter().any(|word| text.contains(word));
            if !lines.any(|comment| comment.line < source.line(at) && says(&comment.text)) {
                let message =
                    format!("the doc of {} does not say what dropping its future does", source.word(at + 1));
                out.add(&source.path, source.line(at), message);
            }
        }
    }
    Looked(count, format!("{count} public async functions"))
}

/// Keeps the moulds of prose out: in each folder they have a share that is not exceeded.
pub fn english(tree: &Tree, out: &mut Findings) -> Looked {
    let (mut lines, mut docs) = (0, 0);
    for (folder, relatives, fragments, verbless, moulds) in ENGLISH {
        let sources: Vec<&Source> = tree.under(folder).collect();
        let sum =
            |count: &dyn Fn(&Source) -> usize| sources.iter().map(|source| count(source)).sum::<usize>();
        let opens =
            |opening| sum(&|source| prose::openings(source).filter(|found| found.1 == opening).count());
        let (of_lines, of_docs) = (sum(&prose::comment_lines), sum(&|source| source.docs.len()));
        lines += of_lines;
        docs += of_docs;
        let mut cap = |count: usize, of: usize, limit: usize, what: &str| {
            if count * 1000 > limit * of {
                let message = format!(
                    "{count} {what} in {of}, at most {limit} in 1,000; `cargo xtask style --list {folder}` names them"
                );
                out.add(folder, 1, message);
            }
        };
        cap(
            sum(&|source| prose::free_relatives(source).len()),
            of_lines,
            *relatives,
            "free relatives in lines of comment",
        );
        cap(
            sum(&|source| prose::moulds(source).len()),
            of_lines,
            *moulds,
            "moulds (`so many`, `Closed.`) in lines of comment",
        );
        cap(opens(Opening::Fragment), of_docs, *fragments, "fragments that open a doc comment");
        cap(opens(Opening::NoVerb), of_docs, *verbless, "doc comments of functions that open without a verb");
    }
    Looked(lines, format!("{lines} lines of comment, {docs} doc comments"))
}
