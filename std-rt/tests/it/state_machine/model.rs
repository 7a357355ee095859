//! The model of pairs of streams, with the streams themselves beside it.
//!
//! A direction is a row of bytes that are known by their place, so a byte lost, doubled or swapped is seen at once. The
//! model knows how many were written and how many were read. TCP leaves open some results after a connection was broken off (which
//! error comes, and when), and so does the model. It never allows a wrong byte, a hang, or an operation that ends
//! for no reason.
//!
//! Operations are polled by hand, and again only when their waker was woken: an operation that should go on and is not
//! woken is a lost wakeup, and ends the test.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use netpoll_rt::Handle;
use netpoll_rt::net::TcpStream;

use super::pair::{Direction, EmptyRead, Pair};
use super::{Step, When, payload};
use crate::common::*;

const PAIRS: usize = 3;
const HANDLES: usize = 12;

/// A descriptor; one end may have several.
struct Handled {
    name: usize,
    pair: usize,
    end: usize,
    stream: Arc<TcpStream>,
    /// The deadline for reads, or writes, is over.
    late: [bool; 2],
}

/// An operation that waits.
struct Parked {
    handle: usize,
    pair: usize,
    end: usize,
    writes: bool,
    probe: Arc<Probe>,
    /// Wakes that were answered.
    answered: usize,
    future: Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send>>,
}

pub struct World<'a> {
    runtime: &'a Handle,
    pairs: VecDeque<Pair>,
    handles: Vec<Handled>,
    parked: Vec<Parked>,
    /// Names of handles that were closed, whose operations have not ended yet.
    closed: Vec<usize>,
    names: usize,
}

impl<'a> World<'a> {
    pub fn new(runtime: &'a Handle) -> Self {
        let (pairs, handles, parked, closed) = (VecDeque::new(), Vec::new(), Vec::new(), Vec::new());
        World { runtime, pairs, handles, parked, closed, names: 0 }
    }

    pub async fn take(&mut self, step: Step) {
        if self.handles.is_empty() {
            self.open().await;
        }
        let count = self.handles.len();
        match step {
            Step::Open => self.open().await,
            Step::Read { handle, length } => self.read(handle % count, length),
            Step::Write { handle, length } => self.write(handle % count, length),
            Step::Fill { handle } => self.fill(handle % count),
            Step::Drain { handle } => self.drain(handle % count).await,
            Step::ReadDeadline { handle, when } => self.deadline(handle % count, false, when),
            Step::WriteDeadline { handle, when } => self.deadline(handle % count, true, when),
            Step::Dup { handle } => self.dup(handle % count),
            Step::Shutdown { handle } => self.shutdown(handle % count),
            Step::Close { handle } => self.close(handle % count, true).await,
            Step::CloseAndForget { handle } => self.close(handle % count, false).await,
            Step::Cancel { parked } if !self.parked.is_empty() => {
                drop(self.parked.remove(parked % self.parked.len()));
            }
            Step::PollInVain { parked } if !self.parked.is_empty() => {
                self.poll(parked % self.parked.len());
            }
            Step::Cancel { .. } | Step::PollInVain { .. } => {}
        }
        self.settle().await;
    }

    /// Closes everything, and looks whether all was given back.
    pub async fn end(mut self) {
        while !self.handles.is_empty() {
            self.close(0, true).await;
        }
        assert!(self.parked.is_empty(), "operations have outlived their streams");
        parked(0).await;
    }

