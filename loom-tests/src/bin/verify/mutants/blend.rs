//! Writes core so that one build holds every mutant: the text of each row becomes a choice that is made at run time.

use std::collections::BTreeMap;
use std::ops::Range;

use tidy::source::{Function, Source};

use super::table::Row;

/// The place of each row's text, by the row's number: bytes of its file.
pub type Sites = BTreeMap<usize, Range<usize>>;

/// The orderings, and for each the weaker ones that may take its place.
const WEAKER: &[(&str, &[&str])] = &[
    ("SeqCst", &["Ordering::AcqRel"]),
    ("AcqRel", &["Ordering::Acquire", "Ordering::Release", "Ordering::Relaxed"]),
    ("Acquire", &["Ordering::Relaxed"]),
    ("Release", &["Ordering::Relaxed"]),
];

/// Finds the text of every row. A text that is not there, or not as often as its row says, is red.
pub fn place(rows: &[Row], core: &BTreeMap<String, Source>) -> (Sites, Vec<String>) {
    let (mut sites, mut red) = (Sites::new(), Vec::new());
    for row in rows {
        let site = core.get(&row.word).ok_or("core has no such file".to_owned());
        match site.and_then(|source| find(row, source)) {
            Ok(site) => drop(sites.insert(row.number, site)),
            Err(reason) => red.push(format!("[{}] {}: {reason}", row.place(), row.title)),
        }
    }
    (sites, red)
}

/// Finds the text of a row in its function. Of several functions of that name it is the one that has the text.
fn find(row: &Row, source: &Source) -> Result<Range<usize>, String> {
    let text = Source::new(row.place(), row.text.clone())?;
    let functions: Vec<_> = source.functions.iter().filter(|f| f.name == row.function).collect();
    let found = functions.iter().map(|function| sites(&text, source, function));
    let found: Vec<_> = found.filter(|found| !found.is_empty() || functions.len() == 1).collect();
    let [found] = &found[..] else {
        let (has, all) = (found.len(), functions.len());
        return Err(format!("{} has {all} functions of that name, {has} with the text", source.path));
    };
    let (at, of) = row.at;
    match found.get(at - 1) {
        Some(site) if found.len() == of => Ok(site.clone()),
        _ => {
            let text = row.text.replace('\n', " ");
            Err(format!("`{text}` stands there {} times, and the row says {of}", found.len()))
        }
    }
}

/// Returns the places in a function where the tokens of a text stand.
fn sites(text: &Source, source: &Source, function: &Function) -> Vec<Range<usize>> {
    let words: Vec<&str> = (0..text.tokens.len()).map(|at| text.word(at)).collect();
    let starts = function.tokens.clone().filter(|at| {
        !words.is_empty() && at + words.len() <= function.tokens.end && source.stands(*at, &words)
    });
    starts.map(|at| source.tokens[at].at.start..source.tokens[at + words.len() - 1].at.end).collect()
}

/// Finds the orderings that lack a row for a weaker one, and the fences that lack one without them.
pub fn missing(rows: &[Row], sites: &Sites, core: &BTreeMap<String, Source>) -> Vec<String> {
    let mut red = Vec::new();
    for (word, source) in core {
        let rows: Vec<(&Row, &Range<usize>)> = rows
            .iter()
            .filter(|row| row.word == *word)
            .filter_map(|row| Some((row, sites.get(&row.number)?)))
            .collect();
        for (ordering, weaker) in WEAKER {
            for at in source.words("Ordering").filter(|at| source.stands(at + 1, &[":", ":", ordering])) {
                let site = source.tokens[at].at.start..source.tokens[at + 3].at.end;
                let place = format!("{}:{}", source.path, source.line(at));
                let has = |weaker: &str| rows.iter().any(|(row, at)| **at == site && row.weaker == weaker);
                let lacking = weaker.iter().filter(|weaker| !has(weaker));
                red.extend(
                    lacking.map(|weaker| format!("{place}: Ordering::{ordering} has no row {weaker}")),
                );
                let removes = |(row, at): &(&Row, &Range<usize>)| {
                    row.text.starts_with("fence(") && row.weaker == "{}" && at.contains(&site.start)
                };
                if *ordering == "SeqCst" && !rows.iter().any(removes) {
                    red.push(format!("{place}: this fence has no row without it"));
                }
            }
        }
    }
    red
}

/// Returns a file of core with every choice in it.
pub fn blend(source: &Source, rows: &[&Row], sites: &Sites) -> String {
    let mut clusters: Vec<(Range<usize>, Vec<&Row>)> = Vec::new();
    let mut placed: Vec<(&Range<usize>, &Row)> = rows.iter().map(|row| (&sites[&row.number], *row)).collect();
    placed.sort_by_key(|(site, row)| (site.start, site.end, row.number));
    for (site, row) in placed {
        match clusters.last_mut() {
            Some((whole, rows)) if site.start < whole.end => {
                whole.end = whole.end.max(site.end);
                rows.push(row);
            }
            _ => clusters.push((site.clone(), vec![row])),
        }
    }
    let (mut text, mut at) = (String::new(), 0);
    for (whole, rows) in clusters {
        text += &source.text[at..whole.start];
        text += &choice(source, &whole, &rows, sites);
        at = whole.end;
    }
    text + &source.text[at..]
}

/// Writes one choice. Rows whose texts overlap are variants of the text that covers them all.
fn choice(source: &Source, whole: &Range<usize>, rows: &[&Row], sites: &Sites) -> String {
    let mut arms = String::new();
    for row in rows {
        let site = &sites[&row.number];
        let (before, after) = (&source.text[whole.start..site.start], &source.text[site.end..whole.end]);
        arms += &format!("{} => {{ {before}{}{after}\n}}\n", row.number, row.weaker);
    }
    let original = &source.text[whole.clone()];
    let chosen = format!("match crate::sync::mutant() {{\n{arms}_ => {{ {original}\n}}\n}}");
    // A statement stands by itself; an expression may be a part of another.
    if original.ends_with([';', '}']) { chosen } else { format!("({chosen})") }
}
