//! The poller: descriptors, their keys and deadlines, the cache that allocates them, the lock of a
//! descriptor.
//!
//! A task owns a descriptor through a [`registration`]; the poller and other threads reach it by its [`key`]
//! through the [`cache`].

pub mod break_flag;
pub mod cache;
pub mod deadline;
pub mod desc;
pub mod fd_mutex;
mod free_list;
pub mod glist;
pub mod info;
pub mod key;
pub mod registration;
pub mod sema;
pub mod short_read;
pub mod translate;
