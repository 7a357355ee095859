//! The acceptance cases A01 to A06, the list of waiters, and the limits of the count.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use netpoll_core::Mode;
use netpoll_core::poll::fd_mutex::{
    Cancel, Close, FdMutex, HandOver, Lock, LockOrWait, Unlock, WaitList, WaiterId, WaiterMap, Waiting,
};

const MODES: [Mode; 2] = [Mode::Read, Mode::Write];
/// The limit of references.
const LIMIT: usize = (1 << 20) - 1;
const UNUSED: Close = Close::Closed { in_use: false };
const IN_USE: Close = Close::Closed { in_use: true };

/// The tasks in a list, by their names.
#[derive(Default, Debug)]
struct Tasks(BTreeMap<WaiterId, &'static str>);

impl WaiterMap for Tasks {
    type Waker = &'static str;

    fn push_last(&mut self, id: WaiterId, waker: &'static str) {
        assert!(self.0.last_key_value().is_none_or(|(last, _)| *last < id), "identities rise");
        self.0.insert(id, waker);
    }

    fn pop_first(&mut self) -> Option<(WaiterId, &'static str)> {
        self.0.pop_first()
    }

    fn remove(&mut self, id: WaiterId) -> Option<&'static str> {
        self.0.remove(&id)
    }

    fn get_mut(&mut self, id: WaiterId) -> Option<&mut &'static str> {
        self.0.get_mut(&id)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (WaiterId, &mut &'static str)> {
        self.0.iter_mut().map(|(id, waker)| (*id, waker))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

type List = WaitList<Tasks>;

/// Adds a task to the list behind a holder.
fn wait(mutex: &FdMutex, list: &mut List, mode: Mode, task: &'static str) -> WaiterId {
    assert_eq!(mutex.lock(mode), Lock::Contended);
    match mutex.lock_or_wait(mode, list, task) {
        LockOrWait::Waits(id) => id,
        other => panic!("{task}: {other:?}"),
    }
}

/// Registers for a notification behind a holder.
fn register(mutex: &FdMutex, list: &mut List, mode: Mode, waker: &'static str) -> Option<&'static str> {
    match mutex.lock_or_notify(mode, list, waker) {
        LockOrWait::Waits(before) => before,
        other => panic!("{waker}: {other:?}"),
    }
}

#[track_caller]
fn granted(handed: HandOver<&'static str>) -> (&'static str, WaiterId) {
    match handed {
        HandOver::Granted(task, id) => (task, id),
        other => panic!("{other:?}"),
    }
}

/// Returns whether `act` panics with a message of `FdMutex`, not with an overflow that a release build would
/// not detect.
fn panics<R>(act: impl FnOnce() -> R) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(act)) else { return false };
    let message = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    message
        .or_else(|| payload.downcast_ref().cloned())
        .is_some_and(|text: String| text.starts_with("FdMutex:"))
}

/// Returns every bit of the word.
fn word(mutex: &FdMutex) -> String {
    format!("{mutex:?}")
}

// Case A01.
#[test]
fn lock_basics() {
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

// Case A02.
#[test]
fn closed_refuses_all() {
    let mutex = FdMutex::new();
    assert!(!mutex.is_closed());
    assert_eq!(mutex.incref_and_close(), UNUSED);
    assert!(mutex.is_closed());
    let closed = word(&mutex);
    assert!(!mutex.incref());
    assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Closed; 2]);
    assert_eq!(mutex.incref_and_close(), Close::Already);
    let mut list = List::default();
    assert!(mutex.close_and_evict(&mut list).is_none());
    for mode in MODES {
        assert!(matches!(mutex.lock_or_wait(mode, &mut list, "late"), LockOrWait::Closed("late")));
        assert!(matches!(mutex.lock_or_notify(mode, &mut list, "late"), LockOrWait::Closed("late")));
    }
    assert_eq!(word(&mutex), closed);
    assert!(mutex.decref());
}

