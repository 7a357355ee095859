//! The programs on netpoll.

#[path = "apps/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "the same source is compiled for both runtimes")]
pub mod apps;
#[path = "rt_netpoll.rs"]
mod rt;
