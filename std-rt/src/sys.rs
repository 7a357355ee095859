//! The system calls: each one that this crate makes is a function of this module, without policy. Kernel bits
//! come in, `(PollKey, Modes, EventFlags)` go out.
//!
//! # The contract of a backend
//!
//! A backend is a file that provides `Poller` and `Events`. The rest of the crate uses only these six
//! functions of it. There is no trait, because a build has exactly one backend.
//!
//! | function | effect | called by |
//! |---|---|---|
//! | [`init`](Poller::init) | creates a poller that watches nothing but its own waker | `Netpoll::new`, once |
//! | [`open`](Poller::open) | registers a descriptor for both directions under its key, both armed | `Netpoll::open`, once in a descriptor's life |
//! | [`close`](Poller::close) | deregisters it; once this returns, no later `wait` returns its key | `Netpoll::close`, before close(2) |
//! | [`arm`](Poller::arm) | requests the next event of one direction, if the kernel is level-triggered; else does nothing | a task that has just parked |
//! | [`wait`](Poller::wait) | sleeps until events, a break or a timeout, and returns the events | `Netpoll::netpoll`, one blocking caller at a time |
//! | [`wake`](Poller::wake), the break | ends the blocking `wait` that runs now, or else the next one; from any thread | `Netpoll::wake`, after the break flag's swap |
//!
//! Every backend guarantees:
//!
//! 1. **Edges.** After `open` each change from not ready to ready is reported at least once. Readiness that
//!    existed before `open` is reported too. Spurious events are allowed: callers always try the call itself
//!    first.
//! 2. **Keys.** An event carries the bits that were passed to `open`, and no others. Its generation tells the
//!    layer above whether it is stale. [`PollKey::BREAK`](netpoll_core::PollKey::BREAK) never
//!    leaves the backend.
//! 3. **Time.** `wait` returns without events no earlier than its timeout, unless a signal or a break ends
//!    it, or another `wait` takes its events. The caller checks the clock to tell these apart.
//! 4. **The break stays for the sleeper.** A non-blocking `wait` neither consumes nor reports a break.
//! 5. **No allocation** after `init` and [`Events::with_capacity`], except when more descriptors are open
//!    than ever before.
//! 6. **Errors** are the kernel's, and leave everything as it was before the call.
//!
//! A runtime of several pollers also needs [`wait_any`](Poller::wait_any), which sleeps in several at once; where
//! [`Poller::CAN_WATCH`] is false a runtime has one.
//!
//! Constants describe where backends may differ: [`Poller::NAME`], [`Poller::EDGES`],
//! [`Poller::SHORT_IS_ALL`], [`Poller::ERROR_ALONE`]. A level-triggered backend keeps the first guarantee for
//! a direction that is armed, which it is from `open`, and from each `arm` to the next event.
//!
//! # Which modules a system has
//!
//! This file alone has `cfg`, and only to select modules. A module that is selected contains none.
//!
//! | `backend` | systems | `waker` | `signal_source` | forced there by `--cfg` |
//! |---|---|---|---|---|
//! | `epoll` | Linux, Android | `eventfd` | `signal_pipe` | `netpoll_backend="epoll"` |
//! | `kqueue` | Apple systems, FreeBSD, DragonFly | `user_event` | `kqueue` | `netpoll_backend="kqueue"` |
//! | `kqueue` | NetBSD, OpenBSD | `kqueue_pipe` | `kqueue` | `netpoll_backend="kqueue"` |
//! | `poll` | any other Unix | `pipe` | `signal_pipe` | `netpoll_backend="poll"`, on any system |
//! | `sim` and `epoll` | Linux | `eventfd` | `signal_pipe` | `netpoll_sim` |
//! | `sim` and `poll` | Linux | `pipe` | `signal_pipe` | `netpoll_sim` and `netpoll_backend="poll"` |
//!
//! | `platform` | modules |
//! |---|---|
//! | Linux | `linux`, `flags`, `keepalive`, `pidfd` |
//! | Android | `linux`, `flags`, `keepalive`, the rest of `unsupported` |
//! | Apple systems | `apple`, `bsd`, `keepalive`, the rest of `unsupported` |
//! | FreeBSD, DragonFly, NetBSD | `bsd`, `flags`, `keepalive`, the rest of `unsupported` |
//! | OpenBSD | `bsd`, `flags`, the rest of `unsupported` |
//! | any other Unix | `flags`, `keepalive`, the rest of `unsupported` |
//!
//! An impossible backend is refused here. A value of `netpoll_backend` other than these three selects
//! nothing, and the compiler cannot report that: it keeps no list of the values that it was given.

