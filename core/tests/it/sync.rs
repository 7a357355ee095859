//! Counters, and constructors that are constants.

use netpoll_core::PollCache;
use netpoll_core::poll::cache::StaticBlock;
use netpoll_core::sched::idle::Idle;
use netpoll_core::sched::poller_lock::PollerLock;
use netpoll_core::sched::run_queue::Runq;
use netpoll_core::sched::task::TaskState;
use netpoll_core::sync::{Counter, RelaxedU8};

#[test]
fn a_counter_adds_one_and_many() {
    let counter = Counter::default();
    assert_eq!(counter.get(), 0);
    counter.inc();
    counter.add(41);
    counter.add(0);
    counter.inc_alone();
    assert_eq!(counter.get(), 43);
}

#[test]
fn a_counter_counts_in_all_threads() {
    let counter = Counter::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| counter.inc()));
        }
    });
    assert_eq!(counter.get(), 4_000);
}

/// A program without an allocator puts the state words into statics.
#[test]
fn the_constructors_are_constants() {
    static CACHE: PollCache<1> = PollCache::new();
    static QUEUE: Runq<(), 4> = Runq::new();
    static NUMBER: RelaxedU8 = RelaxedU8::new();
    static IDLE: Idle<1> = Idle::new();
    static POLLER: PollerLock = PollerLock::new();
    static TASK: TaskState = TaskState::new();
    static BLOCK: StaticBlock = StaticBlock::new();
    let block = BLOCK.take().expect("the block was not taken before");
    CACHE.donate_static(block).expect("the cache has a place for one block");
    assert!(CACHE.alloc().is_some() && QUEUE.is_empty() && IDLE.num_parked() == 0);
    assert!(BLOCK.take().is_none());
    assert!(POLLER.try_lock(0) && NUMBER.get() == 0 && TASK.has_handle());
}
