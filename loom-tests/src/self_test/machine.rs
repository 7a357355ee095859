//! The reference machine, which runs a program in every order and with every value, and leaves nothing out.
//!
//! Each word is a list of messages in the order in which they were written. A thread may read any message
//! that is not older than its view of the word; a message carries the view that its writer released.
//! Sequentially consistent fences exchange views with a common view. A read-modify-write, also a failed one,
//! reads the last message. These outcomes are among those of the C++ memory model, and all of them must be
//! seen by the model checker, which allows a few more (a store need not come last in the order of its word).

use std::collections::{BTreeSet, HashSet};

use netpoll_core::sync::Ordering;

use super::program::{Op, Outcome, Program, WORDS};

/// The number of words, of which the last is the counter under the lock.
const PLACES: usize = WORDS + 1;

/// A view: for each word the oldest message that may still be read.
type View = [u8; PLACES];

#[derive(Clone, PartialEq, Eq, Hash)]
struct Message {
    value: u8,
    view: View,
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Thread {
    next: usize,
    /// The view of the thread, its view after an acquire fence, and the view that its relaxed writes carry.
    seen: View,
    acquired: View,
    released: View,
    read: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    words: [Vec<Message>; PLACES],
    threads: Vec<Thread>,
    fences: View,
    running: usize,
    preemptions: usize,
}

/// Returns every outcome with at most `bound` preemptions, or every outcome without a bound.
pub fn outcomes(program: &Program, bound: Option<usize>) -> BTreeSet<Outcome> {
    let first = || vec![Message { value: 0, view: [0; PLACES] }];
    let start = State {
        words: std::array::from_fn(|_| first()),
        threads: vec![Thread::default(); program.len()],
        fences: [0; PLACES],
        running: 0,
        preemptions: 0,
    };
    let (mut found, mut known, mut left) = (BTreeSet::new(), HashSet::new(), vec![start]);
    while let Some(state) = left.pop() {
        let ended = |thread: usize| state.threads[thread].next == program[thread].len();
        if (0..program.len()).all(ended) {
            found.insert(state.threads.iter().flat_map(|thread| thread.read.clone()).collect());
            continue;
        }
        for thread in (0..program.len()).filter(|thread| !ended(*thread)) {
            let mut switched = state.clone();
            switched.running = thread;
            if bound.is_some() {
                switched.preemptions += usize::from(thread != state.running && !ended(state.running));
            }
            if bound.is_some_and(|bound| switched.preemptions > bound) {
                continue;
            }
            switched.threads[thread].next += 1;
            let op = program[thread][state.threads[thread].next];
            left.extend(switched.steps(op).into_iter().filter(|next| known.insert(next.clone())));
        }
    }
    found
}

impl State {
    /// Returns the states after an operation of the running thread.
    fn steps(self, op: Op) -> Vec<State> {
        let last = |state: &State, word: usize| state.words[word].len() - 1;
        match op {
            Op::Load(word, order) => {
                let from = usize::from(self.threads[self.running].seen[word]);
                (from..=last(&self, word)).map(|at| self.clone().read(word, at, order)).collect()
            }
            Op::Store(word, value, order) => vec![self.write(word, value, order, [0; PLACES])],
            Op::Add(word, order) => vec![self.modify(word, order, |value| Some(value + 1))],
            Op::CompareExchange(word, current, new, order) => {
                vec![self.modify(word, order, |value| (value == current).then_some(new))]
            }
            Op::Fence(order) => vec![self.fence(order)],
            Op::AddLocked => vec![self.modify(WORDS, Ordering::AcqRel, |value| Some(value + 1))],
        }
    }

    fn read(mut self, word: usize, at: usize, order: Ordering) -> State {
        let message = self.words[word][at].clone();
        let thread = &mut self.threads[self.running];
        thread.read.push(message.value);
        let mut own = [0; PLACES];
        own[word] = stamp(at);
        join(&mut thread.seen, &own);
        join(&mut thread.acquired, &own);
        join(&mut thread.acquired, &message.view);
        if matches!(order, Ordering::Acquire | Ordering::AcqRel) {
            join(&mut thread.seen, &message.view);
        }
        self
    }

    /// Writes a message. `carried` is the view of the message that a read-modify-write has read, which it
    /// passes on.
    fn write(mut self, word: usize, value: u8, order: Ordering, carried: View) -> State {
        let at = stamp(self.words[word].len());
        let thread = &mut self.threads[self.running];
        thread.seen[word] = at;
        thread.acquired[word] = at;
        let mut view =
            if matches!(order, Ordering::Release | Ordering::AcqRel) { thread.seen } else { thread.released };
        view[word] = at;
        join(&mut view, &carried);
        self.words[word].push(Message { value, view });
        self
    }

    fn modify(self, word: usize, order: Ordering, new: impl FnOnce(u8) -> Option<u8>) -> State {
        let at = self.words[word].len() - 1;
        let Message { value, view } = self.words[word][at].clone();
        let state = self.read(word, at, order);
        match new(value) {
            Some(new) => state.write(word, new, order, view),
            None => state,
        }
    }

    fn fence(mut self, order: Ordering) -> State {
        let thread = &mut self.threads[self.running];
        if order != Ordering::Release {
            thread.seen = thread.acquired;
        }
        if order == Ordering::SeqCst {
            join(&mut thread.seen, &self.fences);
            join(&mut thread.acquired, &thread.seen);
            self.fences = thread.seen;
        }
        if order != Ordering::Acquire {
            thread.released = thread.seen;
        }
        self
    }
}

fn join(view: &mut View, other: &View) {
    for (own, other) in view.iter_mut().zip(other) {
        *own = (*own).max(*other);
    }
}

fn stamp(at: usize) -> u8 {
    u8::try_from(at).expect("a program writes a few messages")
}