use cfg_if::cfg_if;

#[cfg(not(unix))]
compile_error!("netpoll-rt: no backend for this system; it needs epoll, kqueue or poll(2)");

#[cfg(all(netpoll_backend = "epoll", not(any(target_os = "linux", target_os = "android"))))]
compile_error!("netpoll-rt: netpoll_backend=\"epoll\" is impossible here; only Linux and Android have epoll");

#[cfg(all(
    netpoll_backend = "kqueue",
    not(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))
))]
compile_error!(
    "netpoll-rt: netpoll_backend=\"kqueue\" is impossible here; only macOS and the BSDs have kqueue"
);

#[cfg(all(netpoll_sim, not(target_os = "linux")))]
compile_error!("netpoll-rt: netpoll_sim needs Linux");

#[cfg(any(
    all(netpoll_backend = "epoll", any(netpoll_backend = "kqueue", netpoll_backend = "poll")),
    all(netpoll_backend = "kqueue", netpoll_backend = "poll")
))]
compile_error!("netpoll-rt: netpoll_backend has more than one value; there is one backend in a build");

// The source of events. With poll(2) come the calls that every system has, so that they are tested on Linux
// too.
cfg_if! {
    if #[cfg(all(netpoll_sim, netpoll_backend = "poll"))] {
        mod backend {
            mod poll;
            mod sim;
            use self::poll as real;
            pub use self::sim::{Events, FDSEQ_BITS, Poller};
        }
        mod waker {
            mod pipe;
            pub use self::pipe::Waker;
        }
        mod signal_pipe;
        use signal_pipe as signal_source;
        pub use unsupported::mmsg;
    } else if #[cfg(netpoll_sim)] {
        mod backend {
            mod epoll;
            mod sim;
            use self::epoll as real;
            pub use self::sim::{Events, FDSEQ_BITS, Poller};
        }
        mod waker {
            mod eventfd;
            pub use self::eventfd::Waker;
        }
        mod signal_pipe;
        use signal_pipe as signal_source;
        pub use unsupported::mmsg;
    } else if #[cfg(all(not(netpoll_backend = "poll"), any(target_os = "linux", target_os = "android")))] {
        mod backend {
            mod epoll;
            pub use self::epoll::{Events, FDSEQ_BITS, Poller};
        }
        mod waker {
            mod eventfd;
            pub use self::eventfd::Waker;
        }
        mod signal_pipe;
        use signal_pipe as signal_source;
        pub mod mmsg;
    } else if #[cfg(all(
        not(netpoll_backend = "poll"),
        any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly")
    ))] {
        mod backend {
            mod kqueue;
            pub use self::kqueue::{BREAK, Events, FDSEQ_BITS, Poller, change, signals, udata};
        }
        mod waker {
            mod user_event;
            pub use self::user_event::Waker;
        }
        use backend::signals as signal_source;
        pub use unsupported::mmsg;
    } else if #[cfg(all(not(netpoll_backend = "poll"), any(target_os = "netbsd", target_os = "openbsd")))] {
        mod backend {
            mod kqueue;
            pub use self::kqueue::{BREAK, Events, FDSEQ_BITS, Poller, change, signals, udata};
        }
        mod waker {
            mod kqueue_pipe;
            mod pipe;
            pub use self::kqueue_pipe::Waker;
        }
        use backend::signals as signal_source;
        pub use unsupported::mmsg;
    } else {
        mod backend {
            mod poll;
            pub use self::poll::{Events, FDSEQ_BITS, Poller};
        }
        mod waker {
            mod pipe;
            pub use self::pipe::Waker;
        }
        mod signal_pipe;
        use signal_pipe as signal_source;
        pub use unsupported::mmsg;
    }
}

