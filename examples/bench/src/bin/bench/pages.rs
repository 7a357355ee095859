//! The pages of a run. Each group has three files: the figures as text, a page with the table, and a plot.

use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::Figures;
use crate::peers::OURS;
use crate::workloads::{DERIVED, Group, How};

/// The lines of a page's head, each with its name.
type Header = [(String, String)];

/// Writes the groups that have figures, and returns how many.
pub fn write(folder: &Path, header: &Header, figures: &Figures) -> Result<usize, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut groups = 0;
    for group in Group::ALL {
        let of_group = figures.0.iter().filter(|figure| figure.workload.group == group);
        let figures = Figures(of_group.cloned().collect());
        if figures.0.is_empty() {
            continue;
        }
        let path = |extension: &str| folder.join(format!("{}.{extension}", group.name()));
        let save = |extension: &str, text: String| {
            fs::write(path(extension), text)
                .map_err(|error| format!("{}: {error}", path(extension).display()))
        };
        let comments: String = header.iter().map(|(name, value)| format!("# {name}: {value}\n")).collect();
        save("tsv", comments + &figures.to_text())?;
        save("md", page(group, header, &figures))?;
        save("svg", plot(group, header, &figures).map_err(|error| format!("the plot: {error}"))?)?;
        groups += 1;
    }
    Ok(groups)
}

/// Reads the figures of an earlier run and writes its pages again.
pub fn write_again(from: &Path, to: &Path) -> Result<(), String> {
    let mut groups = 0;
    for group in Group::ALL {
        let Ok(text) = fs::read_to_string(from.join(format!("{}.tsv", group.name()))) else { continue };
        let comments = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": "));
        let header: Vec<_> = comments.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        groups += write(to, &header, &Figures::from_text(&text)?)?;
    }
    println!("bench: {groups} groups in {}", to.display());
    if groups == 0 { Err(format!("{}: no figures there", from.display())) } else { Ok(()) }
}

/// Returns the page of a group: where and how it was measured, then a row for each metric of each workload.
fn page(group: Group, header: &Header, figures: &Figures) -> String {
    let peers = figures.peers();
    let others: Vec<&str> = peers.iter().copied().filter(|peer| *peer != OURS).collect();
    let ratios = others.iter().map(|other| format!("ours : {other}"));
    let titles = ["workload", "figure"].into_iter().chain(peers.iter().copied()).map(str::to_owned);
    let mut table = MarkdownTable::new(titles.chain(ratios), 2);
    for workload in figures.workloads() {
        let mut name = format!("`{}`: {}", workload.name, workload.what);
        for metric in workload.metrics {
            let median = |peer: &&str| figures.median(workload.name, metric.key, peer);
            let medians: Vec<_> = peers.iter().map(median).collect();
            if medians.iter().all(Option::is_none) {
                continue;
            }
            let figure = format!("{} {}", metric.unit, if metric.more_is_better { "^" } else { "v" });
            let ratios = others.iter().map(|other| figures.ratio(workload.name, metric.key, OURS, other));
            let medians = medians.into_iter().map(|value| value.map(number));
            let cells = medians.chain(ratios.map(|ratio| ratio.map(two_decimals)));
            table.row([std::mem::take(&mut name), figure], cells);
        }
    }
    let lines: String = header.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    format!(
        "# {}\n\nWritten by `cargo xtask bench {name}`.\n\n{lines}\n![Cost relative to tokio]({name}.svg)\n\n\
         Medians over the rounds. A ratio is the median of the ratios within a round; under 1 is better where less is \
         better (v), over 1 where more is (^).\n\n{}{}",
        group.title(),
        table.to_text(),
        derived(group, &peers, figures),
        name = group.name()
    )
}

/// Returns the table of the values that follow from pairs of workloads.
fn derived(group: Group, peers: &[&str], figures: &Figures) -> String {
    let titles = ["what follows"].into_iter().chain(peers.iter().copied());
    let mut table = MarkdownTable::new(titles.map(str::to_owned), 1);
    let mut is_empty = true;
    for row in DERIVED.iter().filter(|row| row.group == group) {
        let values: Vec<_> = peers.iter().map(|peer| row.value(figures, peer).map(two_decimals)).collect();
        if values.iter().any(Option::is_some) {
            table.row([row.what.to_owned()], values.into_iter());
            is_empty = false;
        }
    }
    if is_empty { String::new() } else { format!("\n{}", table.to_text()) }
}

/// A table in Markdown, whose columns of values are aligned right.
pub struct MarkdownTable(Table);

impl MarkdownTable {
    /// Creates a table with these titles, the first of which are those of texts.
    pub fn new(titles: impl Iterator<Item = String>, texts: usize) -> Self {
        let titles: Vec<String> = titles.collect();
        let mut table = Table::new();
        // Vertical lines only: the rule below the titles is a row, which says how the columns are aligned.
        table.load_preset("||      |          ");
        let rule: Vec<_> = (0..titles.len()).map(|at| if at < texts { "---" } else { "---:" }).collect();
        table.add_row(titles).add_row(rule);
        for column in table.column_iter_mut().skip(texts) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self(table)
    }

