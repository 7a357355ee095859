//! Words and conditions that have their place: cfg, the kernel's crates, the model checker.

use tidy::source::{Kind, Source};

use super::tables::{CFG_FILES, Place, SELECTIONS, WORDS, is_in};
use super::{Findings, Looked, Tree};

/// The words that begin code, as opposed to the selection of a module.
const CODE: &[&str] =
    &["fn", "const", "static", "let", "struct", "enum", "union", "impl", "trait", "type", "macro_rules"];

/// Finds `#[cfg]`, `cfg!` and `cfg_attr` in `src` outside the files that may have them. A file that selects modules may
/// have nothing else. Tests stand outside `src`, so no file may have `cfg(test)`.
pub fn cfg(tree: &Tree, out: &mut Findings) -> Looked {
    let (mut files, mut conditions) = (0, 0);
    for source in tree.rust.iter().filter(|source| source.path.contains("/src/")) {
        files += 1;
        for at in source.words("cfg").chain(source.words("cfg_attr")).filter(|at| is_condition(source, *at)) {
            conditions += 1;
            let line = source.line(at);
            if source.stands(at + 1, &["(", "test", ")"]) {
                out.add(&source.path, line, "cfg(test) in src; a test stands in tests/");
            }
            if !is_in(CFG_FILES, &source.path) {
                let message =
                    "cfg outside the files that select modules; a new one is a row of tidy/tables.rs";
                out.add(&source.path, line, message);
            }
        }
        let is_code = |at: &usize| CODE.contains(&source.word(*at)) && source.tokens[*at].kind == Kind::Word;
        let selects = is_in(SELECTIONS, &source.path);
        for at in (0..source.tokens.len()).filter(|at| selects && is_code(at)) {
            let message = format!("cfg selects modules here, so there is no `{}`", source.word(at));
            out.add(&source.path, source.line(at), message);
        }
    }
    Looked(files, format!("{files} files, {conditions} conditions"))
}

fn is_condition(source: &Source, at: usize) -> bool {
    let attribute = at > 0 && source.word(at - 1) == "[";
    attribute || source.word(at) == "cfg_attr" || source.word(at + 1) == "!"
}

/// Finds the words of the table outside their places.
pub fn words(tree: &Tree, out: &mut Findings) -> Looked {
    let mut count = 0;
    for (words, folder, places) in WORDS {
        for source in tree.under(folder) {
            let found: Vec<usize> = words.iter().flat_map(|word| source.words(word)).collect();
            count += found.len();
            for at in found.into_iter().filter(|_| !is_in(places, &source.path)) {
                let message = format!("`{}` outside {}", source.word(at), named(places));
                out.add(&source.path, source.line(at), message);
            }
        }
    }
    Looked(count, format!("{count} words"))
}

fn named(places: &[Place]) -> &str {
    places.first().map_or("any place", |(place, _)| place)
}
