//! A Rust source as tidy sees it: code, comments and strings told apart, functions and statements found.

use std::ops::RangeInclusive;

/// One Rust file. Lines count from 0 here; a finding adds one.
pub struct Source {
    /// From the root, with `/`.
    pub path: String,
    /// The lines as they were written.
    pub raw: Vec<String>,
    /// The same lines with spaces in place of comments and of what strings hold.
    pub code: Vec<String>,
    /// The same lines with spaces in place of everything but comments.
    pub comments: Vec<String>,
    /// Every function with a body, in the order of the file.
    pub functions: Vec<Function>,
    /// Lines of `use` declarations.
    pub imports: Vec<bool>,
    ends_statement: Vec<bool>,
}

/// A function, from the line of its `fn` to the line of its closing brace.
pub struct Function {
    pub name: String,
    /// What stands before `fn`: `pub async`.
    pub head: String,
    pub first: usize,
    pub last: usize,
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: String, text: &str) -> Self {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (code, comments) = split(text);
        let functions = functions(&code);
        let (raw, code, comments) = (lines(text), lines(&code), lines(&comments));
        let (imports, ends_statement) = (imports(&code), statement_ends(&raw, &code));
        Self { path, raw, code, comments, functions, imports, ends_statement }
    }

    /// The statement that holds a line, up to that line, with the comments and attributes directly above.
    pub fn region(&self, line: usize) -> RangeInclusive<usize> {
        let mut first = line;
        while first > 0 && !self.ends_statement[first - 1] {
            first -= 1;
        }
        first..=line
    }

    /// The innermost function around a line.
    pub fn function_at(&self, line: usize) -> Option<&Function> {
        self.functions.iter().rfind(|function| function.first <= line && line <= function.last)
    }

    /// The code as one text, and with `line_of` the way back to a line.
    pub fn text(&self) -> String {
        self.code.join("\n")
    }
}

/// The line of a place in `Source::text`.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count()
}

/// Where a word stands alone in a text.
pub fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let bytes = text.as_bytes();
    let free = move |at: usize| bytes.get(at).is_none_or(|byte| !is_word(char::from(*byte)));
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| free(at.wrapping_sub(1)) && free(at + word.len()))
}

/// Whether a text holds a word by itself.
pub fn has_word(text: &str, word: &str) -> bool {
    words(text, word).next().is_some()
}

/// The identifier that a text begins with, maybe empty.
pub fn identifier(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    /// What a string or a character holds.
    Literal,
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

/// Two texts with the lines and columns of the first: only code, only comments.
fn split(text: &str) -> (String, String) {
    let mut lexer =
        Lexer { chars: text.chars().collect(), at: 0, code: String::new(), comments: String::new() };
    while let Some(c) = lexer.peek(0) {
        match (c, lexer.peek(1)) {
            ('/', Some('/')) => lexer.take_until(Kind::Comment, |lexer| lexer.peek(0) == Some('\n')),
            ('/', Some('*')) => lexer.block_comment(),
            ('"', _) => lexer.string(),
            ('\'', _) => lexer.quote(),
            ('r', Some('"' | '#')) if lexer.starts_literal() => lexer.raw_string(),
            _ => lexer.take(Kind::Code),
        }
    }
    (lexer.code, lexer.comments)
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn take(&mut self, kind: Kind) {
        let Some(c) = self.peek(0) else { return };
        self.at += 1;
        let blank = if c == '\n' { '\n' } else { ' ' };
        self.code.push(if matches!(kind, Kind::Code) { c } else { blank });
        self.comments.push(if matches!(kind, Kind::Comment) { c } else { blank });
    }

    fn take_until(&mut self, kind: Kind, end: impl Fn(&Self) -> bool) {
        while self.at < self.chars.len() && !end(self) {
            self.take(kind);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            let step = match (c, self.peek(1)) {
                ('/', Some('*')) => 1,
                ('*', Some('/')) => -1,
                _ => 0,
            };
            self.take(Kind::Comment);
            if step != 0 {
                self.take(Kind::Comment);
                depth += step;
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(Kind::Code);
        while let Some(c) = self.peek(0).filter(|c| *c != '"') {
            if c == '\\' {
                self.take(Kind::Literal);
            }
            self.take(Kind::Literal);
        }
        self.take(Kind::Code);
    }

    /// A character, or the tick of a lifetime.
    fn quote(&mut self) {
        let escaped = self.peek(1) == Some('\\');
        let literal = escaped || self.peek(2) == Some('\'');
        self.take(Kind::Code);
        if literal {
            self.take(Kind::Literal);
            if escaped {
                self.take(Kind::Literal);
            }
            self.take_until(Kind::Literal, |lexer| lexer.peek(0) == Some('\''));
            self.take(Kind::Code);
        }
    }

    /// Whether `r` here may begin a literal: at the start of a word, or after `b` or `c` alone.
    fn starts_literal(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).and_then(|at| self.chars.get(at)).copied();
        let free = |c: Option<char>| c.is_none_or(|c| !is_word(c));
        free(before(1)) || (matches!(before(1), Some('b' | 'c')) && free(before(2)))
    }

    fn raw_string(&mut self) {
        let hashes = self.chars[self.at + 1..].iter().take_while(|c| **c == '#').count();
        if self.peek(1 + hashes) != Some('"') {
            return self.take(Kind::Code); // a raw identifier
        }
        let closes = |lexer: &Self| {
            lexer.peek(0) == Some('"') && (1..=hashes).all(|ahead| lexer.peek(ahead) == Some('#'))
        };
        (0..hashes + 2).for_each(|_| self.take(Kind::Code));
        self.take_until(Kind::Literal, closes);
        (0..hashes + 1).for_each(|_| self.take(Kind::Code));
    }
}

fn functions(code: &str) -> Vec<Function> {
    let body = |at: usize| -> Option<Function> {
        let name = identifier(code[at + 2..].trim_start());
        let end = (!name.is_empty()).then(|| body_end(&code[at..]))??;
        let head = code[..at].rsplit('\n').next().unwrap_or_default().trim().to_owned();
        let (first, last) = (line_of(code, at), line_of(code, at + end));
        Some(Function { name: name.to_owned(), head, first, last })
    };
    words(code, "fn").filter_map(body).collect()
}

/// Where the braces that follow a function's head close; nothing when the head ends at a semicolon.
fn body_end(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn imports(code: &[String]) -> Vec<bool> {
    let mut inside = false;
    let mut mark = |line: &String| {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let import = inside || first == "use" || first.starts_with("pub") && words.next() == Some("use");
        inside = import && !line.contains(';');
        import
    };
    code.iter().map(&mut mark).collect()
}

/// Per line, whether a new statement (arm, field, item) may begin after it.
fn statement_ends(raw: &[String], code: &[String]) -> Vec<bool> {
    let mut open = Vec::new();
    let mut end = |(raw, code): (&String, &String)| {
        for c in code.chars() {
            match c {
                '(' | '[' | '{' => open.push(c),
                ')' | ']' | '}' => drop(open.pop()),
                _ => {}
            }
        }
        match code.trim_end().chars().next_back() {
            Some(';' | '{' | '}') => true,
            Some(',') => matches!(open.last(), None | Some('{')),
            Some(_) => false,
            None => raw.trim().is_empty(),
        }
    };
    raw.iter().zip(code).map(&mut end).collect()
}
