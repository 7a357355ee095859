//! Whether the table is complete: every ordering of core has a row for each weaker one, every fence one without it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::blend::Sites;
use super::table::Row;
use crate::tidy::source::{Source, words};

/// What may stand in an ordering's place, one step weaker at a time.
const WEAKER: &[(&str, &[&str])] = &[
    ("SeqCst", &["Ordering::AcqRel"]),
    ("AcqRel", &["Ordering::Acquire", "Ordering::Release", "Ordering::Relaxed"]),
    ("Acquire", &["Ordering::Relaxed"]),
    ("Release", &["Ordering::Relaxed"]),
];

/// Orderings that have not all their rows.
pub fn missing(rows: &[Row], sites: &Sites, core: &BTreeMap<String, Source>) -> Vec<String> {
    let mut red = Vec::new();
    for (word, source) in core {
        let of_word: Vec<(&Row, &Range<usize>)> = rows
            .iter()
            .filter(|row| row.word == *word)
            .filter_map(|row| Some((row, sites.get(&row.number)?)))
            .collect();
        let text = source.text();
        for (ordering, weaker) in WEAKER {
            let full = format!("Ordering::{ordering}");
            for at in words(&text, &full) {
                let start = text[..at].chars().count();
                let wanted = |weaker: &&str| !has(&of_word, start..start + full.len(), weaker);
                let line = text[..at].matches('\n').count() + 1;
                let tell = |weaker: &str| format!("{}:{line}: {full} has no row {weaker}", source.path);
                red.extend(weaker.iter().copied().filter(|weaker| wanted(weaker)).map(tell));
                if *ordering == "SeqCst" && !of_word.iter().any(|(row, site)| removes(row, site, start)) {
                    red.push(format!("{}:{line}: this fence has no row without it", source.path));
                }
            }
        }
    }
    red
}

fn has(rows: &[(&Row, &Range<usize>)], site: Range<usize>, weaker: &str) -> bool {
    rows.iter().any(|(row, at)| **at == site && row.weaker == weaker)
}

fn removes(row: &Row, site: &Range<usize>, start: usize) -> bool {
    row.text.starts_with("fence(") && row.weaker == "{}" && site.contains(&start)
}
