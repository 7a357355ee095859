//! The acceptance cases A01 to A06, and the ends of each count.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{Evicted, FdMutex, Lock, Unlock};

const MODES: [Mode; 2] = [Mode::Read, Mode::Write];
/// What each of the three counts holds.
const LIMIT: usize = (1 << 20) - 1;
const NOBODY: Evicted = Evicted { readers: 0, writers: 0, in_use: false };

/// True if it panics with a message of the word's own, not with an overflow that a release build would not see.
fn panics<R>(act: impl FnOnce() -> R) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(act)) else { return false };
    let message = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    message
        .or_else(|| payload.downcast_ref().cloned())
        .is_some_and(|text: String| text.starts_with("FdMutex:"))
}

/// Every bit of the word.
fn word(mutex: &FdMutex) -> String {
    format!("{mutex:?}")
}

#[test]
fn a01_lock_basics() {
    let mutex = FdMutex::default();
    let new = word(&mutex);
    assert!(mutex.incref());
    assert!(!mutex.decref(), "open: never the last one");
    for mode in MODES {
        assert_eq!(mutex.lock(mode), Lock::Locked);
        assert_eq!(mutex.unlock(mode), Unlock::Free);
    }
    assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Locked; 2]);
    assert!(mutex.incref());
    assert_eq!(MODES.map(|mode| mutex.unlock(mode)), [Unlock::Free; 2]);
    assert!(!mutex.decref());
    assert_eq!(word(&mutex), new);
}

#[test]
fn a02_closed_refuses_all() {
    let mutex = FdMutex::new();
    assert!(!mutex.is_closed());
    assert_eq!(mutex.incref_and_close(), Some(NOBODY));
    assert!(mutex.is_closed());
    let closed = word(&mutex);
    assert!(!mutex.incref());
    assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Closed; 2]);
    assert_eq!(mutex.incref_and_close(), None);
    assert_eq!(MODES.map(|mode| mutex.leave(mode)), [false; 2]);
    assert_eq!(word(&mutex), closed);
    assert!(mutex.decref());
}

#[test]
fn whoever_is_last_is_told() {
    for last_is_lock in [false, true] {
        let mutex = FdMutex::new();
        assert!(mutex.incref());
        assert_eq!(mutex.lock(Mode::Write), Lock::Locked);
        assert_eq!(mutex.incref_and_close(), Some(Evicted { in_use: true, ..NOBODY }));
        assert!(!mutex.decref());
        if last_is_lock {
            assert!(!mutex.decref());
            assert_eq!(mutex.unlock(Mode::Write), Unlock::Last);
        } else {
            assert_eq!(mutex.unlock(Mode::Write), Unlock::Free);
            assert!(mutex.decref());
        }
    }
}

#[test]
fn an_unlock_hands_over_while_somebody_is_queued() {
    for (mode, other) in [(Mode::Read, Mode::Write), (Mode::Write, Mode::Read)] {
        let mutex = FdMutex::new();
        assert_eq!([(); 3].map(|()| mutex.lock(mode)), [Lock::Locked, Lock::Queued, Lock::Queued]);
        assert_eq!((mutex.lock(other), mutex.unlock(other)), (Lock::Locked, Unlock::Free));
        assert_eq!(mutex.unlock(mode), Unlock::HandedOver);
        assert_eq!(mutex.lock(mode), Lock::Queued, "nobody barges in");
        assert!(mutex.leave(mode) && !mutex.leave(other));
        assert_eq!([(); 2].map(|()| mutex.unlock(mode)), [Unlock::HandedOver, Unlock::Free]);
        assert!(!mutex.leave(mode));
    }
}

#[test]
fn a_close_throws_out_who_is_queued_on_either_side() {
    let mutex = FdMutex::new();
    assert_eq!([(); 3].map(|()| mutex.lock(Mode::Read)), [Lock::Locked, Lock::Queued, Lock::Queued]);
    assert_eq!([(); 2].map(|()| mutex.lock(Mode::Write)), [Lock::Locked, Lock::Queued]);
    assert_eq!(mutex.incref_and_close(), Some(Evicted { readers: 2, writers: 1, in_use: true }));
    assert_eq!(MODES.map(|mode| mutex.unlock(mode)), [Unlock::Free; 2]);
    assert!(mutex.decref());
}

#[test]
fn a04_misuse_is_loud() {
    let mutex = FdMutex::new();
    let new = word(&mutex);
    assert!(panics(|| mutex.decref()));
    for mode in MODES {
        assert!(panics(|| mutex.unlock(mode)));
    }
    assert_eq!(word(&mutex), new, "a refused step changes nothing");
    a_lock_of_one_side_is_not_the_other_s(&mutex);
    assert!(mutex.incref() && !mutex.decref());
    assert!(mutex.incref_and_close().is_some() && mutex.decref());
    assert!(panics(|| mutex.decref()), "after the last one there is none");
}

