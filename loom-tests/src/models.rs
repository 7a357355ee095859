//! One file per word of the core, named like it.

use crate::harness::Model;

mod deadline;
mod end;
mod extra;
pub mod fd_mutex;
mod idle;
pub mod kit;
mod poll_cache;
mod poll_desc;
mod poll_info;
mod poller_lock;
mod runq;
mod sema;
mod take_over;
pub mod task;
mod twins;
mod waiters;

/// Every model, in the order in which a reader of the core meets the words.
pub fn all() -> Vec<Model> {
    [
        sema::MODELS,
        poll_desc::MODELS,
        take_over::MODELS,
        deadline::MODELS,
        poll_info::MODELS,
        poll_cache::MODELS,
        end::MODELS,
        waiters::MODELS,
        fd_mutex::MODELS,
        runq::MODELS,
        idle::MODELS,
        poller_lock::MODELS,
        task::MODELS,
        twins::MODELS,
        extra::MODELS,
    ]
    .concat()
}
