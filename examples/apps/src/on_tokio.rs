//! The programs on tokio.

#[path = "apps/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "the same source is compiled for both runtimes")]
pub mod apps;
#[path = "rt_tokio.rs"]
mod rt;
