//! The idle bits of the workers, in one thread.

use netpoll_core::sched::idle::Idle;

#[test]
fn a_parked_worker_is_popped_once() {
    let idle = Idle::<1>::new();
    assert_eq!(idle.pop_idle(), None);
    idle.begin_park(5);
    idle.begin_park(2);
    assert_eq!(idle.num_parked(), 2);
    assert_eq!([idle.pop_idle(), idle.pop_idle(), idle.pop_idle()], [Some(2), Some(5), None]);
    assert_eq!(idle.num_parked(), 0);
}

#[test]
fn cancel_park_returns_whether_the_bit_was_set() {
    let idle = Idle::<1>::default();
    idle.begin_park(0);
    assert!(idle.is_parked(0) && !idle.is_parked(1));
    assert!(idle.cancel_park(0), "no thread has woken it");
    assert!(!idle.is_parked(0));
    assert_eq!(idle.pop_idle(), None);

    idle.begin_park(0);
    assert_eq!(idle.pop_idle(), Some(0));
    assert!(!idle.is_parked(0));
    assert!(!idle.cancel_park(0), "a thread has");
}

#[test]
fn every_worker_has_its_own_bit() {
    const ALL: usize = Idle::<3>::MAX_WORKERS;
    assert_eq!(ALL, 3 * usize::BITS as usize);
    let idle = Idle::<3>::new();
    (0..ALL).for_each(|worker| idle.begin_park(worker));
    assert_eq!(idle.num_parked(), ALL);
    for worker in (0..ALL).step_by(2) {
        assert!(idle.cancel_park(worker));
    }
    assert!((0..ALL).all(|worker| idle.is_parked(worker) == (worker % 2 == 1)));
    let taken: Vec<usize> = std::iter::from_fn(|| idle.pop_idle()).collect();
    assert_eq!(taken, (1..ALL).step_by(2).collect::<Vec<_>>());
}

#[test]
fn searchers_are_limited_and_the_last_is_reported() {
    let idle = Idle::<1>::new();
    assert!(!idle.start_searching(0));
    assert!(idle.start_searching(2) && idle.start_searching(2));
    assert!(!idle.start_searching(2));
    assert!(!idle.stop_searching());
    assert!(idle.start_searching(2));
    assert!(!idle.stop_searching());
    assert!(idle.stop_searching());
}

#[test]
fn no_worker_is_notified_while_one_searches() {
    let idle = Idle::<1>::new();
    idle.begin_park(3);
    assert!(idle.start_searching(1));
    assert_eq!(idle.worker_to_notify(None), None, "the searcher finds the work");
    assert!(idle.is_parked(3));
    assert!(idle.stop_searching());
    assert_eq!([idle.worker_to_notify(None), idle.worker_to_notify(None)], [Some(3), None]);
}

#[test]
fn a_woken_worker_counts_as_searching() {
    let idle = Idle::<1>::new();
    idle.begin_park(1);
    idle.begin_park(2);
    assert_eq!([idle.worker_to_notify(None), idle.worker_to_notify(None)], [Some(1), None]);
    assert!(!idle.start_searching(1), "the woken worker is the one that may search");
    assert!(!idle.cancel_park(1) && idle.stop_searching());
    assert_eq!(idle.pop_idle(), Some(2));
    assert!(!idle.cancel_park(2) && idle.stop_searching());
    assert_eq!([idle.pop_idle(), idle.worker_to_notify(None)], [None; 2]);
    assert!(idle.start_searching(1), "a wake that finds no sleeper leaves no searcher behind");
}

#[test]
fn the_spared_worker_is_woken_last() {
    let idle = Idle::<2>::new();
    let wake = |spared| {
        let worker = idle.worker_to_notify(spared);
        assert!(worker.is_none() || idle.stop_searching());
        worker
    };
    [0, 1, usize::BITS as usize].into_iter().for_each(|worker| idle.begin_park(worker));
    assert_eq!(
        [wake(Some(0)), wake(Some(0)), wake(Some(0)), wake(Some(0))],
        [Some(1), Some(usize::BITS as usize), Some(0), None]
    );
    idle.begin_park(5);
    assert_eq!(
        [wake(Some(usize::MAX)), wake(Some(5))],
        [Some(5), None],
        "one that there is not, or that is awake"
    );
}

/// A count that wrapped below 0 would look like many searchers, and no worker would be woken for work.
#[test]
fn a_stop_without_a_start_leaves_sleepers_to_be_woken() {
    let idle = Idle::<1>::new();
    assert!(!idle.stop_searching());
    idle.begin_park(3);
    assert_eq!(idle.worker_to_notify(None), Some(3));
    assert!(idle.stop_searching());
    assert!(idle.start_searching(1) && !idle.start_searching(1) && idle.stop_searching());
}
