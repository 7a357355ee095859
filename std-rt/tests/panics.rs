//! Code that panics where the runtime calls it: the runtime goes on.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use common::*;
use netpoll_core::counter::Counter;

/// A waker of somebody else's that panics.
#[derive(Default)]
struct Panics {
    wakes: Counter,
}

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.wakes.inc();
        panic!("a waker that panics, on purpose");
    }
}

#[test]
fn a_waker_that_panics_takes_nobody_with_it() {
    each(async || {
        let panics = Arc::new(Panics::default());
        let waker = Waker::from(panics.clone());
        let ((victim, its_peer), (other, other_peer)) = (pair().await, pair().await);
        let mut buffer = [0; 5];
        let mut read = pin!(victim.read(&mut buffer));
        assert!(matches!(read.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
        let neighbour = reader(&other);
        parked(2).await;
        // Both may come with one poll of the kernel, in either order.
        its_peer.write_all(b"first").await.unwrap();
        other_peer.write_all(b"other").await.unwrap();
        assert_eq!(neighbour.await.unwrap().unwrap(), b"other");
        until("the waker has panicked", || panics.wakes.get() == 1).await;
        // What it was woken for is still there, and the next one is told.
        assert_eq!(read.await.unwrap(), 5);
        let again = reader(&victim);
        parked(1).await;
        its_peer.write_all(b"again").await.unwrap();
        assert_eq!(again.await.unwrap().unwrap(), b"again");
    });
}
