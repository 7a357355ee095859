//! Twins: texts that are known to be wrong, next to a control that differs from them in nothing else. A twin that
//! passes means that its race is not asked about any more.

mod mini;

use std::task::Poll;

use loom::future::block_on;

use self::mini::{Flaw, Mini, Refused};
use super::support::{Counted, race};
use crate::harness::{Expect, Model};

/// The twins, each after its control.
pub const MODELS: &[Model] = &[
    twin("m02_control", Expect::Green, || close_against_read(Flaw::None)),
    twin("m02_flawed_go_text_all_seqcst", Expect::Deadlock, || close_against_read(Flaw::SeqCstText)),
    twin("m02_flawed_acquire_release_without_fences", Expect::Deadlock, || close_against_read(Flaw::NoFence)),
    twin("m04b_control", Expect::Green, || second_poll(Flaw::None)),
    twin("m04b_flawed_bare_slot", Expect::Race, || second_poll(Flaw::BareSlot)),
    twin("m09_control", Expect::Green, || firing_reset_event(Flaw::None)),
    twin("m09_flawed_exit_by_load_and_store", Expect::Deadlock, || firing_reset_event(Flaw::LoadStoreExit)),
];

const fn twin(name: &'static str, expect: Expect, body: fn()) -> Model {
    Model { name, threads: 2, bound: Some(3), expect, body }
}

fn close_against_read(flaw: Flaw) {
    let (read, ()) = race(&Mini::new(flaw), |mini| block_on(mini.read()), Mini::close);
    assert!(read == Err(Refused::Closing), "model: {read:?} of a closed descriptor");
}

/// Two polls, the second with another waker, against one who unblocks for a reason that does not last.
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
