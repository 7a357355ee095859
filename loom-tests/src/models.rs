//! The named models, a file for each word of core with the same name.

use crate::harness::Model;

mod break_flag;
mod cache;
mod deadline;
mod desc;
mod end;
pub mod fd_mutex;
mod idle;
mod info;
mod named_parking;
mod negative_controls;
pub mod number_queue;
mod poller_lock;
mod pollers;
mod run_queue;
mod sema;
mod shared_parking;
pub mod support;
mod take_over;
pub mod task;

/// Returns every model, in the reading order of core's words.
pub fn all() -> Vec<Model> {
    [
        sema::MODELS,
        desc::MODELS,
        take_over::MODELS,
        shared_parking::MODELS,
        named_parking::MODELS,
        deadline::MODELS,
        info::MODELS,
        break_flag::MODELS,
        cache::MODELS,
        end::MODELS,
        fd_mutex::MODELS,
        run_queue::MODELS,
        idle::MODELS,
        poller_lock::MODELS,
        pollers::MODELS,
        task::MODELS,
        negative_controls::MODELS,
    ]
    .concat()
}
