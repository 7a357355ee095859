//! Tasks: their handles, and how many operations they may make in one turn.
//!
//! A task is spawned with [`spawn`], with a name by [`spawn_named`](crate::spawn_named), and by [`spawn_local`] if it is not
//! `Send`.
//!
//! # The budget of a turn
//!
//! An operation that is always ready never waits, so a task may make a certain number of them in one turn, and move a
//! certain number of bytes; then all others come first. Every future of this crate counts. [`cooperative`] makes one of
//! another crate count, [`take_turn`] a step of your own, [`poll_take_turn`] what a `poll` function finds. The bound is
//! [`Builder::budget`](crate::Builder::budget) for all tasks of a runtime, [`with_budget`] and [`unconstrained`] for one.

mod budget;
mod cell;
mod id;
mod join_set;
mod local;
mod local_key;
mod meta;

pub use crate::coop::{Cooperative, TakeTurn, cooperative};
pub use crate::runtime::{LocalEnterGuard, LocalSet, block_in_place};
#[doc(no_inline)]
pub use crate::{spawn, spawn_blocking, spawn_local, yield_now};
pub(crate) use budget::units;
pub use budget::{
    Budgeted, TurnTaken, has_budget_remaining, poll_take_turn, take_turn, unconstrained, with_budget,
};
pub use cell::{AbortHandle, JoinError, JoinHandle};
pub(crate) use cell::{
    Header, Runnable, Schedule, Scheduled, UNREGISTERED, new_local_task, new_task, task_number,
    wake_to_runnable,
};
pub(crate) use id::{CurrentTask, begin_turn, end_turn, is_in_turn, set_current};
pub use id::{Id, id, try_id};
pub use join_set::JoinSet;
pub(crate) use local::{LocalQueues, Locals};
pub use local_key::{AccessError, LocalKey, TaskLocalFuture};
pub(crate) use meta::{RunningTask, TaskMeta, TaskName, TaskNames};