#[test]
fn the_last_reference_or_lock_makes_a_closed_word_final() {
    for last_is_lock in [false, true] {
        let mutex = FdMutex::new();
        assert!(mutex.incref());
        assert_eq!(mutex.lock(Mode::Write), Lock::Locked);
        assert_eq!(mutex.incref_and_close(), IN_USE);
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
fn an_unlock_grants_the_lock_to_the_waiters_in_order() {
    for (mode, other) in [(Mode::Read, Mode::Write), (Mode::Write, Mode::Read)] {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        let [first, second, third] = ["1", "2", "3"].map(|task| wait(&mutex, &mut list, mode, task));
        assert_eq!((mutex.lock(other), mutex.unlock(other)), (Lock::Locked, Unlock::Free));
        assert_eq!(mutex.unlock(mode), Unlock::Contended);
        assert_eq!(granted(mutex.hand_over(mode, &mut list)), ("1", first));
        assert_eq!(mutex.lock(mode), Lock::Contended, "the lock is the waiters'");
        assert!(matches!(list.poll(mode, second), Waiting::Waits(&mut "2")));
        assert!(matches!(list.poll(mode, first), Waiting::Granted));
        assert!(matches!(list.poll(mode, first), Waiting::Gone));
        assert!(matches!(mutex.cancel(mode, &mut list, first), Cancel::Gone));
        assert!(matches!(mutex.cancel(other, &mut list, second), Cancel::Gone));
        assert!(matches!(mutex.cancel(mode, &mut list, second), Cancel::Removed("2")));
        assert!(mutex.incref());
        assert_eq!(mutex.unlock(mode), Unlock::Contended, "the third waits");
        assert_eq!(granted(mutex.hand_over(mode, &mut list)), ("3", third));
        assert!(matches!(mutex.cancel(mode, &mut list, third), Cancel::HandedOn(HandOver::Free)));
        assert_eq!(word(&mutex), word(&FdMutex::new()));
    }
}

#[test]
fn the_last_waiter_that_gives_up_leaves_an_uncontended_lock() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        let held = word(&mutex);
        let [first, second] = ["1", "2"].map(|task| wait(&mutex, &mut list, mode, task));
        assert!(matches!(mutex.cancel(mode, &mut list, first), Cancel::Removed("1")));
        assert_eq!(mutex.unlock(mode), Unlock::Contended);
        assert!(matches!(mutex.cancel(mode, &mut list, second), Cancel::Removed("2")));
        assert_eq!(word(&mutex), held);
        // The unlock that had found a waiter comes to an empty list.
        assert!(matches!(mutex.hand_over(mode, &mut list), HandOver::Free));
        assert_eq!(word(&mutex), word(&FdMutex::new()));
    }
}

#[test]
fn a_granted_task_that_gives_up_hands_the_lock_on() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        let [first, second] = ["1", "2"].map(|task| wait(&mutex, &mut list, mode, task));
        assert_eq!(register(&mutex, &mut list, mode, "pollers"), None);
        assert_eq!(granted(mutex.hand_over(mode, &mut list)).1, first);
        let Cancel::HandedOn(handed) = mutex.cancel(mode, &mut list, first) else { panic!("it is granted") };
        assert_eq!(granted(handed), ("2", second));
        let Cancel::HandedOn(handed) = mutex.cancel(mode, &mut list, second) else { panic!("it is granted") };
        assert!(matches!(handed, HandOver::Notify("pollers")));
        assert_eq!(word(&mutex), word(&FdMutex::new()));
    }
}

#[test]
fn a_notification_comes_after_the_waiters_and_with_a_free_lock() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        assert_eq!(register(&mutex, &mut list, mode, "pollers"), None);
        assert_eq!(register(&mutex, &mut list, mode, "again"), Some("pollers"));
        assert!(list.has_notify(mode));
        let first = wait(&mutex, &mut list, mode, "1");
        assert_eq!(mutex.unlock(mode), Unlock::Contended);
        assert_eq!(granted(mutex.hand_over(mode, &mut list)), ("1", first));
        assert!(matches!(list.poll(mode, first), Waiting::Granted) && mutex.incref());
        assert_eq!(mutex.unlock(mode), Unlock::Contended);
        assert!(matches!(mutex.hand_over(mode, &mut list), HandOver::Notify("again")));
        assert!(!list.has_notify(mode));
        assert_eq!(word(&mutex), word(&FdMutex::new()));
    }
}

