//! A Rust file as `tidy` and `style` see it: tokens from proc-macro2, and the comments between them.

use std::ops::Range;

use proc_macro2::{Delimiter, LineColumn, TokenStream, TokenTree};

/// One Rust file.
pub struct Source {
    /// The path from the root, with `/`.
    pub path: String,
    /// The file as it was read.
    pub text: String,
    /// Every token, with the delimiters as tokens of their own; doc comments are not among them.
    pub tokens: Vec<Token>,
    /// Every line of a comment, in order.
    pub comments: Vec<Comment>,
    /// Every doc comment, in order.
    pub docs: Vec<Doc>,
}

/// A token and its place.
#[derive(Clone)]
pub struct Token {
    pub kind: Kind,
    /// Its bytes in the text.
    pub at: Range<usize>,
}

/// The kind of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Word,
    Punct,
    Literal,
    Open,
    Close,
}

/// One line of a comment.
pub struct Comment {
    /// Counted from 1.
    pub line: usize,
    /// The text behind the marker.
    pub text: String,
    pub marker: Marker,
}

/// The way a comment begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    Plain,
    Outer,
    Inner,
}

/// A doc comment and the item that it describes.
pub struct Doc {
    /// The index of its first line in `Source::comments`.
    pub comment: usize,
    pub item: Item,
}

/// The items that the rules of English tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Item {
    Function,
    Test,
    Other,
}

impl Source {
    /// Parses a file.
    pub fn new(path: String, text: String) -> Result<Self, String> {
        let stream: TokenStream = text.parse().map_err(|e| format!("{path}: {e}"))?;
        let mut found = Found { text: &text, tokens: Vec::new(), docs: Vec::new() };
        found.walk(stream);
        let Found { tokens, docs: starts, .. } = found;
        let comments = comments(&text, &tokens);
        let doc = |(line, next): (usize, usize)| {
            let comment = comments.iter().position(|comment| comment.line == line)?;
            let inner = comments[comment].marker == Marker::Inner;
            Some(Doc { comment, item: if inner { Item::Other } else { item(&text, &tokens[next..]) } })
        };
        let docs = starts.into_iter().filter_map(doc).collect();
        Ok(Self { path, text, tokens, comments, docs })
    }

    /// Returns the text of a token.
    pub fn word(&self, token: &Token) -> &str {
        &self.text[token.at.clone()]
    }

    /// Counts the places where one token's text follows the other's.
    pub fn count(&self, first: &str, second: &str) -> usize {
        let both = |pair: &&[Token]| self.word(&pair[0]) == first && self.word(&pair[1]) == second;
        self.tokens.windows(2).filter(both).count()
    }
}

/// The tokens so far, and for each doc comment its first line and the index of the token behind it.
struct Found<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    docs: Vec<(usize, usize)>,
}

impl Found<'_> {
    fn walk(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().peekable();
        let mut last_doc = 0;
        while let Some(tree) = trees.next() {
            let at = tree.span().byte_range();
            if self.text[at.clone()].starts_with("//") || self.text[at.clone()].starts_with("/*") {
                // A doc comment arrives as the tokens `#[doc = ".."]`, each with the comment's place.
                while trees.next_if(|next| next.span().byte_range() == at).is_some() {}
                let LineColumn { line, .. } = tree.span().start();
                if last_doc + 1 != line || self.docs.last().is_none_or(|doc| doc.1 != self.tokens.len()) {
                    self.docs.push((line, self.tokens.len()));
                }
                last_doc = tree.span().end().line;
                continue;
            }
            let mut push = |kind, span: proc_macro2::Span| {
                self.tokens.push(Token { kind, at: span.byte_range() });
            };
            match tree {
                TokenTree::Ident(ident) => push(Kind::Word, ident.span()),
                TokenTree::Punct(punct) => push(Kind::Punct, punct.span()),
                TokenTree::Literal(literal) => push(Kind::Literal, literal.span()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::None => self.walk(group.stream()),
                TokenTree::Group(group) => {
                    push(Kind::Open, group.span_open());
                    self.walk(group.stream());
                    self.tokens.push(Token { kind: Kind::Close, at: group.span_close().byte_range() });
                }
            }
        }
    }
}

/// Finds the comments: all that stands between two tokens and is not white space.
fn comments(text: &str, tokens: &[Token]) -> Vec<Comment> {
    let mut found = Vec::new();
    let (mut from, mut line) = (0, 1);
    let ends = tokens.iter().map(|token| token.at.clone()).chain(std::iter::once(text.len()..text.len()));
    for token in ends {
        let mut block = false;
        for part in text[from..token.start].split_inclusive('\n') {
            let trimmed = part.trim();
            if block || trimmed.starts_with("//") || trimmed.starts_with("/*") {
                block = (block || trimmed.starts_with("/*")) && !trimmed.contains("*/");
                let (marker, text) = unmarked(trimmed);
                found.push(Comment { line, text: text.to_owned(), marker });
            }
            line += usize::from(part.ends_with('\n'));
        }
        line += text[token.clone()].matches('\n').count();
        from = token.end;
    }
    found
}

fn unmarked(line: &str) -> (Marker, &str) {
    let markers =
        [("///", Marker::Outer), ("//!", Marker::Inner), ("/**", Marker::Outer), ("/*!", Marker::Inner)];
    let plain = [("//", Marker::Plain), ("/*", Marker::Plain), ("*", Marker::Plain)];
    let found = markers.iter().chain(&plain).find_map(|(mark, kind)| Some((*kind, line.strip_prefix(mark)?)));
    let (marker, text) = found.unwrap_or((Marker::Plain, line));
    (marker, text.trim().trim_end_matches("*/").trim_end())
}

/// Finds out which item follows a doc comment: behind attributes, a visibility and qualifiers.
fn item(text: &str, tokens: &[Token]) -> Item {
    const QUALIFIERS: &[&str] = &["pub", "const", "async", "unsafe", "extern", "default", "$", "*", "vis"];
    let (mut depth, mut test) = (0, false);
    for token in tokens {
        let word = &text[token.at.clone()];
        match token.kind {
            Kind::Open if depth == 0 && word == "{" => return Item::Other,
            Kind::Open => depth += 1,
            Kind::Close if depth == 0 => return Item::Other,
            Kind::Close => depth -= 1,
            _ if depth > 0 => test |= word == "test",
            Kind::Word if word == "fn" => return if test { Item::Test } else { Item::Function },
            Kind::Literal => {}
            _ if word == "#" || QUALIFIERS.contains(&word) => {}
            _ => return Item::Other,
        }
    }
    Item::Other
}
