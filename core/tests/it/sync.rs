//! Counters.

use netpoll_core::sync::Counter;

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