fn a_lock_of_one_side_is_not_the_other_s(mutex: &FdMutex) {
    assert_eq!(mutex.lock(Mode::Read), Lock::Locked);
    assert!(panics(|| mutex.unlock(Mode::Write)));
    assert_eq!(mutex.unlock(Mode::Read), Unlock::Free);
}

#[test]
fn too_many_references_are_loud_and_touch_nothing_else() {
    let mutex = FdMutex::new();
    assert_eq!(mutex.lock(Mode::Write), Lock::Locked);
    assert!((1..LIMIT).all(|_| mutex.incref()));
    let full = word(&mutex);
    assert!(panics(|| mutex.incref()));
    assert!(panics(|| mutex.lock(Mode::Read)), "a lock comes with a reference");
    assert!(panics(|| mutex.incref_and_close()), "so does a close");
    assert_eq!(word(&mutex), full);
    assert_eq!((mutex.lock(Mode::Write), mutex.leave(Mode::Write)), (Lock::Queued, true));
    assert!((1..LIMIT).all(|_| !mutex.decref()));
    assert_eq!(mutex.unlock(Mode::Write), Unlock::Free);
    assert_eq!(word(&mutex), word(&FdMutex::new()));
}

#[test]
fn too_many_queued_are_loud_and_touch_nothing_else() {
    for (mode, other) in [(Mode::Read, Mode::Write), (Mode::Write, Mode::Read)] {
        let mutex = FdMutex::new();
        assert_eq!(mutex.lock(mode), Lock::Locked);
        assert!((0..LIMIT).all(|_| mutex.lock(mode) == Lock::Queued));
        let full = word(&mutex);
        assert!(panics(|| mutex.lock(mode)));
        assert_eq!(word(&mutex), full);
        assert!(!mutex.leave(other), "nobody is queued there");
        assert_eq!((mutex.lock(other), mutex.unlock(other)), (Lock::Locked, Unlock::Free));
        assert_eq!(word(&mutex), full);
        let evicted = mutex.incref_and_close().expect("it is open");
        let (here, there) = match mode {
            Mode::Read => (evicted.readers, evicted.writers),
            Mode::Write => (evicted.writers, evicted.readers),
        };
        assert_eq!((here, there), (LIMIT, 0));
        assert!(!mutex.decref());
        assert_eq!(mutex.unlock(mode), Unlock::Last);
    }
}

/// Where the queued tasks of one direction sleep; threads stand for them.
#[derive(Default)]
struct Queue {
    state: Mutex<Sleep>,
    changed: Condvar,
}

#[derive(Default)]
struct Sleep {
    handed_over: usize,
    thrown_out: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Sleep> {
        self.state.lock().expect("nobody panics under the lock")
    }

    /// True if the lock was handed over, false if the descriptor was closed.
    fn await_turn(&self) -> bool {
        let undecided = |sleep: &mut Sleep| sleep.handed_over == 0 && !sleep.thrown_out;
        let mut state =
            self.changed.wait_while(self.state(), undecided).expect("nobody panics under the lock");
        let mine = state.handed_over > 0;
        state.handed_over -= usize::from(mine);
        mine
    }

    fn hand_over(&self) {
        self.state().handed_over += 1;
        self.changed.notify_one();
    }

    fn throw_out(&self) {
        self.state().thrown_out = true;
        self.changed.notify_all();
    }
}

/// The word and its two queues.
#[derive(Default)]
struct Fd {
    word: FdMutex,
    queues: [Queue; 2],
}

impl Fd {
    fn queue(&self, mode: Mode) -> &Queue {
        &self.queues[usize::from(mode == Mode::Write)]
    }

    fn lock(&self, mode: Mode) -> bool {
        match self.word.lock(mode) {
            Lock::Locked => true,
            Lock::Queued => self.queue(mode).await_turn(),
            Lock::Closed => false,
        }
    }

    /// True if it was the last reference.
    fn unlock(&self, mode: Mode) -> bool {
        let unlock = self.word.unlock(mode);
        if unlock == Unlock::HandedOver {
            self.queue(mode).hand_over();
        }
        unlock == Unlock::Last
    }
}

#[test]
fn a03_close_frees_queued_lockers() {
    let fd = Fd::default();
    assert!(fd.lock(Mode::Read));
    let (queued, returned) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (fd, queued) = (&fd, queued.clone());
            scope.spawn(move || {
                assert_eq!(fd.word.lock(Mode::Read), Lock::Queued);
                queued.send(None).expect("the test waits");
                queued.send(Some(fd.queue(Mode::Read).await_turn())).expect("the test waits");
            });
        }
        let next = || returned.recv_timeout(Duration::from_secs(10)).expect("within 10 s");
        assert_eq!([(); 4].map(|()| next()), [None; 4]);
        assert_eq!(fd.word.incref_and_close(), Some(Evicted { readers: 4, writers: 0, in_use: true }));
        fd.queue(Mode::Read).throw_out();
        assert_eq!([(); 4].map(|()| next()), [Some(false); 4]);
    });
    assert!(!fd.word.decref());
    assert!(fd.unlock(Mode::Read));
}

