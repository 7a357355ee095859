//! The order of things: in every round each peer has its turn, A B C A B C.

use super::figures::{Figure, Figures};
use super::measure::{Bench, Found};
use super::options::Options;
use super::peers::Peer;
use super::table::{How, Workload};

/// Measures all, and tells as it goes. Besides the figures: what failed, each beginning with the peer's name, and what
/// this machine cannot measure.
pub fn run(
    workloads: &[&'static Workload],
    peers: &[Peer],
    bench: &Bench<'_>,
    options: &Options,
) -> (Figures, Vec<String>) {
    let (mut figures, mut failures) = (Figures::default(), Vec::new());
    for workload in workloads {
        if let Some(reason) = bench.machine.lacks(workload) {
            println!("{}: left out: {reason}", workload.name);
            failures.push(format!("left out, {}: {reason}", workload.name));
            continue;
        }
        one(bench, workload, peers, options, &mut figures, &mut failures);
        tell(workload, peers, &figures);
    }
    (figures, failures)
}

fn one(
    bench: &Bench<'_>,
    workload: &Workload,
    peers: &[Peer],
    options: &Options,
    figures: &mut Figures,
    failures: &mut Vec<String>,
) {
    let rounds = if workload.how == How::Timed { options.rounds } else { 1 };
    let mut out: Vec<&str> = Vec::new();
    for round in 0..rounds {
        for peer in peers.iter().filter(|peer| peer.can(workload)) {
            if out.contains(&peer.name) {
                continue;
            }
            match bench.once(workload, peer) {
                Ok(found) => record(workload, peer, round, found, figures),
                Err(reason) => {
                    // Who fails once is out of this workload, and the report says so.
                    out.push(peer.name);
                    println!("{}: {}: {reason}", workload.name, peer.name);
                    failures.push(format!("{}, {}: {reason}", peer.name, workload.name));
                }
            }
        }
    }
}

fn record(workload: &Workload, peer: &Peer, round: usize, found: Found, figures: &mut Figures) {
    for metric in workload.metrics {
        if let Some(&value) = found.get(metric.key) {
            let (workload, metric) = (workload.name.to_owned(), metric.key.to_owned());
            figures.0.push(Figure { workload, metric, peer: peer.name.to_owned(), round, value });
        }
    }
}

/// A line with the first metric.
fn tell(workload: &Workload, peers: &[Peer], figures: &Figures) {
    let metric = &workload.metrics[0];
    let values = peers.iter().filter_map(|peer| {
        let value = figures.median(workload.name, metric.key, peer.name)?;
        Some(format!("{} {}", peer.name, super::markdown::number(value)))
    });
    let values: Vec<String> = values.collect();
    let values = if values.is_empty() { "nobody has it".to_owned() } else { values.join(", ") };
    println!("{:<30} {}: {values}", workload.name, metric.unit);
}
