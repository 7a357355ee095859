//! A Rust file as `tidy`, `style` and the mutants see it: tokens from proc-macro2, and the comments between them.

use std::ops::Range;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

/// One Rust file. Lines count from 1, and `Range`s of tokens index `tokens`.
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
    /// Every function with a body, in order.
    pub functions: Vec<Function>,
}

/// A token and its place.
pub struct Token {
    /// Its kind.
    pub kind: Kind,
    /// Its bytes in the text.
    pub at: Range<usize>,
    /// Its first line.
    pub line: usize,
}

/// The kind of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or a name.
    Word,
    /// One sign.
    Punct,
    /// A number, a character or a string.
    Literal,
    /// An opening bracket.
    Open,
    /// A closing bracket.
    Close,
}

/// One line of a comment.
pub struct Comment {
    /// Its line.
    pub line: usize,
    /// The text behind the marker.
    pub text: String,
    /// Its marker.
    pub marker: Marker,
}

/// The way a comment begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// `//` or `/*`.
    Plain,
    /// `///`.
    Outer,
    /// `//!`.
    Inner,
}

/// A doc comment and the item that it describes.
pub struct Doc {
    /// The index of its first line in `Source::comments`.
    pub comment: usize,
    /// The item.
    pub item: Item,
}

/// The items that the rules tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A function, by the index of its `fn`.
    Function(usize),
    /// A function with a `test` attribute.
    Test,
    /// Anything else.
    Other,
}

/// A function, from its `fn` to its closing brace.
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its tokens.
    pub tokens: Range<usize>,
}

impl Source {
    /// Parses a file.
    pub fn new(path: String, text: String) -> Result<Self, String> {
        let stream: TokenStream = text.parse().map_err(|e| format!("{path}: {e}"))?;
        let mut walk = Walk { text: &text, tokens: Vec::new(), docs: Vec::new() };
        walk.stream(stream);
        let Walk { tokens, docs, .. } = walk;
        let comments = comments(&text, &tokens);
        let mut source = Self { path, text, tokens, comments, docs: Vec::new(), functions: Vec::new() };
        source.docs = docs.into_iter().filter_map(|(line, next, _)| source.doc(line, next)).collect();
        source.functions = (0..source.tokens.len()).filter_map(|at| source.function(at)).collect();
        Ok(source)
    }

    /// Returns the text of a token, or nothing behind the last one.
    pub fn word(&self, token: usize) -> &str {
        self.tokens.get(token).map_or("", |token| &self.text[token.at.clone()])
    }

    /// Returns the tokens that are this word, lifetimes left out.
    pub fn words<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> + 's {
        let lifetime = |at: usize| at > 0 && self.word(at - 1) == "'";
        let is_one = move |at: &usize| self.word(*at) == word && !lifetime(*at);
        (0..self.tokens.len()).filter(move |at| self.tokens[*at].kind == Kind::Word && is_one(at))
    }

    /// Returns whether these tokens stand here, one behind the other.
    pub fn stands(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(step, word)| self.word(at + step) == *word)
    }

    /// Returns the line of a token.
    pub fn line(&self, token: usize) -> usize {
        self.tokens[token].line
    }

    /// Returns the innermost function around a line.
    pub fn function_at(&self, line: usize) -> Option<&Function> {
        let holds = |function: &&Function| {
            self.line(function.tokens.start) <= line && line <= self.line(function.tokens.end - 1)
        };
        self.functions.iter().rfind(holds)
    }

    /// Returns the comments of a line and those of the lines above it that belong to the same statement.
    pub fn said(&self, line: usize) -> impl Iterator<Item = &Comment> {
        let first = self.statement(line);
        self.comments.iter().filter(move |comment| first <= comment.line && comment.line <= line)
    }

    /// Finds the first line of the statement, arm or field that a line belongs to, with the comments directly above.
    fn statement(&self, line: usize) -> usize {
        let mut open = Vec::new();
        let mut first = 1;
        for (at, token) in self.tokens.iter().enumerate().take_while(|(_, token)| token.line < line) {
            let word = self.word(at);
            match token.kind {
                Kind::Open => open.push(word),
                Kind::Close => drop(open.pop()),
                _ => {}
            }
            let last = self.tokens.get(at + 1).is_none_or(|next| next.line > token.line);
            let ends =
                [";", "{", "}"].contains(&word) || word == "," && matches!(open.last(), None | Some(&"{"));
            if last && ends {
                first = token.line + 1;
            }
        }
        let blank = self.text.lines().take(line - 1).enumerate().filter(|(_, text)| text.trim().is_empty());
        first.max(blank.last().map_or(0, |(at, _)| at + 2))
    }

    fn doc(&self, line: usize, next: usize) -> Option<Doc> {
        let comment = self.comments.iter().position(|comment| comment.line == line)?;
        let inner = self.comments[comment].marker == Marker::Inner;
        Some(Doc { comment, item: if inner { Item::Other } else { self.item(next) } })
    }

    /// Finds out which item begins here: behind attributes, a visibility and qualifiers.
    fn item(&self, from: usize) -> Item {
        const QUALIFIERS: &[&str] = &["#", "pub", "const", "async", "unsafe", "extern", "$", "*", "vis"];
        let (mut depth, mut test) = (0, false);
        for at in from..self.tokens.len() {
            let word = self.word(at);
            match self.tokens[at].kind {
                Kind::Open if depth == 0 && word == "{" => return Item::Other,
                Kind::Open => depth += 1,
                Kind::Close if depth == 0 => return Item::Other,
                Kind::Close => depth -= 1,
                _ if depth > 0 => test |= word == "test",
                Kind::Word if word == "fn" => return if test { Item::Test } else { Item::Function(at) },
                Kind::Literal => {}
                _ if QUALIFIERS.contains(&word) => {}
                _ => return Item::Other,
            }
        }
        Item::Other
    }

    fn function(&self, at: usize) -> Option<Function> {
        let named = self.word(at) == "fn" && self.tokens.get(at + 1)?.kind == Kind::Word;
        let mut depth = 0;
        for end in named.then_some(at + 2)?..self.tokens.len() {
            match (self.tokens[end].kind, self.word(end)) {
                (Kind::Open, _) => depth += 1,
                (Kind::Close, word) => {
                    depth -= 1;
                    if depth == 0 && word == "}" {
                        return Some(Function { name: self.word(at + 1).to_owned(), tokens: at..end + 1 });
                    }
                }
                (_, ";") if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }
}

/// Turns a tree of tokens into a list.
struct Walk<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    /// The doc comments: the first line of each, the index of the token behind it, and whether it is an inner one.
    docs: Vec<(usize, usize, bool)>,
}

