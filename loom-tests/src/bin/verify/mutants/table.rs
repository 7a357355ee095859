//! The source of the table: places in core, a weaker text for each, and the model that must turn red.
//!
//! ```text
//! [sema::unblock] what the place is there for
//! text: Ordering::AcqRel
//! at: 1 of 2
//! weaker: Ordering::Acquire
//! model: m03_payload_through_take
//! weaker: Ordering::Release
//! equivalent: why no execution can tell
//! ```
//!
//! `beyond: reason` in place of `equivalent` is for executions that C11 allows and loom does not explore.
//!
//! `at` may be missing when the text stands once in the function. A line that begins with a space goes on with the
//! value above it; `#` begins a comment.

use std::path::Path;

/// One mutant.
pub struct Row {
    /// Its number in the order of the file, from 1. The text as it is has number 0.
    pub number: usize,
    /// The file of core without its ending, and the function in it.
    pub word: String,
    pub function: String,
    pub title: String,
    /// The text of core, compared by tokens.
    pub text: String,
    /// The occurrence in the function, from 1, and the number of occurrences.
    pub at: (usize, usize),
    pub weaker: String,
    pub fate: Fate,
}

/// The result that a row must have.
pub enum Fate {
    /// This model turns red.
    Killed(String),
    /// No execution can tell it from the text, for this reason.
    Equivalent(String),
    /// It can go wrong, but in executions that loom does not explore, for this reason.
    Beyond(String),
}

impl Row {
    /// Returns the file and the function, `sema::unblock`.
    pub fn place(&self) -> String {
        format!("{}::{}", self.word, self.function)
    }

    /// Returns whether a filter picks the row.
    pub fn holds(&self, filter: &str) -> bool {
        let model = match &self.fate {
            Fate::Killed(model) => model,
            Fate::Equivalent(_) => "equivalent",
            Fate::Beyond(_) => "beyond",
        };
        [&self.place(), &self.title, model].iter().any(|text| text.contains(filter))
    }
}

/// The values of the lines so far.
#[derive(Default)]
struct Block {
    word: String,
    function: String,
    title: String,
    text: String,
    at: Option<(usize, usize)>,
    weaker: Option<String>,
    rows: usize,
}

/// Reads the table.
pub fn read(path: &Path) -> Result<Vec<Row>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut rows = Vec::new();
    let mut block = Block::default();
    for (line, said) in logical_lines(&text) {
        take(&said, &mut block, &mut rows)
            .map_err(|reason| format!("{}:{line}: {reason}", path.display()))?;
    }
    block.end().map_err(|reason| format!("{}: at its end: {reason}", path.display()))?;
    Ok(rows)
}

/// Joins the lines with their continuations, without comments; returns them with their numbers.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match lines.last_mut() {
            _ if line.starts_with('#') => {}
            Some((_, above)) if line.starts_with(' ') => *above += &format!("\n{}", line.trim()),
            _ => lines.push((at + 1, line.trim().to_owned())),
        }
    }
    lines
}

fn take(said: &str, block: &mut Block, rows: &mut Vec<Row>) -> Result<(), String> {
    if let Some(head) = said.strip_prefix('[') {
        block.end()?;
        *block = Block::begin(head)?;
        return Ok(());
    }
    let (key, value) = said.split_once(':').ok_or("neither `[word::function] title` nor `key: value`")?;
    let value = value.trim().to_owned();
    if value.is_empty() {
        return Err(format!("`{key}` says nothing"));
    }
    match key {
        "text" if block.rows == 0 => block.text = value,
        "at" if block.rows == 0 => block.at = Some(count(&value).ok_or("`at` is `1 of 2`")?),
        "weaker" if block.weaker.is_none() => block.weaker = Some(value),
        "model" => rows.push(block.row(rows.len() + 1, Fate::Killed(value))?),
        "equivalent" => rows.push(block.row(rows.len() + 1, Fate::Equivalent(one_line(&value)))?),
        "beyond" => rows.push(block.row(rows.len() + 1, Fate::Beyond(one_line(&value)))?),
        _ => return Err(format!("`{key}` is not expected here")),
    }
    Ok(())
}

fn one_line(value: &str) -> String {
    value.replace('\n', " ")
}

fn count(value: &str) -> Option<(usize, usize)> {
    let (at, of) = value.split_once(" of ")?;
    let (at, of) = (at.parse().ok()?, of.parse().ok()?);
    (1..=of).contains(&at).then_some((at, of))
}

impl Block {
    fn begin(head: &str) -> Result<Self, String> {
        let (place, title) = head.split_once(']').ok_or("a head is `[word::function] title`")?;
        let (word, function) = place.split_once("::").ok_or("a place is `word::function`")?;
        let owned = |text: &str| text.trim().to_owned();
        if title.trim().is_empty() {
            return Err(format!("{place} has no title"));
        }
        Ok(Self { word: owned(word), function: owned(function), title: owned(title), ..Self::default() })
    }

    /// Checks that a block is complete and has a row.
    fn end(&self) -> Result<(), String> {
        match (&self.weaker, self.rows, self.word.is_empty()) {
            (Some(weaker), ..) => Err(format!("`{weaker}` has no `model`, `equivalent` or `beyond`")),
            (None, 0, false) => Err(format!("[{}::{}] has no row", self.word, self.function)),
            _ => Ok(()),
        }
    }

    fn row(&mut self, number: usize, fate: Fate) -> Result<Row, String> {
        let weaker = self.weaker.take().ok_or("a fate without `weaker`")?;
        if self.word.is_empty() || self.text.is_empty() {
            return Err("a row without a place and a text".to_owned());
        }
        self.rows += 1;
        Ok(Row {
            number,
            word: self.word.clone(),
            function: self.function.clone(),
            title: self.title.clone(),
            text: self.text.clone(),
            at: self.at.unwrap_or((1, 1)),
            weaker,
            fate,
        })
    }
}
