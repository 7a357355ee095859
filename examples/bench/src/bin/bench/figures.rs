//! The measured values. All medians and ratios come from them.

use statrs::statistics::{Data, Median};

use crate::workloads::{self, Workload};

/// One measured value.
#[derive(Clone)]
pub struct Figure {
    pub workload: &'static Workload,
    pub metric: String,
    pub peer: String,
    pub round: usize,
    pub value: f64,
}

/// The values of a run in the order in which they were measured.
#[derive(Default)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Returns the peers in the order of their first figures.
    pub fn peers(&self) -> Vec<&str> {
        let mut peers = Vec::new();
        for figure in &self.0 {
            if !peers.contains(&figure.peer.as_str()) {
                peers.push(figure.peer.as_str());
            }
        }
        peers
    }

    /// Returns the workloads in the order of their first figures.
    pub fn workloads(&self) -> Vec<&'static Workload> {
        let mut workloads: Vec<&'static Workload> = self.0.iter().map(|figure| figure.workload).collect();
        workloads.dedup_by_key(|workload| workload.name);
        workloads
    }

    /// Returns the round and the value of each figure of a workload, a metric and a peer.
    fn values(&self, workload: &str, metric: &str, peer: &str) -> impl Iterator<Item = (usize, f64)> {
        let is_wanted =
            move |f: &&Figure| f.workload.name == workload && f.metric == metric && f.peer == peer;
        self.0.iter().filter(is_wanted).map(|figure| (figure.round, figure.value))
    }

    /// Returns the median over the rounds.
    pub fn median(&self, workload: &str, metric: &str, peer: &str) -> Option<f64> {
        median(self.values(workload, metric, peer).map(|(_, value)| value))
    }

    /// Returns the median, over the rounds with both values, of `join` of the two. The two values of a round were measured
    /// within seconds of one another, so that a drift of the machine affects both.
    pub fn joined(
        &self,
        [workload, other_workload]: [&str; 2],
        metric: &str,
        [peer, other_peer]: [&str; 2],
        join: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        median(self.values(workload, metric, peer).filter_map(|(round, value)| {
            let mut others = self.values(other_workload, metric, other_peer);
            let (_, other) = others.find(|(other_round, _)| *other_round == round)?;
            Some(join(value, other))
        }))
    }

    /// Returns the median of the ratios of two peers.
    pub fn ratio(&self, workload: &str, metric: &str, peer: &str, to: &str) -> Option<f64> {
        self.joined([workload; 2], metric, [peer, to], |value, base| value / base)
    }

    /// Writes one line for each figure, with tabs between the fields.
    pub fn to_text(&self) -> String {
        let line =
            |f: &Figure| format!("{}\t{}\t{}\t{}\t{}\n", f.workload.name, f.metric, f.peer, f.round, f.value);
        self.0.iter().map(line).collect()
    }

    /// Reads what [`Figures::to_text`] has written. Lines that begin with `#` are comments.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let figure = |line: &str| {
            let [name, metric, peer, round, value] = line.split('\t').collect::<Vec<_>>()[..] else {
                return Err(format!("this is not a figure: `{line}`"));
            };
            let (Ok(round), Ok(value)) = (round.parse(), value.parse()) else {
                return Err(format!("this is not a figure: `{line}`"));
            };
            let mut workloads = workloads::WORKLOADS.iter();
            let workload = workloads.find(|workload| workload.name == name);
            let workload =
                workload.ok_or_else(|| format!("the workload `{name}` does not exist any more"))?;
            Ok(Figure { workload, metric: metric.to_owned(), peer: peer.to_owned(), round, value })
        };
        text.lines().filter(|line| !line.starts_with('#')).map(figure).collect::<Result<_, _>>().map(Self)
    }
}

/// Returns the median of the finite values. A ratio to zero is not finite.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    (!values.is_empty()).then(|| Data::new(values).median())
}
