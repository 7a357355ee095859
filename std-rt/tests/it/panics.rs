//! Foreign code that panics in a call of the runtime: the runtime goes on.

use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_core::sync::Counter;
use netpoll_rt::time::{interval, interval_at};
use netpoll_rt::{spawn, spawn_local};

/// A foreign waker that panics.
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
fn a_waker_that_panics_affects_no_other_task() {
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
        // The bytes that it was woken for are still there, and the next reader is woken.
        assert_eq!(read.await.unwrap(), 5);
        let again = reader(&victim);
        parked(1).await;
        its_peer.write_all(b"again").await.unwrap();
        assert_eq!(again.await.unwrap().unwrap(), b"again");
    });
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped, on purpose");
    }
}

/// Tells whether the thread is panicking when it is dropped.
struct TellsPanic(mpsc::Sender<bool>);

impl Drop for TellsPanic {
    fn drop(&mut self) {
        self.0.send(thread::panicking()).unwrap();
    }
}

#[test]
fn a_future_that_panics_is_dropped_while_the_thread_panics() {
    each(async || {
        let (tell, told) = mpsc::channel();
        let tells = TellsPanic(tell);
        // A field of the future, and not a value of its poll.
        let mut held = Some((tells, Grenade));
        let task = spawn(poll_fn(move |_| {
            let _held = &mut held;
            if true {
                panic!("in a poll, on purpose");
            }
            Poll::Ready(())
        }));
        assert!(task.await.unwrap_err().is_panic());
        assert!(told.recv().unwrap());
    });
}

#[test]
fn a_panic_in_the_drop_of_a_task_that_is_aborted_is_told() {
    each(async || {
        let (gate, hold) = (Gate::new(), Gate::new());
        let (opens, waits) = (gate.clone(), hold.clone());
        let task = spawn(async move {
            let _grenade = Grenade;
            opens.open();
            waits.wait().await;
        });
        gate.wait().await;
        task.abort();
        let error = task.await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled(), "{error}");
        assert_eq!(error.to_string(), "the task panicked: dropped, on purpose");
        // One that ended keeps its value.
        let value = spawn(async {
            let _grenade = std::mem::ManuallyDrop::new(Grenade);
            7
        });
        assert_eq!(value.await.unwrap(), 7);
    });
}

/// Returns the file that a panic names as its location.
fn place_of(panics: impl FnOnce()) -> String {
    let place = Arc::new(Mutex::new(String::new()));
    let told = place.clone();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        *told.lock().unwrap() = info.location().unwrap().file().to_owned();
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(panics));
    panic::set_hook(before);
    assert!(result.is_err());
    let place = place.lock().unwrap();
    place.clone()
}

#[test]
fn a_panic_of_a_function_of_ours_names_the_place_that_called_it() {
    let _alone = alone();
    let runtime = runtime(1);
    let (closed, mut ended) = runtime.block_on(async {
        let (closed, _) = netpoll_rt::net::UnixStream::pair().unwrap();
        closed.close().await.unwrap();
        let mut ended = spawn(async {});
        (&mut ended).await.unwrap();
        (closed, ended)
    });
    let places = [
        place_of(|| drop(interval(Duration::ZERO))),
        place_of(|| drop(interval_at(Instant::now(), Duration::ZERO))),
        place_of(|| drop(spawn_local(async {}))),
        place_of(|| assert!(closed.as_fd().as_raw_fd() < 0)),
        place_of(|| drop(Pin::new(&mut ended).poll(&mut Context::from_waker(Waker::noop())))),
    ];
    assert!(places.iter().all(|place| place == file!()), "{places:?}");
}