impl Walk<'_> {
    fn stream(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            let span = tree.span();
            let at = span.byte_range();
            if self.text[at.clone()].starts_with(['/']) && at.len() > 1 {
                // A doc comment arrives as the tokens `#[doc = ".."]`, each with the place of the comment.
                while trees.next_if(|next| next.span().byte_range() == at).is_some() {}
                let inner = self.text[at].as_bytes()[2] == b'!';
                if !self.goes_on(inner) {
                    self.docs.push((span.start().line, self.tokens.len(), inner));
                }
                continue;
            }
            match tree {
                TokenTree::Ident(ident) => self.push(Kind::Word, ident.span()),
                TokenTree::Punct(punct) => self.push(Kind::Punct, punct.span()),
                TokenTree::Literal(literal) => self.push(Kind::Literal, literal.span()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                    self.stream(group.stream())
                }
                TokenTree::Group(group) => {
                    self.push(Kind::Open, group.span_open());
                    self.stream(group.stream());
                    self.push(Kind::Close, group.span_close());
                }
            }
        }
    }

    /// Returns whether the last doc comment goes on here: it is of the same kind, and only attributes stand between.
    fn goes_on(&self, inner: bool) -> bool {
        let Some((_, from, _)) = self.docs.last().filter(|doc| doc.2 == inner) else { return false };
        let mut depth = 0;
        self.tokens[*from..].iter().all(|token| {
            depth -= i32::from(token.kind == Kind::Close);
            let outside = depth == 0;
            depth += i32::from(token.kind == Kind::Open);
            !outside || ["#", "!", "[", "]"].contains(&&self.text[token.at.clone()])
        })
    }

    fn push(&mut self, kind: Kind, span: Span) {
        self.tokens.push(Token { kind, at: span.byte_range(), line: span.start().line });
    }
}

/// Finds the comments: all that stands between two tokens and is not white space.
fn comments(text: &str, tokens: &[Token]) -> Vec<Comment> {
    let mut found = Vec::new();
    let (mut from, mut line) = (0, 1);
    for token in tokens.iter().map(|token| token.at.clone()).chain(std::iter::once(text.len()..text.len())) {
        let mut block = false;
        for part in text[from..token.start].split_inclusive('\n') {
            let part_of = part.trim();
            if block || part_of.starts_with("//") || part_of.starts_with("/*") {
                block = (block || part_of.starts_with("/*")) && !part_of.contains("*/");
                let (marker, text) = unmarked(part_of);
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
    const MARKS: &[(&str, Marker)] = &[
        ("///", Marker::Outer),
        ("//!", Marker::Inner),
        ("/**", Marker::Outer),
        ("/*!", Marker::Inner),
        ("//", Marker::Plain),
        ("/*", Marker::Plain),
        ("*", Marker::Plain),
    ];
    let found = MARKS.iter().find_map(|(mark, marker)| Some((*marker, line.strip_prefix(mark)?)));
    let (marker, text) = found.unwrap_or((Marker::Plain, line));
    (marker, text.trim().trim_end_matches("*/").trim_end())
}
