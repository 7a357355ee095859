//! A direct translation of Go's algorithm: sequentially consistent atomics, an `AtomicWaker` in place of the pointer to the
//! parked goroutine, a lock around close and deadlines, and an ordered set of timers in which a moved deadline is moved.

#![allow(clippy::disallowed_types)] // the algorithm compared with, not a state word of the project

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::task::Waker;

use atomic_waker::AtomicWaker;

const NIL: usize = 0;
const READY: usize = 1;
const WAIT: usize = 2;
const PARKED: usize = 3;
const CLOSING: u32 = 1;
const EVENT_ERR: u32 = 2;

#[derive(Default)]
struct Side {
    word: AtomicUsize,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Locked {
    closing: bool,
    read_sequence: usize,
    read_deadline: u64,
    timers: BTreeMap<(u64, usize), usize>,
}

#[derive(Default)]
struct Desc {
    sequence: AtomicU32,
    info: AtomicU32,
    read: Side,
    waiters: AtomicU32,
    locked: Mutex<Locked>,
}

impl Desc {
    fn publish(&self, locked: &Locked) {
        let bits = u32::from(locked.closing) | self.sequence.load(SeqCst) << 4;
        let mut info = self.info.load(SeqCst);
        while let Err(now) = self.info.compare_exchange(info, info & EVENT_ERR | bits, SeqCst, SeqCst) {
            info = now;
        }
    }

    fn set_event_err(&self, error: bool, tag: u32) {
        let mut info = self.info.load(SeqCst);
        while info >> 4 == tag && (info & EVENT_ERR != 0) != error {
            match self.info.compare_exchange(info, info ^ EVENT_ERR, SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now) => info = now,
            }
        }
    }

    /// Returns true if the descriptor was ready, and false if the task has parked.
    fn block(&self, waker: &Waker) -> bool {
        let word = &self.read.word;
        if word.compare_exchange(READY, NIL, SeqCst, SeqCst).is_ok() {
            return true;
        }
        assert!(word.compare_exchange(NIL, WAIT, SeqCst, SeqCst).is_ok(), "two tasks wait");
        if self.info.load(SeqCst) & CLOSING == 0 {
            self.read.waker.register(waker);
            if word.compare_exchange(WAIT, PARKED, SeqCst, SeqCst).is_ok() {
                self.waiters.fetch_add(1, SeqCst);
                return false;
            }
        }
        word.swap(NIL, SeqCst) == READY
    }

    fn unblock(&self, ready: bool) -> Option<Waker> {
        loop {
            let old = self.read.word.load(SeqCst);
            if old == READY || old == NIL && !ready {
                return None;
            }
            let new = if ready { READY } else { NIL };
            if self.read.word.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
                return if old == PARKED { self.read.waker.take() } else { None };
            }
        }
    }

    fn ready(&self, tag: u32) -> Option<Waker> {
        if self.sequence.load(SeqCst) != tag {
            return None;
        }
        self.set_event_err(false, tag);
        self.unblock(true)
    }

    fn reset(&self) -> bool {
        self.info.load(SeqCst) & CLOSING == 0 && {
            self.read.word.store(NIL, SeqCst);
            true
        }
    }

    fn set_deadline(&self, at: u64) {
        let mut locked = self.locked.lock().expect("no panic happens under the lock");
        let old = (locked.read_deadline, locked.read_sequence);
        locked.read_deadline = at;
        self.publish(&locked);
        locked.timers.remove(&old);
        locked.read_sequence += 1;
        let new = (at, locked.read_sequence);
        locked.timers.insert(new, 0);
    }
}

pub fn park_ready_resume(n: usize) {
    let desc = Desc::default();
    for _ in 0..n {
        assert!(!black_box(&desc).block(Waker::noop()));
        drop(desc.ready(0).expect("a task has parked"));
        desc.waiters.fetch_sub(1, SeqCst);
        assert!(desc.block(Waker::noop()));
    }
}

pub fn ready_and_consume(n: usize) {
    let desc = Desc::default();
    for _ in 0..n {
        assert!(black_box(&desc).ready(0).is_none());
        assert!(desc.reset());
    }
}

pub fn ready_on_ready(n: usize) {
    let desc = Desc::default();
    for _ in 0..n {
        assert!(black_box(&desc).ready(0).is_none());
    }
}

pub fn reset_on_nil(n: usize) {
    let desc = Desc::default();
    for _ in 0..n {
        assert!(black_box(&desc).reset());
    }
}

/// Takes a descriptor from Go's free list, which is under a lock, and frees it, which advances and publishes its sequence.
pub fn alloc_free(n: usize) {
    let free = Mutex::new(vec![Box::new(Desc::default())]);
    for _ in 0..n {
        let desc = black_box(&free).lock().expect("no panic happens under the lock").pop();
        let desc = desc.expect("the descriptor that was freed last");
        {
            let mut locked = desc.locked.lock().expect("no panic happens under the lock");
            locked.closing = false;
            desc.read.word.store(NIL, SeqCst);
            desc.publish(&locked);
        }
        {
            let locked = desc.locked.lock().expect("no panic happens under the lock");
            desc.sequence.fetch_add(1, SeqCst);
            desc.publish(&locked);
        }
        free.lock().expect("no panic happens under the lock").push(desc);
    }
}

pub fn publish_closing(n: usize) {
    let desc = Desc::default();
    for _ in 0..n {
        let mut locked = black_box(&desc).locked.lock().expect("no panic happens under the lock");
        locked.closing = true;
        desc.publish(&locked);
        assert!(desc.unblock(false).is_none());
    }
}

pub fn set_deadline_later(n: usize) {
    let desc = Desc::default();
    for i in 0..n {
        black_box(&desc).set_deadline(2_000 + i as u64);
    }
}