#[test]
fn a_lock_that_is_free_again_is_taken_instead_of_waiting() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert!(matches!(mutex.lock_or_wait(mode, &mut list, "1"), LockOrWait::Locked("1")));
        assert_eq!(mutex.unlock(mode), Unlock::Free);
        assert!(matches!(mutex.lock_or_notify(mode, &mut list, "1"), LockOrWait::Locked("1")));
        assert_eq!(mutex.unlock(mode), Unlock::Free);
    }
}

#[test]
fn a_close_evicts_the_waiters_of_both_locks() {
    let (mutex, mut list) = (FdMutex::new(), List::default());
    assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Locked; 2]);
    let waiters = [(Mode::Read, "1"), (Mode::Read, "2"), (Mode::Write, "3")];
    let ids = waiters.map(|(mode, task)| wait(&mutex, &mut list, mode, task));
    register(&mutex, &mut list, Mode::Write, "pollers");
    assert_eq!(mutex.incref_and_close(), Close::Contended);
    assert!(!mutex.is_closed());
    let (in_use, evicted) = mutex.close_and_evict(&mut list).expect("it is open");
    assert!(in_use);
    assert_eq!(evicted.collect::<Vec<_>>(), ["1", "2", "3", "pollers"]);
    for ((mode, _), id) in waiters.into_iter().zip(ids) {
        assert!(matches!(list.poll(mode, id), Waiting::Gone));
    }
    assert_eq!(MODES.map(|mode| mutex.unlock(mode)), [Unlock::Free; 2]);
    assert!(mutex.decref());
}

#[test]
fn a_task_that_was_granted_the_lock_before_the_close_keeps_it() {
    let (mutex, mut list) = (FdMutex::new(), List::default());
    assert_eq!(mutex.lock(Mode::Read), Lock::Locked);
    let [first, _] = ["1", "2"].map(|task| wait(&mutex, &mut list, Mode::Read, task));
    assert_eq!(granted(mutex.hand_over(Mode::Read, &mut list)).1, first);
    let (in_use, evicted) = mutex.close_and_evict(&mut list).expect("it is open");
    assert!(in_use && evicted.count() == 1);
    assert!(!mutex.decref(), "the granted lock keeps it open");
    assert!(matches!(list.poll(Mode::Read, first), Waiting::Granted));
    assert!(!mutex.incref(), "its operation does not go on");
    assert_eq!(mutex.unlock_at_rest(Mode::Read), Unlock::Last);
}

// Case A04.
#[test]
fn misuse_panics() {
    let mutex = FdMutex::new();
    let new = word(&mutex);
    assert!(panics(|| mutex.decref()));
    for mode in MODES {
        assert!(panics(|| mutex.unlock(mode)));
    }
    assert_eq!(word(&mutex), new, "a refused step changes nothing");
    a_lock_of_one_side_is_not_the_other_s(&mutex);
    assert!(mutex.incref() && !mutex.decref());
    assert!(mutex.incref_and_close() == UNUSED && mutex.decref());
    assert!(panics(|| mutex.decref()), "after the last one there is none");
}

fn a_lock_of_one_side_is_not_the_other_s(mutex: &FdMutex) {
    assert_eq!(mutex.lock(Mode::Read), Lock::Locked);
    assert!(panics(|| mutex.unlock(Mode::Write)));
    assert_eq!(mutex.unlock(Mode::Read), Unlock::Free);
}

#[test]
fn a_hand_over_without_a_reference_panics_and_loses_no_waiter() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        let task = wait(&mutex, &mut list, mode, "waits");
        let _ = register(&mutex, &mut list, mode, "registers");
        assert!(!mutex.decref(), "the lock rests");
        assert!(panics(|| mutex.hand_over(mode, &mut list)));
        assert_eq!(granted(mutex.hand_over_at_rest(mode, &mut list)), ("waits", task));
        assert!(mutex.incref());
        let handed = mutex.hand_over(mode, &mut list);
        assert!(matches!(handed, HandOver::Notify("registers")), "{handed:?}");
    }
}

