//! `loom-tests/MUTANTS.md`: the table with its results, for a reader who does not run it.

use std::path::Path;

use super::runs::{End, Ends};
use super::table::{Fate, Row};

const HEAD: &str = "# Mutants\n
Written by `cargo xtask mutants` from [mutants.txt](mutants.txt). Each row takes something away from `core/src`: an
ordering, a fence, a check, the order of two steps. *Killed* means that the model named found an execution in which that
goes wrong: a deadlock, a race on plain memory, or an assertion. *Equivalent* means that no execution can tell the
difference, and *beyond loom* that C11 has executions that can but loom does not explore them, each for the reason given
below the table; such a row faces every model of its word and must survive them all.\n";

/// Writes the report, or only compares it; tells when it is not as it should be.
pub fn write(root: &Path, rows: &[&Row], ends: &Ends, check: bool) -> Result<Option<String>, String> {
    let path = root.join("loom-tests/MUTANTS.md");
    let text = text(rows, ends);
    // The first run finds no report.
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    if check {
        let stale = "loom-tests/MUTANTS.md is out of date: run `cargo xtask mutants`";
        return Ok((old != text).then(|| stale.to_owned()));
    }
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(None)
}

/// Returns the counts, `80 mutants: 70 killed, 10 equivalent`, with the wrong ones if there are any.
pub fn counts(rows: &[&Row], ends: &Ends) -> String {
    let count = |result: &str| rows.iter().filter(|row| self::result(row, ends) == result).count();
    let (killed, equivalent, beyond) = (count("killed"), count("equivalent"), count("beyond loom"));
    let wrong = rows.len() - killed - equivalent - beyond;
    let told =
        format!("{} mutants: {killed} killed, {equivalent} equivalent, {beyond} beyond loom", rows.len());
    if wrong == 0 { told } else { format!("{told}, {wrong} not as they must be") }
}

/// Returns the word in the last column of the table.
fn result(row: &Row, ends: &Ends) -> &'static str {
    match (&row.fate, ends.get(&row.number)) {
        (Fate::Killed(_), Some(End::Killed(_))) => "killed",
        (Fate::Equivalent(_), Some(End::Survived)) => "equivalent",
        (Fate::Beyond(_), Some(End::Survived)) => "beyond loom",
        (Fate::Killed(_), Some(End::Survived)) => "SURVIVED",
        (_, Some(End::Killed(_))) => "KILLED",
        _ => "UNCLEAR",
    }
}

/// The last line of the first table; no file of core has this name.
const ALL: &str = "**all**";

fn text(rows: &[&Row], ends: &Ends) -> String {
    let mut text = format!("{HEAD}\n{}.\n\n", counts(rows, ends));
    text += "| word | rows | killed | equivalent | beyond loom |\n|---|--:|--:|--:|--:|\n";
    // The rows of a word need not stand together.
    let mut words: Vec<&str> = Vec::new();
    for row in rows {
        if !words.contains(&row.word.as_str()) {
            words.push(&row.word);
        }
    }
    for word in words.into_iter().chain([ALL]) {
        let of_word: Vec<&&Row> = rows.iter().filter(|row| word == ALL || row.word == word).collect();
        let count = |what: &str| of_word.iter().filter(|row| result(row, ends) == what).count();
        let (killed, equivalent, beyond) = (count("killed"), count("equivalent"), count("beyond loom"));
        text += &format!("| {word} | {} | {killed} | {equivalent} | {beyond} |\n", of_word.len());
    }
    text += "\n| # | where | what it is there for | text | instead | model | by | result |\n";
    text += "|--:|---|---|---|---|---|---|---|\n";
    for row in rows {
        text += &line(row, ends);
    }
    text += "\n## Why no model sees these\n\n";
    text.extend(rows.iter().filter_map(|row| why(row)));
    text
}

fn why(row: &Row) -> Option<String> {
    let (what, reason) = match &row.fate {
        Fate::Killed(_) => return None,
        Fate::Equivalent(reason) => ("equivalent", reason),
        Fate::Beyond(reason) => ("beyond loom", reason),
    };
    let (number, place, weaker) = (row.number, row.place(), code(&row.weaker));
    Some(format!("- **{number}** `{place}`, {}: {weaker}. *{what}*: {reason}.\n", row.title))
}

fn line(row: &Row, ends: &Ends) -> String {
    let by = if let Some(End::Killed(by)) = ends.get(&row.number) { by } else { "" };
    let model = if let Fate::Killed(model) = &row.fate { model } else { "all of the word" };
    let (number, place, title) = (row.number, row.place(), &row.title);
    let (text, weaker, result) = (code(&row.text), code(&row.weaker), result(row, ends));
    format!("| {number} | `{place}` | {title} | {text} | {weaker} | {model} | {by} | {result} |\n")
}

/// Returns source as one cell of a table.
fn code(text: &str) -> String {
    if text == "{}" {
        return "*nothing*".to_owned();
    }
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("`{}`", one_line.replace('|', "\\|"))
}