    pub fn row<const N: usize>(&mut self, texts: [String; N], values: impl Iterator<Item = Option<String>>) {
        self.0.add_row(texts.into_iter().chain(values.map(|value| value.unwrap_or("-".to_owned()))));
    }

    pub fn to_text(&self) -> String {
        format!("{}\n", self.0.trim_fmt())
    }
}

pub fn two_decimals(value: f64) -> String {
    format!("{value:.2}")
}

/// Formats a value with three significant digits, or with all digits before the point, in groups of three.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 || size == 0.0 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.find('.').unwrap_or(text.len());
    let is_boundary = |at: usize| at > 0 && at < whole && (whole - at).is_multiple_of(3);
    text.char_indices().fold(String::new(), |grouped, (at, digit)| match is_boundary(at) {
        true if !grouped.ends_with('-') => grouped + "," + &digit.to_string(),
        _ => grouped + &digit.to_string(),
    })
}

const WIDTH: u32 = 900;
/// The height of a bar, and of the gap between two workloads.
const BAR: i32 = 11;
const GAP: i32 = 12;
/// The height of the title and the legend.
const HEAD: i32 = 74;
/// The length at which a bar is cut off.
const LONGEST: f64 = 3.0;
/// Colors that are distinct in gray and for people who see few colors.
const COLORS: [RGBColor; 6] = [
    RGBColor(18, 58, 92),
    RGBColor(224, 138, 30),
    RGBColor(90, 164, 105),
    RGBColor(143, 143, 143),
    RGBColor(179, 80, 124),
    RGBColor(201, 201, 201),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws the first metric of the timed workloads as a cost relative to tokio's, or to the first peer's without tokio: a
/// bar for each peer, and beside it the ratio and the value.
fn plot(group: Group, header: &Header, figures: &Figures) -> Result<String, Box<dyn std::error::Error>> {
    let peers = figures.peers();
    let base = peers.iter().copied().find(|peer| *peer == "tokio").unwrap_or(peers[0]);
    let bars = |workload: &crate::workloads::Workload| {
        let key = workload.metrics[0].key;
        let bar = |(at, peer): (usize, &&str)| {
            let cost = figures.ratio(workload.name, key, peer, base)?;
            Some((at, cost, figures.median(workload.name, key, peer)?))
        };
        (workload.name, peers.iter().enumerate().filter_map(bar).collect::<Vec<_>>())
    };
    let timed = figures.workloads().into_iter().filter(|workload| workload.how == How::Timed);
    let workloads: Vec<_> = timed.map(bars).filter(|(_, bars)| !bars.is_empty()).collect();
    let height = HEAD + workloads.iter().map(|(_, bars)| bars.len() as i32 * BAR + GAP).sum::<i32>();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let about =
            |name: &str| header.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        draw_head(&area, &format!("{}: cost relative to {base}, shorter is better", group.title()), &peers)?;
        let subtitle = format!("{} | {} | {}", about("machine"), about("peers"), about("date"));
        text(&area, &subtitle, (16, 34), 11, HPos::Left)?;
        let mut y = HEAD;
        for (name, bars) in &workloads {
            text(&area, name, (182, y + bars.len() as i32 * BAR / 2), 14, HPos::Right)?;
            for &(peer, cost, value) in bars {
                draw_bar(&area, y, COLORS[peer % COLORS.len()], cost, value)?;
                y += BAR;
            }
            y += GAP;
        }
        let one = x(1.0);
        area.draw(&PathElement::new([(one, HEAD), (one, height - GAP)], BLACK.mix(0.4)))?;
        area.present()?;
    }
    Ok(svg)
}

fn draw_head(area: &Area<'_>, title: &str, peers: &[&str]) -> Drawn {
    text(area, title, (16, 16), 20, HPos::Left)?;
    for (at, peer) in peers.iter().enumerate() {
        let left = x(0.0) + at as i32 * 90;
        let color = COLORS[at % COLORS.len()];
        area.draw(&Rectangle::new([(left, 50), (left + 10, 60)], color.filled()))?;
        text(area, peer, (left + 14, 55), 14, HPos::Left)?;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, y: i32, color: RGBColor, cost: f64, value: f64) -> Drawn {
    let end = x(cost.clamp(0.0, LONGEST));
    area.draw(&Rectangle::new([(x(0.0), y), (end, y + BAR - 2)], color.filled()))?;
    let cut = if cost > LONGEST { " (cut off)" } else { "" };
    text(area, &format!("{cost:.2}   {}{cut}", number(value)), (end + 4, y + BAR / 2), 11, HPos::Left)
}

/// Returns the position of a cost. There is room for a text beside the longest bar.
fn x(cost: f64) -> i32 {
    190 + (cost * 195.0) as i32
}

/// Draws a text. Plotters gives it four fifths of the size in pixels.
fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) -> Drawn {
    let style = TextStyle::from(("sans-serif", size)).pos(Pos::new(side, VPos::Center));
    Ok(area.draw_text(text, &style, at)?)
}
