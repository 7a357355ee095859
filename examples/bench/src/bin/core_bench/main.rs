//! Single operations of the core, beside those of Go's algorithm.
//!
//! `core_bench list` prints the operations; `core_bench ours NAME N` and `core_bench go NAME N` make one N times and print
//! nothing. `cargo xtask bench --core` counts the instructions of two runs of different length under callgrind and divides
//! the difference.

mod go;

use std::hint::black_box;
use std::process::ExitCode;
use std::task::Waker;

use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollKey, Registration, Wait, When,
};

type Cache = PollCache<1>;

/// An operation: its name, the core's code and Go's.
type Operation = (&'static str, fn(usize), fn(usize));

const OPERATIONS: &[Operation] = &[
    ("park-ready-resume", park_ready_resume, go::park_ready_resume),
    ("ready-and-consume", ready_and_consume, go::ready_and_consume),
    ("ready-on-ready", ready_on_ready, go::ready_on_ready),
    ("reset-on-nil", reset_on_nil, go::reset_on_nil),
    ("alloc-free", alloc_free, go::alloc_free),
    ("publish-closing", publish_closing, go::publish_closing),
    ("set-deadline-later", set_deadline_later, go::set_deadline_later),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => OPERATIONS.iter().for_each(|(name, ..)| println!("{name}")),
        [whose @ ("ours" | "go"), name, n] => {
            let operation = OPERATIONS.iter().find(|operation| operation.0 == name);
            let (Some((_, ours, go)), Ok(n)) = (operation, n.parse()) else { return usage() };
            if whose == "ours" { ours(n) } else { go(n) }
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("core_bench: use `list`, or `ours|go NAME N` with a name of the list");
    ExitCode::from(2)
}

fn readable() -> Event {
    let key = PollKey { slot: 0, fdseq: 0 };
    Event { key, modes: Modes::READ, flags: EventFlags::default() }
}

/// Runs an operation on the first descriptor of a cache.
fn with_descriptor(run: impl FnOnce(&Cache, Registration<'_>)) {
    let cache = Cache::new();
    cache.donate_static(Box::leak(Box::default())).expect("an empty cache has room for a block");
    let registration = cache.alloc().expect("a block was donated");
    run(&cache, registration);
}

/// Parks a task, lets an event take its waker, and resumes the task. The waker itself costs nothing here.
fn park_ready_resume(n: usize) {
    with_descriptor(|_, registration| {
        let (waker, mut list) = (Waker::noop(), GList::<2>::new());
        for _ in 0..n {
            assert_eq!(black_box(&registration).wait(Mode::Read, waker).0, Wait::Parked);
            let delivered = registration.desc().ready(readable(), &mut list);
            assert_eq!(delivered, Delivered::Woken(1));
            list.drain().for_each(drop);
            assert_eq!(registration.wait(Mode::Read, waker).0, Wait::Ready);
        }
    });
}

fn ready_and_consume(n: usize) {
    with_descriptor(|_, registration| {
        let mut list = GList::<2>::new();
        for _ in 0..n {
            let delivered = black_box(&registration).desc().ready(readable(), &mut list);
            assert_eq!(delivered, Delivered::Woken(0));
            assert_eq!(registration.reset(Mode::Read), Ok(true));
        }
    });
}

fn ready_on_ready(n: usize) {
    with_descriptor(|_, registration| {
        let mut list = GList::<2>::new();
        for _ in 0..n {
            let delivered = black_box(&registration).desc().ready(readable(), &mut list);
            assert_eq!(delivered, Delivered::Woken(0));
        }
    });
}

fn reset_on_nil(n: usize) {
    with_descriptor(|_, registration| {
        for _ in 0..n {
            assert_eq!(black_box(&registration).reset(Mode::Read), Ok(false));
        }
    });
}

fn alloc_free(n: usize) {
    with_descriptor(|cache, _| {
        for _ in 0..n {
            let registration = black_box(cache).alloc().expect("the descriptor that was freed last");
            assert!(registration.free().is_empty());
        }
    });
}

fn publish_closing(n: usize) {
    with_descriptor(|_, registration| {
        for _ in 0..n {
            assert!(black_box(&registration).evict().is_empty());
        }
    });
}

fn set_deadline_later(n: usize) {
    with_descriptor(|_, registration| {
        assert!(registration.arm_timer(1_000).is_some());
        for i in 0..n {
            let set = black_box(&registration).set_deadline(Modes::READ, When::At(2_000 + i));
            assert!(set.is_ok_and(|(list, arm)| list.is_empty() && arm.is_none()));
        }
    });
}