#[test]
fn too_many_references_panic_and_change_nothing() {
    let mutex = FdMutex::new();
    assert_eq!(mutex.lock(Mode::Write), Lock::Locked);
    assert!((1..LIMIT).all(|_| mutex.incref()));
    let full = word(&mutex);
    assert!(panics(|| mutex.incref()));
    assert!(panics(|| mutex.lock(Mode::Read)), "a lock comes with a reference");
    assert!(panics(|| mutex.incref_and_close()), "so does a close");
    assert_eq!(word(&mutex), full);
    let mut list = List::default();
    let id = wait(&mutex, &mut list, Mode::Write, "1");
    assert!(matches!(mutex.cancel(Mode::Write, &mut list, id), Cancel::Removed("1")));
    assert!((1..LIMIT).all(|_| !mutex.decref()));
    assert_eq!(mutex.unlock(Mode::Write), Unlock::Free);
    assert_eq!(word(&mutex), word(&FdMutex::new()));
}

/// The threads that wait for a lock, as tasks in its list.
#[derive(Default, Debug)]
struct Threads(BTreeMap<WaiterId, thread::Thread>);

impl WaiterMap for Threads {
    type Waker = thread::Thread;

    fn push_last(&mut self, id: WaiterId, waker: thread::Thread) {
        self.0.insert(id, waker);
    }

    fn pop_first(&mut self) -> Option<(WaiterId, thread::Thread)> {
        self.0.pop_first()
    }

    fn remove(&mut self, id: WaiterId) -> Option<thread::Thread> {
        self.0.remove(&id)
    }

    fn get_mut(&mut self, id: WaiterId) -> Option<&mut thread::Thread> {
        self.0.get_mut(&id)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (WaiterId, &mut thread::Thread)> {
        self.0.iter_mut().map(|(id, waker)| (*id, waker))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The word and its list.
#[derive(Default)]
struct Fd {
    word: FdMutex,
    list: Mutex<WaitList<Threads>>,
}

impl Fd {
    fn list(&self) -> MutexGuard<'_, WaitList<Threads>> {
        self.list.lock().expect("no thread panics under the lock")
    }

    fn lock(&self, mode: Mode) -> bool {
        match self.word.lock(mode) {
            Lock::Locked => return true,
            Lock::Closed => return false,
            Lock::Contended => {}
        }
        let waits = self.word.lock_or_wait(mode, &mut self.list(), thread::current());
        match waits {
            LockOrWait::Locked(_) => true,
            LockOrWait::Closed(_) => false,
            LockOrWait::Waits(id) => self.await_turn(mode, id),
        }
    }

    /// Waits for a turn. Returns whether the lock was granted; false if the descriptor was closed.
    fn await_turn(&self, mode: Mode, id: WaiterId) -> bool {
        loop {
            thread::park();
            match self.list().poll(mode, id) {
                Waiting::Granted => break,
                Waiting::Gone => return false,
                Waiting::Waits(_) => {}
            }
        }
        self.word.incref()
    }

    /// Unlocks. Returns whether that was the last reference.
    fn unlock(&self, mode: Mode) -> bool {
        match self.word.unlock(mode) {
            Unlock::Free => return false,
            Unlock::Last => return true,
            Unlock::Contended => {}
        }
        let handed = self.word.hand_over(mode, &mut self.list());
        match handed {
            HandOver::Granted(thread, _) => thread.unpark(),
            HandOver::Free => {}
            HandOver::Last => return true,
            HandOver::Notify(_) => panic!("no thread registers"),
        }
        false
    }
}

// Case A03.
#[test]
fn close_frees_queued_lockers() {
    let fd = Fd::default();
    assert!(fd.lock(Mode::Read));
    let (queued, returned) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (fd, queued) = (&fd, queued.clone());
            scope.spawn(move || {
                let waits = fd.word.lock_or_wait(Mode::Read, &mut fd.list(), thread::current());
                let LockOrWait::Waits(id) = waits else { panic!("the test holds the lock") };
                queued.send(None).expect("the test waits");
                queued.send(Some(fd.await_turn(Mode::Read, id))).expect("the test waits");
            });
        }
        let next = || returned.recv_timeout(Duration::from_secs(10)).expect("within 10 s");
        assert_eq!([(); 4].map(|()| next()), [None; 4]);
        let (in_use, evicted) = fd.word.close_and_evict(&mut fd.list()).expect("it is open");
        assert!(in_use);
        evicted.for_each(|thread| thread.unpark());
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

// Case A06.
#[test]
fn stress() {
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
    let raised: u64 = counters.iter().map(|counters| counters.0.lock().expect("no thread holds it").0).sum();
    assert_eq!(raised, locked);
    assert_eq!(fd.word.incref_and_close(), UNUSED);
    assert!(fd.word.decref());
}

#[test]
fn a_lock_at_rest_counts_until_its_operation_ends_or_it_is_abandoned() {
    for abandoned in [false, true] {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Locked; 2]);
        // Both operations wait: they keep their locks.
        assert_eq!([mutex.decref(), mutex.decref()], [false; 2]);
        wait(&mutex, &mut list, Mode::Read, "1");
        let (in_use, evicted) = mutex.close_and_evict(&mut list).expect("it is open");
        assert_eq!((in_use, evicted.count()), (true, 1));
        assert!(!mutex.decref(), "the locks at rest keep it open");
        assert!(!mutex.incref(), "their operations do not go on");
        assert_eq!(mutex.unlock_at_rest(Mode::Read), Unlock::Free);
        if abandoned {
            assert!(mutex.abandon(), "the closer waits no longer");
            assert_eq!(mutex.unlock_at_rest(Mode::Write), Unlock::Free, "the number has been closed");
        } else {
            assert_eq!(mutex.unlock_at_rest(Mode::Write), Unlock::Last, "the last one closes the number");
            assert!(!mutex.abandon(), "the number has been closed");
        }
    }
}