/// One direction's plain counters. A second holder would find the lock around them taken.
#[derive(Default)]
struct Counters(Mutex<(u64, u64)>);

impl Counters {
    fn raise(&self) {
        let mut counters = self.0.try_lock().expect("two tasks hold one lock");
        assert_eq!(counters.0, counters.1);
        counters.0 += 1;
        counters.1 += 1;
    }
}

const THREADS: u64 = 8;
const ROUNDS: u64 = 1_000_000;

#[test]
fn a06_stress() {
    let fd = Fd::default();
    let counters = [Counters::default(), Counters::default()];
    let work = |seed: u64| {
        let mut random = seed;
        let mut locked = 0;
        for _ in 0..ROUNDS {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mode = match random >> 62 {
                0 => Mode::Read,
                1 => Mode::Write,
                _ => {
                    assert!(fd.word.incref() && !fd.word.decref());
                    continue;
                }
            };
            assert!(fd.lock(mode));
            counters[usize::from(mode == Mode::Write)].raise();
            assert!(!fd.unlock(mode));
            locked += 1;
        }
        locked
    };
    let locked: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker asserts what it saw")).sum()
    });
    let raised: u64 = counters.iter().map(|counters| counters.0.lock().expect("nobody holds it").0).sum();
    assert_eq!(raised, locked);
    assert_eq!(fd.word.incref_and_close(), Some(NOBODY));
    assert!(fd.word.decref());
}

#[test]
fn a_lock_at_rest_counts_until_its_operation_leaves_or_it_is_abandoned() {
    for abandoned in [false, true] {
        let mutex = FdMutex::new();
        assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Locked; 2]);
        // Both operations wait: they keep their locks.
        assert_eq!([mutex.decref(), mutex.decref()], [false; 2]);
        assert_eq!(mutex.lock(Mode::Read), Lock::Queued);
        assert_eq!(mutex.incref_and_close(), Some(Evicted { readers: 1, in_use: true, ..NOBODY }));
        assert!(!mutex.decref(), "the locks at rest keep it open");
        assert!(!mutex.incref(), "their operations do not go on");
        assert!(!mutex.leave_at_rest(Mode::Read));
        if abandoned {
            assert!(mutex.abandon(), "the closer waits no longer");
            assert!(!mutex.leave_at_rest(Mode::Write), "the number has been closed");
        } else {
            assert!(mutex.leave_at_rest(Mode::Write), "the last one closes the number");
            assert!(!mutex.abandon(), "the number has been closed");
        }
    }
}

#[test]
fn an_abandoned_word_waits_for_its_references_still() {
    let mutex = FdMutex::new();
    assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Locked; 2]);
    assert!(!mutex.decref(), "one of them rests, and the other one is in a call");
    assert!(mutex.incref_and_close().is_some() && !mutex.decref());
    assert!(!mutex.abandon());
    assert!(mutex.decref(), "the call has returned, and its operation rests too");
    assert_eq!(MODES.map(|mode| mutex.leave_at_rest(mode)), [false; 2]);
}

#[test]
fn an_operation_at_rest_goes_on_while_the_descriptor_is_open() {
    let mutex = FdMutex::new();
    assert_eq!(mutex.lock(Mode::Write), Lock::Locked);
    assert!(!mutex.decref() && mutex.incref());
    assert_eq!(mutex.unlock(Mode::Write), Unlock::Free);
    assert!(panics(|| mutex.leave_at_rest(Mode::Write)) && panics(|| mutex.abandon()));
    assert_eq!(mutex.incref_and_close(), Some(NOBODY));
    assert!(mutex.decref());
}

/// Its count of references would go below 0, and take from the counts beside it.
#[test]
fn a_lock_at_rest_is_not_unlocked_without_its_reference() {
    for (mode, other) in [(Mode::Read, Mode::Write), (Mode::Write, Mode::Read)] {
        let mutex = FdMutex::new();
        assert_eq!(mutex.lock(mode), Lock::Locked);
        assert!(!mutex.decref());
        assert!(panics(|| mutex.unlock(mode)));
        assert_eq!(mutex.lock(mode), Lock::Queued);
        assert!(panics(|| mutex.unlock(mode)));
        assert!(mutex.leave(mode) && !mutex.leave(other) && !mutex.is_closed());
        assert!(mutex.incref());
        assert_eq!(mutex.unlock(mode), Unlock::Free);
        assert!(mutex.incref_and_close() == Some(NOBODY) && mutex.decref());
    }
}
