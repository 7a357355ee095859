//! Negative controls: versions of the algorithm with a known fault, each beside the same version without it.
//! If loom does not find the fault, the race is not explored any more.

mod mini;

use std::task::Poll;

use loom::future::block_on;

use self::mini::{Flaw, Mini, Refused};
use super::support::{Counted, race};
use crate::harness::{Expect, Model, green, red};

/// The faulty versions, each after its control.
pub const MODELS: &[Model] = &[
    green("m02_control", 2, Some(3), || close_against_read(Flaw::None)),
    red("m02_flawed_go_text_all_seqcst", 2, Some(3), Expect::Deadlock, || {
        close_against_read(Flaw::SeqCstText)
    }),
    red("m02_flawed_acquire_release_without_fences", 2, Some(3), Expect::Deadlock, || {
        close_against_read(Flaw::NoFence)
    }),
    green("m04b_control", 2, Some(3), || second_poll(Flaw::None)),
    red("m04b_flawed_bare_slot", 2, Some(3), Expect::Race, || second_poll(Flaw::BareSlot)),
    green("m09_control", 2, Some(3), || firing_reset_event(Flaw::None)),
    red("m09_flawed_exit_by_load_and_store", 2, Some(3), Expect::Deadlock, || {
        firing_reset_event(Flaw::LoadStoreExit)
    }),
];

fn close_against_read(flaw: Flaw) {
    let (read, ()) = race(&Mini::new(flaw), |mini| block_on(mini.read()), Mini::close);
    assert!(read == Err(Refused::Closing), "model: {read:?} of a closed descriptor");
}

/// Two polls, the second with another waker, against an unblock whose reason does not last.
fn second_poll(flaw: Flaw) {
    let ((_, first), (task, second)) = (Counted::waker(), Counted::waker());
    let polls = |mini: &Mini| [mini.poll(&first), mini.poll(&second)];
    let (polls, ()) = race(&Mini::new(flaw), polls, |mini| mini.wake(false));
    assert!(polls.iter().all(Poll::is_pending), "model: {polls:?}: no event came");
    assert!(task.wakes() <= 1, "model: the task was woken {} times", task.wakes());
}

fn firing_reset_event(flaw: Flaw) {
    let mini = Mini::new(flaw);
    let (read, ()) = race(
        &mini,
        |mini| block_on(mini.read()),
        |mini| {
            mini.fire();
            mini.clear_deadline();
            mini.arrive();
        },
    );
    let read = read.or_else(|refused| {
        assert!(refused == Refused::Timeout, "model: {refused:?}");
        block_on(mini.read())
    });
    assert!(read == Ok(()), "model: a timeout after the reset");
}
