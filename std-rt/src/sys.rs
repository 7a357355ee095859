//! The kernel's door: every system call of this crate is a function below this module, and nothing here decides
//! anything. Kernel bits come in, `(PollKey, Modes, EventFlags)` go out.
//!
//! # The contract of a backend
//!
//! A backend is a file that provides `Poller` and `Events`. These six functions are all that the rest of the
//! crate knows of it; there is no trait, because there is only ever one backend in a build.
//!
//! | function | meaning | called by |
//! |---|---|---|
//! | [`init`](Poller::init) | make a poller that sleeps on no descriptor but its own break | `Netpoll::new`, once |
//! | [`open`](Poller::open) | watch a descriptor in both directions, edge-triggered, under its key | `Netpoll::open`, once in a descriptor's life |
//! | [`close`](Poller::close) | stop watching it; once this returns no later `wait` names its key | `Netpoll::close`, before close(2) |
//! | [`arm`](Poller::arm) | ask for the next event of one direction, for kernels that report each only once | who is about to park |
//! | [`wait`](Poller::wait) | sleep until events, a break or a timeout, and hand the events up | `Netpoll::netpoll`, one blocking caller at a time |
//! | [`wake`](Poller::wake), the break | end the blocking `wait` that runs now or the next one; from any thread | `Netpoll::wake`, after the break flag's swap |
//!
//! What every backend promises:
//!
//! 1. **Edges.** After `open` each change from not ready to ready is reported at least once. Readiness that was
//!    there before `open` is reported too. Spurious events are allowed: callers always try the call itself first.
//! 2. **Keys.** An event carries the bits that were given to `open`, nothing else; a stale one is refused above
//!    by its generation. [`PollKey::BREAK`](netpoll_core::poll_key::PollKey::BREAK) never leaves the backend.
//! 3. **Time.** `wait` returns empty-handed no earlier than its timeout, unless a signal or a break ends it, or
//!    another `wait` takes its events. The clock says which; the caller looks at it anyway.
//! 4. **The break stays for the sleeper.** A non-blocking `wait` neither consumes nor reports a break.
//! 5. **No allocation** after `init` and [`Events::with_capacity`].
//! 6. **Errors** are the kernel's own and leave everything as it was before the call.
//!
//! # Which backend
//!
//! This file alone asks for the platform, and only to select a file. Linux and Android have `epoll`; kqueue (macOS
//! and the BSDs) and poll(2) (everywhere) each become one more file and one more line below.
//! `--cfg netpoll_backend="epoll"` names the choice explicitly.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!("netpoll-rt: no backend for this system; supported are Linux and Android (epoll)");

#[cfg(any(netpoll_backend = "kqueue", netpoll_backend = "poll"))]
compile_error!("netpoll-rt: this netpoll_backend is not built yet; the only value is \"epoll\"");

#[path = "sys/epoll.rs"]
mod backend;

/// Where std has the extension for abstract names.
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod abstract_names;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_abstract_names.rs"]
mod abstract_names;

#[cfg(netpoll_door)]
pub mod door;
#[cfg(not(netpoll_door))]
#[path = "sys/door_off.rs"]
mod door;

pub mod address;
pub mod ancillary;
mod call;
pub mod copy;
pub mod datagram;
mod libc_room;
pub mod mmsg;
mod owned;
pub mod pipe;
mod ready;
pub mod signal;
pub mod socket;
mod socket_options;
mod thread;
pub mod unix;

pub use abstract_names::{abstract_name, from_abstract_name};
pub use address::Address;
pub use backend::{Events, Poller, translate};
pub use call::Call;
pub use owned::{Kept, SharedFd, Source};
pub use ready::is_ready;
pub use thread::set_timer_slack;
