//! A model of the descriptor lock beside those of `fd_mutex`.

use std::sync::Arc;

use netpoll_core::poll::fd_mutex::FdMutex;

use super::support::{Plain, race};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] =
    &[green("m18_closed_carries_what_came_before_it", 2, None, payload_through_closed)];

/// A thread that sees the descriptor closed sees the writes of its closer.
fn payload_through_closed() {
    struct Rig(FdMutex, Plain<usize>);
    let look = |rig: &Rig| {
        let seen = rig.0.is_closed();
        assert!(!seen || rig.1.get() == 1, "model: closed without the write before it");
    };
    race(&Arc::new(Rig(FdMutex::new(), Plain::new(0))), look, |rig| {
        rig.1.set(1);
        let _ = rig.0.incref_and_close();
    });
}
