//! The counters of a process.

use netpoll_core::sync::Counter;
use netpoll_load::Figures;

/// The events so far in one of the two processes.
#[derive(Default)]
pub struct Tally {
    pub opened: Counter,
    pub gone: Counter,
    pub messages: Counter,
    pub bytes: Counter,
    /// Connections closed after the last echo, so that both ends read the end of the stream.
    pub ended: Counter,
    /// Connections dropped with an echo in flight.
    pub dropped: Counter,
    /// Connections closed while a task waited to read.
    pub closed: Counter,
    /// Reads cancelled while they waited.
    pub cancelled: Counter,
    /// Reads that a deadline ended.
    pub expired: Counter,
    /// Reads of a file, look-ups and closures that succeeded, and those that a limit refused.
    pub work: Counter,
    pub refused: Counter,
    /// Waits for a descriptor.
    pub starved: Counter,
    /// Checks of the watchdog, the time that they took, the parked directions that they compared, and the lost wakeups
    /// that they found.
    pub checks: Counter,
    pub check_us: Counter,
    pub compared: Counter,
    pub lost: Counter,
}

impl Tally {
    /// Returns the figures in the order in which a report shows them.
    pub fn figures(&self) -> Figures {
        let rows = [
            ("connections made", &self.opened),
            ("messages", &self.messages),
            ("bytes compared", &self.bytes),
            ("closed at their end", &self.ended),
            ("dropped with an echo in flight", &self.dropped),
            ("closed under a waiting read", &self.closed),
            ("reads cancelled", &self.cancelled),
            ("deadlines expired", &self.expired),
            ("work done by threads", &self.work),
            ("work refused", &self.refused),
            ("waits for a descriptor", &self.starved),
            ("checks of the watchdog", &self.checks),
            ("their microseconds", &self.check_us),
            ("parked directions compared", &self.compared),
            ("wakeups lost", &self.lost),
        ];
        let gone = self.gone.get();
        let open = ("connections now", self.opened.get().saturating_sub(gone));
        let rows = rows.iter().map(|&(name, counter)| (name, counter.get()));
        std::iter::once(open).chain(rows).map(|(name, n)| (name.to_owned(), n as u64)).collect()
    }
}
