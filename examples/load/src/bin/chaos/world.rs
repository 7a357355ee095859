//! The state that the sessions share, and the beginning of one.

use std::io;
use std::sync::Arc;

use futures_lite::future;
use netpoll_core::sync::Counter;
use netpoll_rt::Handle;
use netpoll_rt::net::{TcpListener, TcpStream};

use super::session::{Half, Session};

/// The state that all halves share.
pub struct World {
    pub handles: Vec<Handle>,
    ends: Box<dyn Fn(u64, Result<(), String>) + Send + Sync>,
    pub tally: Tally,
    /// The first session sends wrong bytes, to see them found.
    pub spoil: bool,
}

impl World {
    /// Creates the state of sessions on some runtimes. `ends` is called with a session's number at the end of each of its halves.
    pub fn new(
        handles: Vec<Handle>,
        ends: impl Fn(u64, Result<(), String>) + Send + Sync + 'static,
        spoil: bool,
    ) -> Self {
        Self { handles, ends: Box::new(ends), tally: Tally::default(), spoil }
    }

    /// Reports the end of a half.
    pub fn end(&self, number: u64, result: Result<(), String>) {
        (self.ends)(number, result);
    }
}

/// The number of times that each event has happened.
#[derive(Default)]
pub struct Tally {
    pub bytes: Counter,
    pub operations: Counter,
    pub expired: Counter,
    pub cancelled: Counter,
    pub moves: Counter,
    pub duplicates: Counter,
    pub half_closes: Counter,
    pub closes: Counter,
    pub resets: Counter,
}

impl Tally {
    pub fn rows(&self) -> [(&'static str, usize); 9] {
        [
            ("bytes compared", self.bytes.get()),
            ("operations", self.operations.get()),
            ("deadlines expired", self.expired.get()),
            ("operations cancelled", self.cancelled.get()),
            ("moves to another task", self.moves.get()),
            ("duplicates", self.duplicates.get()),
            ("half-closes", self.half_closes.get()),
            ("closes under operations", self.closes.get()),
            ("resets", self.resets.get()),
        ]
    }
}

/// Connects, and accepts that connection.
pub async fn pair(listener: Arc<TcpListener>) -> io::Result<[TcpStream; 2]> {
    let connecting = TcpStream::connect(listener.local_addr()?);
    let ((server, _), client) = future::try_zip(listener.accept(), connecting).await?;
    Ok([client, server])
}

/// Starts two halves at each end.
pub fn begin(world: &Arc<World>, session: Arc<Session>, ends: [TcpStream; 2]) {
    for (side, stream) in ends.into_iter().enumerate() {
        let stream = Arc::new(stream);
        Half::writer(stream.clone(), session.clone(), side).continue_elsewhere(world.clone());
        Half::reader(stream, session.clone(), 1 - side).continue_elsewhere(world.clone());
    }
}

/// Checks that no runtime has a task, a waiter, a descriptor or a timer.
///
/// # Errors
///
/// Returns an error that names the counts of each runtime, if one has any.
pub fn hold_nothing(handles: &[Handle]) -> Result<(), String> {
    let metrics: Vec<_> = handles.iter().map(Handle::metrics).collect();
    let is_empty = metrics.iter().all(|m| (m.tasks, m.waiters, m.descriptors, m.timers) == (0, 0, 0, 0));
    if is_empty { Ok(()) } else { Err(format!("{metrics:?}")) }
}
