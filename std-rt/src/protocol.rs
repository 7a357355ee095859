//! Protocols between threads that use locks and park tokens, each a module that a model checker runs as it stands.
//!
//! They take their locks, tokens and threads from [`crate::sync`], call foreign code through `crate::foreign`, and use
//! nothing else of this crate. The models are in `loom-tests/src/bin/protocols`; `cargo xtask protocols` runs them. A
//! protocol over the words of core is a loom model of core instead, see `loom-tests/src/models`.
//!
//! To add one: a file here with its table of states, whose `use` lines name `crate::sync` and std only; a file beside
//! `driver.rs` in `loom-tests/src/bin/protocols` with its models and at least one control, a copy with the fault that the
//! protocol is there to prevent; a line in `PROTOCOLS` there; `cargo xtask protocols --bless`.

pub mod driver;
pub mod ending;
pub mod file_queue;
pub mod hand_over;
pub mod job;
pub mod pool;
pub mod standby;
