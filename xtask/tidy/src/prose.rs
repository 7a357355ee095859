//! The English of comments, as far as a program can judge it: free relatives and the opening words of doc comments.

use tidy::source::{Comment, Item, Marker, Source};

/// Pronouns for persons. A task, a thread or a caller is named instead.
const PERSONS: &str = "who whom whoever whomever";
const BODIES: &str = "somebody nobody everybody anybody";

/// The persons of a manual, to which `who` may refer.
const PEOPLE: &str = "user users author authors reader readers people person programmer programmers maintainer maintainers \
    contributor contributors someone anyone everyone";

/// Words before `what` that make it an object or a subject (`of what is left`) and not a question that a verb of
/// saying takes (`says what failed`).
const BEFORE_FREE: &str = "of to for with without by in from at than as and or but is are was were be not like beside behind below \
    above before after between all only just nor if that so then also takes has holds does gives gets";

/// First words that open no sentence: question words, prepositions, conjunctions, quantifiers.
const NO_SENTENCE: &str = "what whatever who whom whoever whose which whichever when whenever where wherever whether why how as \
    none nothing not so such if unless for in on at by with without of from to than after before \
    because until till while once and or but like beside between behind below above under through also only \
    even too then there here up down out about during since per again back true false never always";

/// Words in `s` that are no verbs in the third person.
const NO_VERBS: &str = "this its as us bytes tasks threads others always was less thus plus across towards besides perhaps \
    sometimes files words numbers messages connections descriptors seconds nanoseconds ours theirs process \
    address class various previous";

/// Words that follow a participle in a fragment.
const PREPOSITIONS: &str = "by for to in on when once from with as at if after before";

/// A way to open a doc comment that the rules of English forbid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Fragment,
    NoVerb,
}

/// Turns of phrase that are never used.
const MOULDS: &[&str] = &["so many", "none if", "all the same"];

/// A word of a comment.
struct Word {
    text: String,
    line: usize,
    /// The punctuation before it, if there is any.
    mark: Option<char>,
}

/// Finds the free relatives of a file: its line and the word.
///
/// Counts `who`, `whom` and `whoever`, unless one of the persons of a manual stands before it (`users who`); `somebody`,
/// `nobody`, `everybody`, `anybody`; `whose` without a noun before it; `what` as a subject or an object: at the start of a
/// clause that is no question, or behind a preposition, a conjunction or a form of `be`. Does not count a question that a
/// verb of saying or knowing takes (`says what failed`). Skips code.
pub fn free_relatives(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for block in blocks(&source.comments) {
        let words = words(block);
        for (at, word) in words.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |before| words[before].text.as_str());
            let starts = word.mark.map_or(at == 0, |mark| ".,;:!?()".contains(mark));
            let free = match word.text.as_str() {
                text if is_one_of(text, PERSONS) => !is_one_of(before, PEOPLE),
                text if is_one_of(text, BODIES) => true,
                "whose" => {
                    word.mark.is_none() && (at == 0 || before != "and" && is_one_of(before, BEFORE_FREE))
                }
                "what" => (starts && !question(&words[at..])) || is_one_of(before, BEFORE_FREE),
                _ => false,
            };
            if free {
                found.push((word.line, word.text.clone()));
            }
        }
    }
    found
}

fn question(words: &[Word]) -> bool {
    let end = words.iter().skip(1).find_map(|word| word.mark.filter(|mark| ".?!;:".contains(*mark)));
    end == Some('?')
}

/// Finds turns of phrase that are never used, and sections of a doc that consist of a participle (`Closed.`).
pub fn moulds(source: &Source) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for comment in &source.comments {
        let text = comment.text.to_lowercase();
        found.extend(MOULDS.iter().filter(|mould| text.contains(*mould)).map(|mould| (comment.line, *mould)));
        if comment.marker != Marker::Plain && comment.text.starts_with("Closed.") {
            found.push((comment.line, "Closed."));
        }
    }
    found
}

/// Counts `who`, `whom` and `whoever` alone, whatever stands before them.
pub fn persons(source: &Source) -> usize {
    let persons = |block| words(block).iter().filter(|word| is_one_of(&word.text, PERSONS)).count();
    blocks(&source.comments).map(persons).sum()
}

/// Counts the lines of comments that are not empty.
pub fn comment_lines(source: &Source) -> usize {
    source.comments.iter().filter(|comment| !comment.text.is_empty()).count()
}

/// Finds the doc comments that open with a fragment, and those of functions that open with no verb: line and opening.
///
/// A fragment opens with a question word, a preposition, a conjunction, a quantifier without a noun, or a participle with
/// its preposition (`Called by ..`). The doc comment of a function, other than a test, has to open with a verb in the third
/// person, after an adverb at most: with a word in `s` that is no known noun.
pub fn openings(source: &Source) -> impl Iterator<Item = (usize, Opening, String)> {
    source.docs.iter().filter_map(|doc| {
        let comment = &source.comments[doc.comment];
        let mut words = comment.text.split_whitespace();
        let opening = words.clone().take(6).collect::<Vec<_>>().join(" ");
        let first = words.find(|word| !word.ends_with("ly")).unwrap_or_default();
        let code = first.starts_with(['`', '[', '#', '|', '<']);
        let (first, next) = (bare(first), words.next().unwrap_or_default());
        let participle = first.ends_with("ed") && is_one_of(next, PREPOSITIONS);
        let found = if !code && (is_one_of(&first, NO_SENTENCE) || participle) {
            Opening::Fragment
        } else if matches!(doc.item, Item::Function(_))
            && (code || !first.ends_with('s') || is_one_of(&first, NO_VERBS))
        {
            Opening::NoVerb
        } else {
            return None;
        };
        Some((comment.line, found, opening))
    })
}

fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

/// Splits comments into blocks of lines that follow each other.
fn blocks(comments: &[Comment]) -> impl Iterator<Item = &[Comment]> {
    comments
        .chunk_by(|one, next| one.line + 1 == next.line && one.marker == next.marker && !next.text.is_empty())
}

/// Returns the words of a block, without code in backticks or between fences.
fn words(block: &[Comment]) -> Vec<Word> {
    let mut found = Vec::new();
    let mut mark = None;
    let mut code = false;
    for comment in block {
        if comment.text.starts_with("```") {
            code = !code;
            continue;
        }
        if code {
            continue;
        }
        let mut quoted = false;
        let mut text = String::new();
        for c in comment.text.chars().chain([' ']) {
            match c {
                '`' => {
                    quoted = !quoted;
                    text.push('`');
                }
                _ if quoted => {}
                c if c.is_alphanumeric() || "_'`".contains(c) => text.push(c),
                c => {
                    if !text.is_empty() {
                        let word = std::mem::take(&mut text).to_lowercase();
                        found.push(Word { text: word, line: comment.line, mark: mark.take() });
                    }
                    if !c.is_whitespace() {
                        mark = Some(c);
                    }
                }
            }
        }
    }
    // The end's own mark.
    found.push(Word { text: String::new(), line: 0, mark });
    found
}

/// Returns whether a word is one of a list.
fn is_one_of(word: &str, list: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}