// The calls in which systems differ otherwise.
mod platform {
    use cfg_if::cfg_if;

    cfg_if! {
        if #[cfg(any(target_os = "linux", target_os = "android"))] {
            mod flags;
            mod keepalive;
            mod linux;
            pub use self::{flags::*, keepalive::*, linux::*};
        } else if #[cfg(target_vendor = "apple")] {
            mod apple;
            mod bsd;
            mod keepalive;
            pub use self::{apple::*, bsd::*, keepalive::*};
            pub use crate::sys::unsupported::{POLLRDHUP, linux::*};
        } else if #[cfg(target_os = "freebsd")] {
            mod bsd;
            mod flags;
            mod keepalive;
            pub use self::{bsd::*, flags::*, keepalive::*};
            pub use crate::sys::unsupported::linux::*;
            pub use libc::POLLRDHUP;
        } else if #[cfg(any(target_os = "dragonfly", target_os = "netbsd"))] {
            mod bsd;
            mod flags;
            mod keepalive;
            pub use self::{bsd::*, flags::*, keepalive::*};
            pub use crate::sys::unsupported::{POLLRDHUP, linux::*};
        } else if #[cfg(target_os = "openbsd")] {
            mod bsd;
            mod flags;
            pub use self::{bsd::*, flags::*};
            pub use crate::sys::unsupported::{POLLRDHUP, keepalive::*, linux::*};
        } else {
            mod flags;
            mod keepalive;
            pub use self::{flags::*, keepalive::*};
            pub use crate::sys::unsupported::{POLLRDHUP, linux::*, peer_credentials};
        }
    }

    cfg_if! {
        if #[cfg(target_os = "linux")] {
            mod pidfd;
            pub use self::pidfd::*;
        } else {
            pub use crate::sys::unsupported::pidfd::*;
        }
    }

    // std's extension for abstract names has a module for each of the two.
    #[cfg(target_os = "android")]
    pub use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    pub use std::os::linux::net::SocketAddrExt;
}

cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod prefetch;
        pub use prefetch::prefetch;
    } else {
        pub use unsupported::prefetch;
    }
}

cfg_if! {
    if #[cfg(netpoll_door)] {
        pub mod inject;
    } else {
        mod inject_off;
        use inject_off as inject;
    }
}

cfg_if! {
    if #[cfg(netpoll_sim)] {
        pub mod sim;
        pub use sim::clock::{anchor, coarse_error, coarse_now, exact_now};
    } else {
        mod sim_off;
        use sim_off as sim;
        pub use platform::{anchor, coarse_error, coarse_now, exact_now};
    }
}

pub mod address;
pub mod ancillary;
mod call;
pub mod child;
mod errno;
mod fd;
pub mod pipe;
mod process;
pub mod signal;
pub mod socket;
pub mod sockopt;
pub mod udp;
pub mod unix;
mod unsupported;

pub use address::Address;
pub use backend::{Events, FDSEQ_BITS, Poller};
pub use call::Call;
pub use errno::Exhausted;
pub use fd::{FdOwner, OwnedBy, SharedFd, Watch, ends_of, has_peer_ended, is_ready_for, is_ready_now};
pub use platform::{from_abstract_name, set_timer_slack, splice, timer_slack};
pub use process::{ForkEpoch, PerProcess, start_thread};
pub use sim::{choose_task, is_active as is_simulated, look_up, start_detached, thread_body, wait_for_end};
pub use unix::is_socket;