    fn name(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    async fn open(&mut self) {
        while self.pairs.len() >= PAIRS {
            let oldest = self.pairs[0].name;
            match self.handles.iter().position(|handle| handle.pair == oldest) {
                Some(handle) => self.close(handle, true).await,
                None => drop(self.pairs.pop_front()),
            }
        }
        let (client, server) = pair().await;
        let pair = self.name();
        let directions = [0, 1].map(|way| Direction { name: 2 * pair + way, ..Direction::default() });
        self.pairs.push_back(Pair { name: pair, directions, gone: [false; 2], broken: false });
        for (end, stream) in [client, server].into_iter().enumerate() {
            let name = self.name();
            self.handles.push(Handled { name, pair, end, stream, late: [false; 2] });
        }
    }

    fn pair(&mut self, name: usize) -> &mut Pair {
        self.pairs.iter_mut().find(|pair| pair.name == name).expect("a pair stays while it has handles")
    }

    /// Takes an operation up: polls it once.
    fn start<F>(&mut self, handle: usize, writes: bool, future: F)
    where
        F: Future<Output = io::Result<Vec<u8>>> + Send + 'static,
    {
        let Handled { name, pair, end, .. } = self.handles[handle];
        let probe = Probe::new();
        let future = Box::pin(future);
        self.parked.push(Parked { handle: name, pair, end, writes, probe, answered: 0, future });
        self.poll(self.parked.len() - 1);
    }

    fn read(&mut self, handle: usize, length: usize) {
        let stream = self.handles[handle].stream.clone();
        let empty = length == 0;
        self.start(handle, false, async move {
            let mut buffer = vec![0; length];
            let n = stream.read(&mut buffer).await?;
            assert!(n > 0 || !empty || buffer.is_empty());
            buffer.truncate(n);
            if empty { Err(io::Error::other(EmptyRead)) } else { Ok(buffer) }
        });
    }

    /// Returns whether the direction has a writer. It may have one at a time, or its bytes would be unknown.
    fn is_written(&self, handle: usize) -> bool {
        let Handled { pair, end, .. } = self.handles[handle];
        self.parked.iter().any(|parked| parked.writes && (parked.pair, parked.end) == (pair, end))
    }

    fn write(&mut self, handle: usize, length: usize) {
        if self.is_written(handle) {
            return;
        }
        let Handled { pair, end, .. } = self.handles[handle];
        let stream = self.handles[handle].stream.clone();
        let outgoing = &self.pair(pair).directions[end];
        let bytes = payload(outgoing.name, outgoing.written, length).to_vec();
        self.start(handle, true, async move {
            let n = stream.write(&bytes).await?;
            Ok(bytes[..n].to_vec())
        });
    }

    fn fill(&mut self, handle: usize) {
        if self.is_written(handle) {
            return;
        }
        let Handled { pair, end, late, .. } = self.handles[handle];
        let stream = self.handles[handle].stream.clone();
        loop {
            let pair = self.pair(pair);
            let outgoing = &pair.directions[end];
            match stream.try_write(payload(outgoing.name, outgoing.written, 32 * 1024)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                result => {
                    let stop = result.is_err();
                    pair.wrote(end, late[1], result);
                    if stop {
                        break;
                    }
                }
            }
        }
        self.write(handle, 1000);
    }

    /// Reads all available bytes, unless another task reads.
    async fn drain(&mut self, handle: usize) {
        let Handled { name, pair, end, late, .. } = self.handles[handle];
        let stream = self.handles[handle].stream.clone();
        let busy = self.parked.iter().any(|parked| (parked.handle, parked.writes) == (name, false));
        let mut buffer = vec![0; 32 * 1024];
        while !late[0] && !busy && self.pair(pair).directions[1 - end].unread() > 0 {
            let result = stream.read(&mut buffer).await.map(|n| buffer[..n].to_vec());
            let ends = result.as_ref().map_or(true, Vec::is_empty);
            self.pair(pair).has_read(end, false, result);
            if ends {
                break;
            }
        }
    }

    fn deadline(&mut self, handle: usize, writes: bool, when: When) {
        let handle = &mut self.handles[handle];
        let now = Instant::now();
        let deadline = match when {
            When::Past => Some(now),
            When::FarAway => Some(now + Duration::from_secs(3600)),
            When::Never => None,
        };
        let set = if writes { TcpStream::set_write_deadline } else { TcpStream::set_read_deadline };
        set(&handle.stream, deadline).expect("a deadline of an open stream");
        handle.late[usize::from(writes)] = matches!(when, When::Past);
    }

    fn dup(&mut self, handle: usize) {
        if self.handles.len() >= HANDLES {
            return;
        }
        let Handled { pair, end, .. } = self.handles[handle];
        let stream = Arc::new(self.handles[handle].stream.dup().expect("a duplicate of an open stream"));
        let name = self.name();
        self.handles.push(Handled { name, pair, end, stream, late: [false; 2] });
    }

    fn shutdown(&mut self, handle: usize) {
        let Handled { pair, end, .. } = self.handles[handle];
        let result = self.handles[handle].stream.shutdown(Shutdown::Write);
        let pair = self.pair(pair);
        match result {
            Ok(()) => pair.directions[end].ended = true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
                let over = pair.directions.iter().all(|direction| direction.ended);
                assert!(pair.broken || pair.gone[1 - end] || over, "{error}");
            }
        }
    }

