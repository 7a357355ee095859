//! The table, for people.

use super::figures::Figures;
use super::peers::OURS;
use super::table::{DERIVED, Group, Workload};

/// The page of a group: where and how it was measured, then a row for each metric of each workload. A ratio is the median
/// of the ratios within the rounds.
pub fn page(group: Group, header: &[(String, String)], workloads: &[&Workload], figures: &Figures) -> String {
    let peers = figures.peers();
    let others: Vec<&str> = peers.iter().copied().filter(|peer| *peer != OURS).collect();
    let mut page = format!("# {}\n\nWritten by `cargo xtask bench {}`.\n\n", group.title(), group.name());
    for (name, value) in header {
        page += &format!("- {name}: {value}\n");
    }
    page += &format!("\n![Cost relative to tokio]({}.svg)\n\n", group.name());
    page += "Medians over the rounds. A ratio is the median of the ratios within a round; under 1 is better where less \
             is better (v), over 1 where more is (^).\n\n";
    let ratios = others.iter().map(|other| format!("ours : {other}"));
    let titles = ["workload", "figure"].into_iter().chain(peers.iter().copied()).map(str::to_owned);
    page += &row(titles.chain(ratios));
    page += &row(["---", "---"]
        .into_iter()
        .chain(peers.iter().chain(&others).map(|_| "---:"))
        .map(str::to_owned));
    for workload in workloads {
        let mut name = format!("`{}`: {}", workload.name, workload.what);
        for metric in workload.metrics {
            let medians: Vec<_> =
                peers.iter().map(|peer| figures.median(workload.name, metric.key, peer)).collect();
            if medians.iter().all(Option::is_none) {
                continue;
            }
            let figure = format!("{} {}", metric.unit, if metric.more_is_better { "^" } else { "v" });
            let ratios = others.iter().map(|other| figures.ratio(workload.name, metric.key, OURS, other));
            let cells = medians.iter().map(|value| cell(*value)).chain(ratios.map(ratio));
            page += &row([std::mem::take(&mut name), figure].into_iter().chain(cells));
        }
    }
    page + &derived(group, &peers, figures)
}

/// What follows from pairs of rows.
fn derived(group: Group, peers: &[&str], figures: &Figures) -> String {
    let lines = DERIVED.iter().filter(|derived| derived.group == group).filter_map(|derived| {
        let values: Vec<_> = peers.iter().map(|peer| derived.value(figures, peer)).collect();
        let known = values.iter().any(Option::is_some);
        known.then(|| row([derived.what.to_owned()].into_iter().chain(values.into_iter().map(ratio))))
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        return String::new();
    }
    let titles = row(["what follows"].into_iter().chain(peers.iter().copied()).map(str::to_owned));
    let rule = row(["---"].into_iter().chain(peers.iter().map(|_| "---:")).map(str::to_owned));
    format!("\n{titles}{rule}{lines}")
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// Three digits that mean something; thousands are kept apart.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 || size == 0.0 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits = whole.trim_start_matches('-');
    let mut grouped = whole[..whole.len() - digits.len()].to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}
