//! One operation and every event that can happen to it: it is started on fresh objects, made to wait, and then closed, timed
//! out, abandoned by its peer or dropped. The result is written in the words of the table.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use netpoll_rt::yield_now;

use super::running::{Running, settled, word};
use super::table::Column;
use crate::common::*;

/// A future that one task makes and polls.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The value of a successful operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Got {
    Bytes(usize),
    Ready,
    Connection,
}

/// The action of a peer that ends a waiting operation.
pub const DATA: &[u8] = b"data";

/// The bytes that come first, for an operation that must wait for more.
const PART: &[u8] = b"da";

/// A byte that is not among those that fill a queue.
pub const MARK: u8 = b'x';

/// The object of an operation, or its peer.
pub trait End: 'static {
    fn close(&self) -> Later<'_, io::Result<()>>;
    fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()>;
    /// Sends at once.
    fn give(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Receives at once.
    fn take(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// The effect of the peer's end on an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Ends,
    WaitsOn,
    /// The case does not exist.
    None,
}

/// The objects that must exist until the operation has ended.
pub type Rest = Box<dyn Any>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// The operation waits for bytes of the peer.
    ToTake,
    /// The operation waits for buffer space.
    ToGive,
}

/// An object and its peer, and how each of them can be treated.
pub trait Kind: Sized + 'static {
    type Here: End;
    type Peer: End;
    const CLOSES: Effect = Effect::Ends;
    const RESETS: Effect = Effect::Ends;
    /// The number of descriptors on which the operation is parked; 0 if it waits for a timer.
    const PARKS: usize = 1;
    /// The number of bytes that are written at once to fill a queue.
    const CHUNK: usize = 64 * 1024;
    /// The stream that the peer reads has an end.
    const ENDS: bool = true;

    fn stage() -> Later<'static, (Self::Here, Self::Peer)>;

    /// Writes until the buffers are full; returns the number of bytes.
    fn fill(here: &Self::Here) -> Later<'_, usize> {
        Box::pin(async {
            let chunk = vec![0; Self::CHUNK];
            std::iter::from_fn(|| here.give(&chunk).ok()).sum()
        })
    }

    /// Lets the peer do the thing for which the operation waits.
    fn help(_here: &Self::Here, peer: &Self::Peer, waits: Waits) {
        match waits {
            Waits::ToTake => assert_eq!(peer.give(DATA).unwrap(), DATA.len()),
            Waits::ToGive => while peer.take(&mut vec![0; Self::CHUNK]).is_ok_and(|n| n > 0) {},
        }
    }

    fn close_peer(_here: &Self::Here, peer: Self::Peer) -> Rest {
        drop(peer);
        Box::new(())
    }

    fn reset_peer(_here: &Self::Here, _peer: Self::Peer) -> Rest {
        panic!("it cannot be reset");
    }
}