    /// Closes the handle: its operations fail. If it was the last handle of its end, the other end sees that.
    async fn close(&mut self, handle: usize, wait: bool) {
        let handle = self.handles.remove(handle);
        self.closed.push(handle.name);
        let last = !self.handles.iter().any(|other| (other.pair, other.end) == (handle.pair, handle.end));
        if last {
            self.pair(handle.pair).goes(handle.end);
        }
        let probe = Probe::new();
        let mut closing = Box::pin(handle.stream.close());
        let closed = probe.poll(closing.as_mut());
        let waits = self.parked.iter().any(|parked| parked.handle == handle.name);
        assert_eq!(
            closed.is_pending(),
            waits,
            "close waits for who is still in an operation, and for nobody else"
        );
        if !wait {
            drop(closing);
            self.settle().await;
        } else if closed.is_pending() {
            self.settle().await;
            until("the last operation has let go", || probe.wakes.get() > 0).await;
            assert!(probe.poll(closing.as_mut()).is_ready(), "closed");
        }
        self.closed.clear();
        self.settle().await;
        if self.handles.iter().all(|other| other.pair != handle.pair) {
            self.pairs.retain(|pair| pair.name != handle.pair);
        }
    }

    /// Polls a parked operation; one that has ended is judged and taken out. Returns whether it has.
    fn poll(&mut self, index: usize) -> bool {
        let parked = &mut self.parked[index];
        parked.answered = parked.probe.wakes.get();
        let Poll::Ready(result) = parked.probe.poll(parked.future.as_mut()) else { return false };
        let Parked { handle, pair, end, writes, .. } = self.parked.remove(index);
        if self.closed.contains(&handle) {
            assert_closed(result);
            return true;
        }
        let late = self.handles.iter().find(|open| open.name == handle).expect("an open handle").late;
        // One that was parked makes a last call after its deadline, which may find what came in time.
        let missed = matches!(&result, Err(error) if error.kind() == ErrorKind::TimedOut);
        let late = late[usize::from(writes)] && missed;
        let pair = self.pair(pair);
        match writes {
            true => pair.wrote(end, late, result.map(|bytes| bytes.len())),
            false => pair.has_read(end, late, result),
        }
        true
    }

    /// Returns whether an operation that must end by itself is still waiting.
    fn is_due(&self, parked: &Parked) -> bool {
        let Some(handle) = self.handles.iter().find(|handle| handle.name == parked.handle) else {
            return true;
        };
        let pair = self.pairs.iter().find(|pair| pair.name == parked.pair).expect("the pair of a handle");
        let (outgoing, incoming) = (&pair.directions[parked.end], &pair.directions[1 - parked.end]);
        if handle.late[usize::from(parked.writes)] || pair.gone[1 - parked.end] {
            return true;
        }
        match parked.writes {
            true => outgoing.ended || outgoing.unread() == 0,
            // Of several that read one of them gets the bytes; the loop comes back for the others.
            false => incoming.ended || incoming.unread() > 0,
        }
    }

    /// Answers every wake, until nothing is left to happen, and as many tasks are parked as the model says.
    async fn settle(&mut self) {
        let limit = Instant::now() + LIMIT / 2;
        loop {
            let mut index = 0;
            while index < self.parked.len() {
                let woken = self.parked[index].probe.wakes.get() > self.parked[index].answered;
                if !(woken && self.poll(index)) {
                    index += 1;
                }
            }
            let due = self.parked.iter().any(|parked| self.is_due(parked));
            let mut sides: Vec<_> = self.parked.iter().map(|parked| (parked.handle, parked.writes)).collect();
            sides.sort_unstable();
            sides.dedup();
            if !due && self.runtime.waiters() == sides.len() {
                return;
            }
            assert!(
                Instant::now() < limit,
                "lost: due {due}, {} sides, {} wait",
                sides.len(),
                self.runtime.waiters()
            );
            pause().await;
        }
    }
}
