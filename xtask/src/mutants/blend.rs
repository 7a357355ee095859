//! Writes core so that one build holds every mutant: each row's text becomes a choice that is made at run time.

use std::collections::BTreeMap;
use std::ops::Range;

use super::table::Row;
use crate::tidy::source::{Function, Source};

/// Where a row's text stands: characters of its file, by the row's number.
pub type Sites = BTreeMap<usize, Range<usize>>;

/// Finds every row's text; what is not there, or not as often as the row says, is told.
pub fn place(rows: &[Row], core: &BTreeMap<String, Source>) -> (Sites, Vec<String>) {
    let (mut sites, mut red) = (Sites::new(), Vec::new());
    for row in rows {
        match core.get(&row.word).map(|source| find(row, source)) {
            Some(Ok(site)) => drop(sites.insert(row.number, site)),
            Some(Err(reason)) => red.push(format!("[{}] {}: {reason}", row.place(), row.title)),
            None => red.push(format!("[{}] {}: core has no such file", row.place(), row.title)),
        }
    }
    (sites, red)
}

/// Finds a row's text in its function. Of several functions of that name it is the one that has the text.
fn find(row: &Row, source: &Source) -> Result<Range<usize>, String> {
    let functions: Vec<_> = source.functions.iter().filter(|f| f.name == row.function).collect();
    let found = functions.iter().map(|function| sites(row, source, function));
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

/// Returns where a row's text stands in a function.
fn sites(row: &Row, source: &Source, function: &Function) -> Vec<Range<usize>> {
    let lines = &source.code;
    let before: usize = lines[..function.first].iter().map(|line| line.chars().count() + 1).sum();
    let body = dense(&lines[function.first..=function.last].join("\n"));
    let text = dense(&Source::new(String::new(), &row.text).text());
    let starts = (0..body.len()).filter(|at| holds(&body[*at..], &text));
    starts.map(|at| before + body[at].1..before + body[at + text.len() - 1].1 + 1).collect()
}

/// The characters that are not spaces, with their places.
fn dense(code: &str) -> Vec<(char, usize)> {
    let place = |(at, c): (usize, char)| (!c.is_whitespace()).then_some((c, at));
    code.chars().enumerate().filter_map(place).collect()
}

/// Whether a text begins here: not in the middle of a name, and not at its end either.
fn holds(body: &[(char, usize)], text: &[(char, usize)]) -> bool {
    let same = body.len() >= text.len() && body.iter().zip(text).all(|(a, b)| a.0 == b.0);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let cut =
        |last: &(char, usize), next: &(char, usize)| word(last.0) && word(next.0) && last.1 + 1 == next.1;
    same && !text.is_empty() && !body.get(text.len()).is_some_and(|next| cut(&body[text.len() - 1], next))
}

/// A file of core with every choice in it.
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
    let raw: Vec<char> = source.raw.join("\n").chars().collect();
    let (mut text, mut at) = (String::new(), 0);
    for (whole, rows) in clusters {
        text.extend(&raw[at..whole.start]);
        text += &choice(&raw, &whole, &rows, sites);
        at = whole.end;
    }
    text.extend(&raw[at..]);
    text + "\n"
}

/// Rows whose texts overlap are variants of the text that covers them all.
fn choice(raw: &[char], whole: &Range<usize>, rows: &[&Row], sites: &Sites) -> String {
    let text = |range: Range<usize>| raw[range].iter().collect::<String>();
    let mut arms = String::new();
    for row in rows {
        let site = &sites[&row.number];
        let (before, after) = (text(whole.start..site.start), text(site.end..whole.end));
        arms += &format!("{} => {{ {before}{}{after}\n}}\n", row.number, row.weaker);
    }
    let original = text(whole.clone());
    let chosen = format!("match crate::sync::mutant() {{\n{arms}_ => {{ {original}\n}}\n}}");
    // A statement stands by itself; an expression may be a part of another.
    if original.ends_with([';', '}']) { chosen } else { format!("({chosen})") }
}
