//! What a cell does, by the type of its future; INV-403 stands in the file above.

#![expect(
    unsafe_code,
    reason = "the state word of a task decides the owner of its future, its output and its memory"
)]

use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use netpoll_core::sched::task::{Action, Completion, PollResult};

use super::{Cell, Header, Runnable, Schedule, Stage, Table, TaskResult, UNREGISTERED, waker};
use crate::foreign::catch_panic;

/// The functions of a type of cell.
pub fn table<F: Future, Q: Schedule>() -> &'static Table {
    &const {
        Table {
            run: run::<F, Q>,
            cancel: cancel::<F, Q>,
            schedule: schedule_as::<F, Q>,
            take: take::<F, Q>,
            free: free::<F, Q>,
        }
    }
}

/// Puts a task into its queue.
///
/// # Safety
///
/// INV-11: the caller has it.
#[inline]
pub unsafe fn schedule(task: NonNull<Header>, yielded: bool) {
    // SAFETY: INV-11, by the caller.
    let schedule = unsafe { task.as_ref() }.table.schedule;
    // SAFETY: INV-403, and the caller's.
    unsafe { schedule(task, yielded) }
}

/// Does what a change of the state word requires.
///
/// # Safety
///
/// INV-11: `then` came from the task's word, just now.
#[inline]
pub unsafe fn run_action(task: NonNull<Header>, then: Action) {
    match then {
        Action::Nothing => {}
        // SAFETY: INV-11: the word gave the task to the caller.
        Action::Schedule => unsafe { schedule(task, false) },
        Action::Free => {
            // SAFETY: INV-11: the word gave the memory to the caller.
            let free = unsafe { task.as_ref() }.table.free;
            // SAFETY: INV-403, and as above.
            unsafe { free(task) }
        }
    }
}

/// # Safety
///
/// INV-403: the task is of that type; INV-11: the caller may use it, and INV-12 its body.
unsafe fn stage<'a, F: Future, Q>(task: NonNull<Header>) -> &'a mut Stage<F> {
    // SAFETY: INV-11, INV-403, by the caller.
    let cell = unsafe { task.cast::<Cell<F, Q>>().as_ref() };
    // SAFETY: INV-12, by the caller.
    cell.stage.with_mut(|stage| unsafe { &mut *stage })
}

/// # Safety
///
/// INV-403; INV-11: the caller has the task.
unsafe fn schedule_as<F: Future, Q: Schedule>(task: NonNull<Header>, yielded: bool) {
    // SAFETY: INV-11, INV-403, by the caller.
    let queue = unsafe { task.cast::<Cell<F, Q>>().as_ref() }.queue.clone();
    queue.schedule(Runnable(task), yielded);
}

/// A turn; true if the task was woken in it.
///
/// # Safety
///
/// INV-403; INV-11: the caller has the task.
unsafe fn run<F: Future, Q: Schedule>(task: NonNull<Header>) -> bool {
    // SAFETY: INV-11, by the caller.
    let header = unsafe { task.as_ref() };
    let Some(seen) = header.state.start_poll() else {
        // SAFETY: INV-11: the same.
        unsafe { cancel::<F, Q>(task) };
        return false;
    };
    // SAFETY: INV-12: who has the task is its runner.
    let Stage::Running { place, future } = (unsafe { stage::<F, Q>(task) }) else {
        unreachable!("a task that has ended is not run")
    };
    // SAFETY: INV-12: a cell does not move, and the future is dropped where it is.
    let future = unsafe { Pin::new_unchecked(future) };
    // SAFETY: INV-11: it is there while this has the task.
    let waker = unsafe { waker::waker_ref(task) };
    if let Poll::Ready(result) = poll(future, &waker) {
        // SAFETY: INV-11: the same.
        unsafe { finish::<F, Q>(task, Some(result)) };
        return false;
    }
    if *place == UNREGISTERED && !header.meta.is_local() {
        *place = header.sched.register_task(Waker::clone(&waker));
    }
    let rest = header.state.finish_poll(seen);
    match rest {
        PollResult::Idle => {}
        // SAFETY: INV-11: it is ours still.
        PollResult::Again => unsafe { schedule(task, true) },
        // SAFETY: INV-11: it is ours still.
        PollResult::Orphan => unsafe { cancel::<F, Q>(task) },
    }
    rest == PollResult::Again
}

