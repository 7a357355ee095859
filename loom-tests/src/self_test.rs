//! `self-test`: a check that the model checker sees every outcome.
//!
//! The model checker and a reference machine, which leaves nothing out, run small programs. The checker must
//! see every outcome of the machine. The first programs are written out, each for a hole of loom 0.7.2; the
//! others are drawn at random.

mod machine;
mod program;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use netpoll_core::sync::{AtomicUsize, Ordering, fence};

use self::program::{Draw, Op, Outcome, Program, WORDS};
use crate::harness;

/// The number of programs drawn for each number of threads and each bound.
const DRAWN: u64 = 150;

/// A program that is written out, and the smallest number of its executions.
type Written = (&'static str, Program, u64);

/// The totals of the runs so far.
#[derive(Default)]
struct Total {
    programs: u64,
    outcomes: usize,
    executions: u64,
    missed: u64,
}

/// Runs all programs, prints the missed outcomes, and ends with a verdict.
pub fn main() -> ExitCode {
    let mut total = Total::default();
    for (name, program, least) in written() {
        let executions = check(name, &program, None, &mut total);
        if executions < least {
            println!("{name}: {executions} executions, at least {least}");
            total.missed += 1;
        }
    }
    for (threads, bounds) in [(2, &[None, Some(1), Some(2)][..]), (3, &[None, Some(0), Some(1), Some(2)])] {
        for bound in bounds {
            for seed in 0..DRAWN {
                let program = Draw::new(seed * 8 + threads as u64).program(threads);
                check(&format!("drawn {threads} {seed}"), &program, *bound, &mut total);
            }
        }
    }
    let Total { programs, outcomes, executions, missed } = total;
    println!("checker self-test: {programs} programs, {outcomes} outcomes, {executions} executions");
    if missed == 0 {
        println!("checker self-test: ok");
        ExitCode::SUCCESS
    } else {
        println!("checker self-test: {missed} programs are explored in part only");
        ExitCode::FAILURE
    }
}

/// Runs one program in the checker and in the machine. Returns how many executions the checker has explored.
fn check(name: &str, program: &Program, bound: Option<usize>, total: &mut Total) -> u64 {
    let expected = machine::outcomes(program, bound);
    let (seen, executions) = explore(program, bound);
    let missing: Vec<&Outcome> = expected.difference(&seen).collect();
    total.programs += 1;
    total.outcomes += expected.len();
    total.executions += executions;
    if let Some(first) = missing.first() {
        let bound = bound.map_or("all".to_owned(), |bound| bound.to_string());
        println!(
            "{name}, bound {bound}: {} of {} outcomes missed, {first:?} of",
            missing.len(),
            expected.len()
        );
        program.iter().for_each(|thread| println!("    {thread:?}"));
        total.missed += 1;
    }
    executions
}

/// Returns the outcomes that the model checker sees.
fn explore(program: &Program, bound: Option<usize>) -> (BTreeSet<Outcome>, u64) {
    // Locks of std are invisible to loom and never contended.
    let seen = Arc::new(Mutex::new((BTreeSet::new(), 0)));
    let (all, program) = (seen.clone(), program.clone());
    harness::explorer(bound).check(move || {
        let outcome = execute(&program);
        let mut all = all.lock().expect("nothing panics while the outcomes are held");
        all.0.insert(outcome);
        all.1 += 1;
    });
    let seen = seen.lock().expect("nothing panics while the outcomes are held");
    (seen.0.clone(), seen.1)
}

struct Shared {
    words: [AtomicUsize; WORDS],
    counter: loom::sync::Mutex<u8>,
}

fn execute(program: &Program) -> Outcome {
    let words = std::array::from_fn(|_| AtomicUsize::new(0));
    let shared = Arc::new(Shared { words, counter: loom::sync::Mutex::new(0) });
    let start = |ops: &Vec<Op>| {
        let (shared, ops) = (shared.clone(), ops.clone());
        loom::thread::spawn(move || shared.run(&ops))
    };
    let others: Vec<_> = program[1..].iter().map(start).collect();
    let mut outcome = shared.run(&program[0]);
    for other in others {
        outcome.extend(other.join().expect("no thread of a program panics"));
    }
    outcome
}

impl Shared {
    fn run(&self, ops: &[Op]) -> Outcome {
        ops.iter().filter_map(|op| self.perform(*op)).collect()
    }

    fn perform(&self, op: Op) -> Option<u8> {
        let read = match op {
            Op::Load(word, order) => self.words[word].load(order),
            Op::Store(word, value, order) => {
                self.words[word].store(value.into(), order);
                return None;
            }
            Op::Add(word, order) => self.words[word].fetch_add(1, order),
            Op::CompareExchange(word, current, new, order) => {
                let failed = match order {
                    Ordering::Acquire | Ordering::AcqRel => Ordering::Acquire,
                    _ => Ordering::Relaxed,
                };
                let done = self.words[word].compare_exchange(current.into(), new.into(), order, failed);
                done.unwrap_or_else(|read| read)
            }
            Op::Fence(order) => {
                fence(order);
                return None;
            }
            Op::AddLocked => {
                let mut counter = self.counter.lock().expect("no thread of a program panics");
                *counter += 1;
                usize::from(*counter - 1)
            }
        };
        Some(u8::try_from(read).expect("a program counts to a few"))
    }
}

fn written() -> Vec<Written> {
    use Ordering::{Relaxed, SeqCst};
    let (x, y) = (0, 1);
    vec![
        // 1. The first load of the first thread hides those of the second from the write that follows.
        (
            "a load hides the others' loads",
            vec![
                vec![],
                vec![Op::Load(x, Relaxed), Op::Add(x, Relaxed)],
                vec![Op::Load(x, Relaxed), Op::Load(x, Relaxed)],
            ],
            17,
        ),
        // 2. The second fence may come first although the second thread has read a write before the first
        //    fence.
        (
            "a fence is an operation",
            vec![
                vec![Op::Store(x, 1, Relaxed), Op::Store(y, 1, Relaxed), Op::Fence(SeqCst)],
                vec![Op::Load(y, Relaxed), Op::Fence(SeqCst), Op::Load(x, Relaxed)],
            ],
            1,
        ),
    ]
}