/// The effect of dropping an operation, as the table names it.
#[derive(Clone, Copy, Debug)]
pub enum Dropped {
    /// The bytes that came for it remain for the next operation, which gives this.
    Again(Got, &'static str),
    /// Other operations can take the bytes that come for it, and all that came before.
    Kept(&'static str),
    /// It had taken what came before.
    Lost(&'static str),
    /// The peer gets nothing of it.
    Unsent(&'static str),
    /// The peer gets some of its bytes; the number is their total.
    Part(usize, &'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct How {
    pub waits: Waits,
    pub dropped: Dropped,
    /// The operation holds nothing between two polls: a parked task stays parked until it is woken, or another takes its place.
    pub polled: bool,
}

impl How {
    pub const fn takes(dropped: Dropped) -> Self {
        How { waits: Waits::ToTake, dropped, polled: false }
    }

    pub const fn gives(dropped: Dropped) -> Self {
        How { waits: Waits::ToGive, dropped, polled: false }
    }

    pub const fn polled(self) -> Self {
        How { polled: true, ..self }
    }
}

pub type Start<H> = fn(Rc<H>) -> Later<'static, io::Result<Got>>;

/// A row of the table, as far as it speaks of one method of one type.
pub struct Operation {
    pub name: String,
    pub run: Box<dyn Fn(Column) -> Later<'static, String>>,
}

/// Returns the operation of a kind.
pub fn operation<K: Kind>(of: &str, method: &str, how: How, start: Start<K::Here>) -> Operation {
    let run = move |column| -> Later<'static, String> { Box::pin(act::<K>(how, start, column)) };
    Operation { name: format!("{of}::{method}"), run: Box::new(run) }
}

/// Plays one cell, from a fresh object on.
pub async fn act<K: Kind>(how: How, start: Start<K::Here>, column: Column) -> String {
    let (here, peer) = K::stage().await;
    let scene = Scene::<K> { how, start, here: Rc::new(here), peer, filled: 0 };
    match column {
        Column::ClosedBefore => scene.closed_before().await,
        Column::ClosedMeanwhile => scene.closed_meanwhile().await,
        Column::LateBefore => scene.late_before().await,
        Column::LateMeanwhile => scene.late_meanwhile().await,
        Column::PeerCloses => scene.peer_ends(K::CLOSES, K::close_peer).await,
        Column::PeerResets => scene.peer_ends(K::RESETS, K::reset_peer).await,
        Column::Dropped => scene.dropped().await,
    }
}

struct Scene<K: Kind> {
    how: How,
    start: Start<K::Here>,
    here: Rc<K::Here>,
    peer: K::Peer,
    /// Bytes that the peer has not taken.
    filled: usize,
}

impl<K: Kind> Scene<K> {
    fn start(&self) -> Running {
        Running::new((self.start)(self.here.clone()))
    }

    /// Returns the operation once it waits.
    async fn waiting(&mut self) -> Running {
        loop {
            match self.how.dropped {
                Dropped::Part(..) => {}
                Dropped::Lost(_) if self.how.waits == Waits::ToTake => {
                    assert_eq!(self.peer.give(PART).unwrap(), PART.len());
                    settled().await;
                }
                _ if self.how.waits == Waits::ToGive => self.filled += K::fill(&self.here).await,
                _ => {}
            }
            let mut running = self.start();
            match running.poll() {
                Poll::Pending => return running.waits::<K>().await,
                // There was room after all.
                Poll::Ready(got) => match got.unwrap() {
                    Got::Bytes(n) => self.filled += n,
                    Got::Ready | Got::Connection => {}
                },
            }
        }
    }

    /// Returns whether the operation took everything and would wait for more.
    fn is_used_up(&self) -> bool {
        self.how.waits == Waits::ToGive && matches!(self.how.dropped, Dropped::Lost(_))
    }

    async fn closed_before(self) -> String {
        self.here.close().await.unwrap();
        word(self.start().now())
    }

    async fn closed_meanwhile(mut self) -> String {
        let running = self.waiting().await;
        let here = self.here.clone();
        // It waits for the operation, which is polled here.
        let mut close = Box::pin(async move { here.close().await });
        let closed = Probe::new().poll(close.as_mut());
        let result = running.end().await;
        match closed {
            Poll::Ready(closed) => closed.unwrap(),
            Poll::Pending => close.await.unwrap(),
        }
        if !self.is_used_up() {
            assert_closed(self.start().now());
        }
        word(result)
    }

    async fn late_before(self) -> String {
        // It beats what is there.
        K::help(&self.here, &self.peer, self.how.waits);
        self.here.set_deadline(past()).unwrap();
        let result = self.start().now();
        self.here.set_deadline(None).unwrap();
        if let Dropped::Again(good, _) = self.how.dropped {
            assert_eq!(self.start().end().await.unwrap(), good, "without the deadline it goes on");
        }
        word(result)
    }

    async fn late_meanwhile(mut self) -> String {
        let running = self.waiting().await;
        self.here.set_deadline(past()).unwrap();
        let result = running.end().await;
        if !self.is_used_up() {
            assert_timed_out(self.start().now());
        }
        word(result)
    }

    async fn peer_ends(mut self, effect: Effect, end: fn(&K::Here, K::Peer) -> Rest) -> String {
        if effect == Effect::None {
            return "—".to_owned();
        }
        let mut running = self.waiting().await;
        let _rest = end(&self.here, self.peer);
        if effect == Effect::Ends {
            return word(running.end().await);
        }
        settled().await;
        assert!(running.poll().is_pending(), "it waits on");
        self.here.set_deadline(past()).unwrap();
        assert_timed_out(running.end().await);
        "waits on".to_owned()
    }

    async fn dropped(mut self) -> String {
        drop(self.waiting().await);
        if !self.how.polled {
            parked(0).await;
        }
        match self.how.dropped {
            Dropped::Again(good, word) => {
                // Woken, and dropped before it looked.
                let mut running = self.waiting().await;
                K::help(&self.here, &self.peer, self.how.waits);
                running.woken().await;
                drop(running);
                assert_eq!(self.start().end().await.unwrap(), good);
                word.to_owned()
            }
            Dropped::Kept(word) | Dropped::Lost(word) => self.left(word).await,
            Dropped::Unsent(word) => {
                let filled = self.filled;
                assert_eq!(self.received().await.len(), filled);
                word.to_owned()
            }
            Dropped::Part(length, word) => {
                let n = self.received().await.len();
                assert!((1..length).contains(&n), "{n} of {length}");
                word.to_owned()
            }
        }
    }

    /// Asserts that bytes that come now can be taken and that earlier ones are gone.
    async fn left(self, word: &str) -> String {
        if self.how.waits == Waits::ToGive {
            assert!(!self.received().await.contains(&MARK));
            return word.to_owned();
        }
        K::help(&self.here, &self.peer, self.how.waits);
        let mut buffer = [0; 64];
        loop {
            match self.here.take(&mut buffer) {
                Ok(n) => break assert_eq!(&buffer[..n], DATA),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            settled().await;
        }
        word.to_owned()
    }

    /// Reads everything that the peer gets.
    async fn received(self) -> Vec<u8> {
        let Self { here, peer, .. } = self;
        drop(Rc::into_inner(here).expect("nobody else has it"));
        let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match peer.take(&mut buffer) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(_) if !K::ENDS => return all,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
            yield_now().await;
        }
    }
}