#[inline]
fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<TaskResult<F::Output>> {
    let mut cx = Context::from_waker(waker);
    match panic::catch_unwind(AssertUnwindSafe(|| future.poll(&mut cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(payload)),
    }
}

/// Drops the future in place of a turn.
///
/// # Safety
///
/// INV-403; INV-11: the caller has the task.
unsafe fn cancel<F: Future, Q: Schedule>(task: NonNull<Header>) {
    // SAFETY: INV-11: the caller's.
    unsafe { finish::<F, Q>(task, None) }
}

/// The end of a task: the future goes, then the result is left for the handle, if there is one, and the handle is woken.
///
/// # Safety
///
/// INV-403; INV-11: the caller has the task.
unsafe fn finish<F: Future, Q: Schedule>(task: NonNull<Header>, result: Option<TaskResult<F::Output>>) {
    // SAFETY: INV-11, by the caller.
    let header = unsafe { task.as_ref() };
    // SAFETY: INV-12: who has the task is its runner.
    let stage = unsafe { stage::<F, Q>(task) };
    let place = if let Stage::Running { place, .. } = stage { *place } else { UNREGISTERED };
    // What is dropped is the user's and may panic. If the task was cancelled, that is what became of it.
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| *stage = Stage::Finished(None)));
    let result = match (result, dropped) {
        (None, Err(payload)) => Some(Err(payload)),
        (result, dropped) => {
            // The payload may panic in its turn.
            catch_panic(|| drop(dropped));
            result
        }
    };
    header.sched.task_ended((place != UNREGISTERED).then_some(place));
    let kept = header.state.has_handle();
    if kept {
        *stage = Stage::Finished(result);
    } else {
        catch_panic(|| drop(result));
    }
    let mut end = header.state.complete(kept);
    if end == Completion::HandleGone {
        catch_panic(|| *stage = Stage::Finished(None));
        end = header.state.complete(false);
    }
    match end {
        Completion::Kept | Completion::HandleGone => {}
        // SAFETY: INV-11: the word gave the memory to us.
        Completion::Free => unsafe { free::<F, Q>(task) },
        Completion::JoinWaker => {
            // SAFETY: INV-12: the slot is the runner's now.
            let waker = header.joiner.with_mut(|slot| unsafe { &mut *slot }.take());
            // A waker may be foreign, and panic.
            catch_panic(|| waker.into_iter().for_each(Waker::wake));
            let then = header.state.drop_ref();
            // SAFETY: INV-11: the word has said so.
            unsafe { run_action(task, then) }
        }
    }
}

/// # Safety
///
/// INV-403; INV-12: the task is complete, and the caller its handle. `into` is an `Option<TaskResult<F::Output>>`.
unsafe fn take<F: Future, Q: Schedule>(task: NonNull<Header>, into: NonNull<()>) {
    // SAFETY: INV-12, by the caller.
    let stage = unsafe { stage::<F, Q>(task) };
    let Stage::Finished(result) = stage else { unreachable!("a complete task has no future") };
    // SAFETY: INV-403, by the caller; what is there is none, and needs no drop.
    unsafe { into.cast::<Option<TaskResult<F::Output>>>().write(result.take()) }
}

/// # Safety
///
/// INV-403; INV-11: the memory is the caller's to free.
unsafe fn free<F: Future, Q: Schedule>(task: NonNull<Header>) {
    // SAFETY: INV-11, INV-403, by the caller; it came out of a box.
    let cell = unsafe { Box::from_raw(task.cast::<Cell<F, Q>>().as_ptr()) };
    // A waker in the slot may be foreign, and panic.
    catch_panic(|| drop(cell));
}
