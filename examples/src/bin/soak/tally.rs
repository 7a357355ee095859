//! What the client counts, and the lines in which it tells the server.

use netpoll_core::sync::Counter;

/// The client's figures so far.
#[derive(Default)]
pub struct Tally {
    pub opened: Counter,
    pub gone: Counter,
    pub messages: Counter,
    pub bytes: Counter,
    /// Closed after the last echo: both ends read the end of the stream.
    pub ended: Counter,
    /// Dropped while an echo was under way.
    pub dropped: Counter,
    /// Closed while a task waited to read.
    pub closed: Counter,
    /// Reads given up while they waited.
    pub cancelled: Counter,
    /// Deadlines that ended a read.
    pub expired: Counter,
    /// Reads of a file, look-ups and closures that were right; those that a limit refused.
    pub work: Counter,
    pub refused: Counter,
    /// Times that there was no descriptor for a connection.
    pub starved: Counter,
    /// Looks of the watchdog, how long they took together, parked directions that it compared, wake-ups that it found lost.
    pub looks: Counter,
    pub look_us: Counter,
    pub compared: Counter,
    pub lost: Counter,
}

/// A figure and what it is called.
pub type Figures = Vec<(String, u64)>;

impl Tally {
    pub fn figures(&self) -> Figures {
        let rows = [
            ("connections made", &self.opened),
            ("messages", &self.messages),
            ("bytes compared", &self.bytes),
            ("closed at their end", &self.ended),
            ("dropped with an echo under way", &self.dropped),
            ("closed under a waiting read", &self.closed),
            ("reads cancelled", &self.cancelled),
            ("deadlines expired", &self.expired),
            ("work done by threads", &self.work),
            ("work refused", &self.refused),
            ("waits for a descriptor", &self.starved),
            ("looks of the watchdog", &self.looks),
            ("their microseconds", &self.look_us),
            ("parked directions compared", &self.compared),
            ("wake-ups lost", &self.lost),
        ];
        let gone = self.gone.get();
        let open = ("connections now", self.opened.get().saturating_sub(gone));
        let rows = rows.iter().map(|&(name, counter)| (name, counter.get()));
        std::iter::once(open).chain(rows).map(|(name, n)| (name.to_owned(), n as u64)).collect()
    }
}

/// What the client says on its standard output, a line each.
pub enum Line {
    /// Once a second.
    Tick(Figures),
    /// Something was not as it must be.
    Fault(String),
    /// The end, with its usage as well.
    Done(Figures),
}

impl Line {
    /// `word name=number;name=number`
    pub fn write(word: &str, figures: &[(String, u64)]) -> String {
        let fields: Vec<String> = figures.iter().map(|(name, n)| format!("{name}={n}")).collect();
        format!("{word} {}", fields.join(";"))
    }

    /// None for a line that the client never says.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        if word == "fault" {
            return Some(Line::Fault(rest.to_owned()));
        }
        let field = |field: &str| {
            let (name, number) = field.split_once('=')?;
            Some((name.to_owned(), number.parse().ok()?))
        };
        let figures = rest.split(';').map(field).collect::<Option<Figures>>()?;
        match word {
            "tick" => Some(Line::Tick(figures)),
            "done" => Some(Line::Done(figures)),
            _ => None,
        }
    }
}

/// A figure by its name; 0 if there is none.
pub fn figure(figures: &[(String, u64)], name: &str) -> u64 {
    figures.iter().find(|(other, _)| other == name).map_or(0, |&(_, n)| n)
}
