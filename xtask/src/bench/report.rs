//! What stays of a run: for each group its figures as text, a page with the table, and a plot.

use std::fs;
use std::path::Path;

use super::figures::{Figure, Figures};
use super::table::{Group, How, Workload};
use super::{markdown, plot, table};
use xtask::Outcome;

/// Writes the groups that were measured and tells how many.
pub fn write(
    folder: &Path,
    header: &[(String, String)],
    workloads: &[&'static Workload],
    figures: &Figures,
) -> Result<usize, String> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut groups = 0;
    for group in Group::ALL {
        let mine: Vec<&Workload> =
            workloads.iter().copied().filter(|workload| workload.group == group).collect();
        let figures = of_group(group, figures);
        if figures.is_empty() {
            continue;
        }
        let comments = header.iter().map(|(name, value)| format!("# {name}: {value}\n"));
        let raw = comments.collect::<String>() + &figures.to_text();
        save(folder, group, "tsv", &raw)?;
        save(folder, group, "md", &markdown::page(group, header, &mine, &figures))?;
        save(folder, group, "svg", &picture(group, header, &mine, &figures))?;
        groups += 1;
    }
    Ok(groups)
}

/// Reads the figures of an earlier run and writes the rest once more.
pub fn again(from: &Path, to: &Path) -> Outcome {
    let mut groups = 0;
    for group in Group::ALL {
        let Ok(text) = fs::read_to_string(from.join(format!("{}.tsv", group.name()))) else { continue };
        let figures = Figures::from_text(&text)?;
        let mut workloads: Vec<&Workload> = Vec::new();
        for name in figures.0.iter().map(|figure| figure.workload.as_str()) {
            let workload =
                table::by_name(name).ok_or_else(|| format!("there is no workload `{name}` any more"))?;
            if !workloads.iter().any(|known| known.name == name) {
                workloads.push(workload);
            }
        }
        let comments = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": "));
        let header: Vec<_> = comments.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        groups += write(to, &header, &workloads, &figures)?;
    }
    println!("bench: {groups} groups in {}", to.display());
    if groups == 0 { Err(format!("{}: no figures there", from.display())) } else { Ok(()) }
}

fn of_group(group: Group, figures: &Figures) -> Figures {
    let mine = |figure: &&Figure| table::by_name(&figure.workload).is_some_and(|of| of.group == group);
    let copy = |f: &Figure| Figure {
        workload: f.workload.clone(),
        metric: f.metric.clone(),
        peer: f.peer.clone(),
        round: f.round,
        value: f.value,
    };
    Figures(figures.0.iter().filter(mine).map(copy).collect())
}

fn save(folder: &Path, group: Group, extension: &str, text: &str) -> Result<(), String> {
    let path = folder.join(format!("{}.{extension}", group.name()));
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The first metric of what was timed, as a cost relative to tokio's; without tokio, to the first peer's.
fn picture(group: Group, header: &[(String, String)], workloads: &[&Workload], figures: &Figures) -> String {
    let peers = figures.peers();
    let base = peers.iter().copied().find(|peer| *peer == "tokio").unwrap_or(peers[0]);
    let groups = workloads.iter().filter(|workload| workload.how == How::Timed).filter_map(|workload| {
        let metric = &workload.metrics[0];
        let bars = peers.iter().enumerate().filter_map(|(at, peer)| {
            let cost = figures.ratio(workload.name, metric.key, peer, base)?;
            let value = figures.median(workload.name, metric.key, peer)?;
            Some((at, cost, format!("{cost:.2}   {}", markdown::number(value))))
        });
        let bars: Vec<_> = bars.collect();
        (!bars.is_empty()).then(|| plot::Bars { label: workload.name.to_owned(), bars })
    });
    let groups: Vec<plot::Bars> = groups.collect();
    let about =
        |name: &str| header.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let title = format!("{}: cost relative to {base}, shorter is better", group.title());
    let subtitle = format!("{} | {} | {}", about("machine"), about("peers"), about("date"));
    plot::svg(&title, &subtitle, &peers, &groups)
}
