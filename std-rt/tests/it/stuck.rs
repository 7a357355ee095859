//! A task that blocks its worker for too long is counted, and reported with its name and place.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::{Builder, Runtime, StuckTask, spawn, spawn_named, yield_now};

const AFTER: Duration = Duration::from_millis(50);

/// Returns a runtime that sends its reports here.
fn reporting(workers: usize) -> (Runtime, mpsc::Receiver<StuckTask>) {
    let (tell, told) = mpsc::channel();
    let report = move |task: &StuckTask| drop(tell.send(task.clone()));
    let runtime = Runtime::builder().workers(workers).stuck_after(AFTER).on_stuck(report).build().unwrap();
    (runtime, told)
}

/// The reports of all tasks, because a busy machine stops other tasks as well.
struct Reports {
    told: mpsc::Receiver<StuckTask>,
    all: Vec<StuckTask>,
}

impl Reports {
    /// Returns the next one of the kind, if it comes in time.
    fn next(&mut self, is_it: impl Fn(&StuckTask) -> bool, time: Duration) -> Option<StuckTask> {
        loop {
            let report = self.told.recv_timeout(time).ok()?;
            self.all.push(report.clone());
            if is_it(&report) {
                return Some(report);
            }
        }
    }

    /// Asserts that every counted task was reported, and returns how many reports are of the kind.
    fn are(mut self, runtime: &Runtime, n: usize, is_it: impl Fn(&StuckTask) -> bool) {
        let limit = Instant::now() + LIMIT / 2;
        while runtime.metrics().stuck_tasks != self.all.len() {
            assert!(Instant::now() < limit, "{} and {:?}", runtime.metrics(), self.all);
            self.all.extend(self.told.try_iter());
        }
        assert_eq!(self.all.iter().filter(|report| is_it(report)).count(), n, "{:?}", self.all);
    }
}

#[test]
fn it_is_told_of_once_with_its_name_and_the_place_that_spawned_it() {
    let _alone = alone();
    for workers in [1, 2, 4] {
        let (runtime, told) = reporting(workers);
        let _watch = Watch::over(runtime.handle().clone());
        let line = line!() + 4;
        let is_it = |task: &StuckTask| task.name.as_deref() == Some("the culprit");
        let mut reports = Reports { told, all: Vec::new() };
        let (first, reports) = runtime.block_on(async {
            let task = spawn_named("the culprit", async move {
                let first = reports.next(is_it, LIMIT).unwrap();
                // Two looks more.
                let again = reports.next(is_it, AFTER); // time is tested
                assert!(again.is_none(), "once for a turn: {again:?}");
                (first, reports)
            });
            task.await.unwrap()
        });
        assert_eq!((first.location.file(), first.location.line()), (file!(), line));
        assert!(first.worker < workers && first.held_for >= AFTER, "{first:?}");
        let text = first.to_string();
        assert!(text.starts_with("task \"the culprit\" spawned at std-rt/tests/it/stuck.rs:"), "{text}");
        reports.are(&runtime, 1, is_it);
    }
}

#[test]
fn a_task_without_a_name_goes_by_its_place_and_comes_again_in_its_next_turn() {
    let _alone = alone();
    let (runtime, told) = reporting(2);
    let line = line!() + 3;
    let is_it = move |task: &StuckTask| task.name.is_none() && task.location.line() == line;
    let mut reports = Reports { told, all: Vec::new() };
    let task = runtime.spawn(async move {
        for _ in 0..2 {
            reports.next(is_it, LIMIT).unwrap();
            yield_now().await;
        }
        reports
    });
    runtime.block_on(task).unwrap().are(&runtime, 2, is_it);
}

/// Turns for four times as long as one may last; gives the longest time between two.
async fn many_turns() -> Duration {
    let begun = Instant::now();
    let (mut last, mut longest) = (begun, Duration::ZERO);
    while begun.elapsed() < 4 * AFTER {
        yield_now().await; // time is tested
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}

#[test]
fn a_task_that_waits_or_has_many_turns_is_not_stuck() {
    let _alone = alone();
    for workers in [1, 4] {
        // On a machine so busy that a turn did last for long, of whatever task, the report is right; then it is tried again.
        let quiet = (0..20).any(|_| {
            let (machine, (runtime, told)) = (Lateness::watch(), reporting(workers));
            let longest = runtime.block_on(async {
                let (a, _b) = pair().await;
                let waits = reader(&a);
                // One that is in a `block_on` runs others meanwhile.
                let longest = spawn(many_turns()).await.unwrap();
                waits.abort();
                longest
            });
            let reports = (told.try_recv().is_ok(), runtime.metrics().stuck_tasks);
            let late = longest.max(machine.end());
            assert!(
                reports == (false, 0) || late > AFTER / 10,
                "{reports:?}, though late by {late:?} at most"
            );
            reports == (false, 0) && longest < AFTER / 2
        });
        assert!(quiet, "no run in which every turn was short");
    }
}

#[test]
fn a_task_is_watched_again_after_a_block_on_within() {
    let _alone = alone();
    let (runtime, told) = reporting(2);
    let handle = runtime.handle().clone();
    let inner = std::sync::Arc::new(runtime);
    let (give, given) = mpsc::channel();
    give.send(inner.clone()).unwrap();
    let task = handle.spawn_named("outer", async move {
        let runtime = given.recv().unwrap();
        runtime.block_on(async { spawn_named("inner", async {}).await.unwrap() });
        drop(runtime);
        told.recv_timeout(LIMIT).unwrap().name
    });
    assert_eq!(inner.block_on(task).unwrap().as_deref(), Some("outer"));
}

#[test]
fn a_report_that_panics_ends_nothing() {
    let _alone = alone();
    let (tell, told) = mpsc::channel();
    let report = move |_: &StuckTask| {
        tell.send(()).unwrap();
        panic!("on purpose");
    };
    let runtime = Builder::new().workers(2).stuck_after(AFTER).on_stuck(report).build().unwrap();
    let told = std::sync::Arc::new(std::sync::Mutex::new(told));
    for _ in 0..2 {
        let told = told.clone();
        let task = runtime.spawn(async move { told.lock().unwrap().recv_timeout(LIMIT) });
        assert_eq!(runtime.block_on(task).unwrap(), Ok(()));
    }
}
