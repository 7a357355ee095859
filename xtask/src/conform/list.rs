//! The list of the tests: a line for each test, with the reason in words if it does not pass.
//!
//! `file::test` passes. `file::test - fails: reason` runs and does not pass, with `races` only at times. With `cut` it is cut
//! out of its file before that is built; in a file without tests, `test` is a word, whose lines are cut out. `file - out: reason`
//! is a file that is not built. `file` is one without tests, which passes if it compiles. A section begins with its name in
//! brackets. The lines `cut` and `out` of the first one hold in all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use xtask::Outcome;

use crate::upstream::{read, write};

/// The line of a test or of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Line {
    /// It passes.
    Passes,
    /// It runs and does not pass.
    Fails(String),
    /// It runs and passes only at times.
    Races(String),
    /// It is cut out of its file.
    Cut(String),
    /// The whole file is not built.
    Out(String),
}

/// The lines of a section by their names, and the file in which they stand.
pub struct List {
    path: PathBuf,
    section: String,
    pub lines: BTreeMap<String, Line>,
    /// The lines `cut` and `out` of the first section.
    inherited: BTreeMap<String, Line>,
}

/// The first section.
pub const FIRST: &str = "default";

impl List {
    /// Reads a section; one that is not there is empty.
    pub fn read(path: PathBuf, section: &str) -> Result<Self, String> {
        let text = read(&path)?;
        let parse = |section| parse(body(&text, section)).map_err(|e| format!("{}: {e}", path.display()));
        let (lines, mut inherited) = (parse(section)?, parse(FIRST)?);
        inherited.retain(|_, line| matches!(line, Line::Cut(_) | Line::Out(_)));
        Ok(Self { path, section: section.to_owned(), lines, inherited })
    }

    /// Returns the line of a test or of a file.
    pub fn get(&self, name: &str) -> Option<&Line> {
        self.lines.get(name).or_else(|| self.inherited.get(name))
    }

    /// Returns the names of a file's tests whose line is of this kind, without the file.
    pub fn tests(&self, file: &str, kind: fn(&Line) -> bool) -> BTreeSet<&str> {
        let of_kind = self.lines.iter().chain(&self.inherited).filter(|(_, line)| kind(line));
        of_kind.filter_map(|(name, _)| name.strip_prefix(file)?.strip_prefix("::")).collect()
    }

    /// Adds tests that pass, and writes the file.
    pub fn bless(&mut self, passing: &[String]) -> Outcome {
        self.lines.extend(passing.iter().map(|name| (name.clone(), Line::Passes)));
        let text = read(&self.path)?;
        let old = body(&text, &self.section);
        let new: String = self.lines.iter().map(|(name, line)| line.print(name)).collect();
        let text = if old.is_empty() {
            format!("{text}\n[{}]\n{new}", self.section)
        } else {
            text.replace(old, &new)
        };
        write(&self.path, &text)
    }
}

impl Line {
    fn print(&self, name: &str) -> String {
        match self {
            Self::Passes => format!("{name}\n"),
            Self::Fails(reason) => format!("{name} - fails: {reason}\n"),
            Self::Races(reason) => format!("{name} - races: {reason}\n"),
            Self::Cut(reason) => format!("{name} - cut: {reason}\n"),
            Self::Out(reason) => format!("{name} - out: {reason}\n"),
        }
    }
}

fn parse(body: &str) -> Result<BTreeMap<String, Line>, String> {
    let mut lines = BTreeMap::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(" - ").map_or((line, None), |(name, rest)| (name, Some(rest)));
        let value = match rest.map(|rest| rest.split_once(": ")) {
            None => Line::Passes,
            Some(Some(("fails", reason))) => Line::Fails(reason.to_owned()),
            Some(Some(("races", reason))) => Line::Races(reason.to_owned()),
            Some(Some(("cut", reason))) => Line::Cut(reason.to_owned()),
            Some(Some(("out", reason))) => Line::Out(reason.to_owned()),
            Some(_) => return Err(format!("not a line of the list: {line}")),
        };
        if lines.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} is listed twice"));
        }
    }
    Ok(lines)
}

/// Returns the lines of a section.
fn body<'a>(text: &'a str, section: &str) -> &'a str {
    let header = format!("\n[{section}]\n");
    let rest = text.split_once(&header).map_or("", |(_, rest)| rest);
    rest.find("\n[").map_or(rest, |end| &rest[..end])
}
