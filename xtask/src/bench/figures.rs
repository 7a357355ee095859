//! What was measured, as it was measured: one value for a workload, a metric, a peer and a round. Medians and ratios are
//! worked out from these and from nothing else.

/// One measured value.
pub struct Figure {
    pub workload: String,
    pub metric: String,
    pub peer: String,
    pub round: usize,
    pub value: f64,
}

/// All of a run, in the order in which they came.
#[derive(Default)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The peers in the order of their first figure.
    pub fn peers(&self) -> Vec<&str> {
        let mut peers = Vec::new();
        for figure in &self.0 {
            if !peers.contains(&figure.peer.as_str()) {
                peers.push(figure.peer.as_str());
            }
        }
        peers
    }

    /// Round and value.
    fn values(&self, workload: &str, metric: &str, peer: &str) -> Vec<(usize, f64)> {
        let same =
            |figure: &&Figure| figure.workload == workload && figure.metric == metric && figure.peer == peer;
        self.0.iter().filter(same).map(|figure| (figure.round, figure.value)).collect()
    }

    /// The median over the rounds.
    pub fn median(&self, workload: &str, metric: &str, peer: &str) -> Option<f64> {
        median(self.values(workload, metric, peer).into_iter().map(|(_, value)| value).collect())
    }

    /// The median, over the rounds in which both ran, of what `join` makes of the two values. Two values of one round
    /// were taken within seconds of one another, so a drift of the machine strikes both.
    pub fn joined(
        &self,
        [workload, other_workload]: [&str; 2],
        metric: &str,
        [peer, other_peer]: [&str; 2],
        join: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let others = self.values(other_workload, metric, other_peer);
        let pair = |(round, value): (usize, f64)| {
            let (_, other) = others.iter().find(|(of, _)| *of == round)?;
            Some(join(value, *other))
        };
        median(self.values(workload, metric, peer).into_iter().filter_map(pair).collect())
    }

    /// The median of the ratios of two peers.
    pub fn ratio(&self, workload: &str, metric: &str, peer: &str, to: &str) -> Option<f64> {
        self.joined([workload; 2], metric, [peer, to], |value, base| value / base)
    }

    /// A line each, its fields between tabs.
    pub fn to_text(&self) -> String {
        let line =
            |f: &Figure| format!("{}\t{}\t{}\t{}\t{}\n", f.workload, f.metric, f.peer, f.round, f.value);
        self.0.iter().map(line).collect()
    }

    /// The way back; lines that begin with `#` are not figures.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let figure = |line: &str| -> Option<Figure> {
            let mut fields = line.split('\t');
            let mut next = || fields.next().map(str::to_owned);
            let (workload, metric, peer) = (next()?, next()?, next()?);
            Some(Figure {
                workload,
                metric,
                peer,
                round: next()?.parse().ok()?,
                value: next()?.parse().ok()?,
            })
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let read = |line: &str| figure(line).ok_or_else(|| format!("this is not a figure: `{line}`"));
        lines.map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// Of an even number, the middle of the middle two; of what is not a number (a ratio to nought), nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