#[test]
fn an_abandoned_word_still_waits_for_its_references() {
    let mutex = FdMutex::new();
    assert_eq!(MODES.map(|mode| mutex.lock(mode)), [Lock::Locked; 2]);
    assert!(!mutex.decref(), "one of them rests, and the other one is in a call");
    assert!(mutex.incref_and_close() == IN_USE && !mutex.decref());
    assert!(!mutex.abandon());
    assert!(mutex.decref(), "the call has returned, and its operation rests too");
    assert_eq!(MODES.map(|mode| mutex.unlock_at_rest(mode)), [Unlock::Free; 2]);
}

#[test]
fn an_operation_at_rest_goes_on_while_the_descriptor_is_open() {
    let mutex = FdMutex::new();
    assert_eq!(mutex.lock(Mode::Write), Lock::Locked);
    assert!(!mutex.decref() && mutex.incref());
    assert_eq!(mutex.unlock(Mode::Write), Unlock::Free);
    assert!(panics(|| mutex.unlock_at_rest(Mode::Write)) && panics(|| mutex.abandon()));
    assert_eq!(mutex.incref_and_close(), UNUSED);
    assert!(mutex.decref());
}

/// The count of references would go below 0.
#[test]
fn a_lock_at_rest_is_not_unlocked_without_its_reference() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        assert!(!mutex.decref());
        assert!(panics(|| mutex.unlock(mode)));
        let id = wait(&mutex, &mut list, mode, "1");
        assert!(panics(|| mutex.unlock(mode)));
        assert!(matches!(mutex.cancel(mode, &mut list, id), Cancel::Removed("1")) && !mutex.is_closed());
        assert!(panics(|| mutex.hand_over(mode, &mut list)));
        assert!(mutex.incref());
        assert_eq!(mutex.unlock(mode), Unlock::Free);
        assert!(mutex.incref_and_close() == UNUSED && mutex.decref());
    }
}

#[test]
fn a_lock_at_rest_with_a_waiter_is_handed_over() {
    for mode in MODES {
        let (mutex, mut list) = (FdMutex::new(), List::default());
        assert_eq!(mutex.lock(mode), Lock::Locked);
        assert!(!mutex.decref());
        let id = wait(&mutex, &mut list, mode, "1");
        assert_eq!(mutex.unlock_at_rest(mode), Unlock::Contended);
        assert_eq!(granted(mutex.hand_over_at_rest(mode, &mut list)), ("1", id));
        assert!(matches!(list.poll(mode, id), Waiting::Granted) && mutex.incref());
        assert_eq!(mutex.unlock(mode), Unlock::Free);
    }
}
