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
//! | [`open`](Poller::open) | watch a descriptor in both directions under its key, both armed | `Netpoll::open`, once in a descriptor's life |
//! | [`close`](Poller::close) | stop watching it; once this returns no later `wait` names its key | `Netpoll::close`, before close(2) |
//! | [`arm`](Poller::arm) | ask for the next event of one direction, where the kernel is level-triggered; elsewhere nothing | who has just parked |
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
//! 5. **No allocation** after `init` and [`Events::with_capacity`], but to make room for more descriptors than ever before.
//! 6. **Errors** are the kernel's own and leave everything as it was before the call.
//!
//! What they may differ in, each says of itself: [`Poller::NAME`], [`Poller::EDGES`], [`Poller::SHORT_IS_ALL`],
//! [`Poller::ERROR_ALONE`]. A level-triggered one keeps the first promise for a direction that is armed, which it is from
//! `open`, and from each `arm` to the next event.
//!
//! # Which backend
//!
//! This file alone asks for the platform, and only to select a file.
//!
//! | backend | systems | can be forced there by `--cfg` |
//! |---|---|---|
//! | epoll | Linux, Android | `netpoll_backend="epoll"` |
//! | kqueue | macOS, iOS and their kin, FreeBSD, DragonFly, NetBSD, OpenBSD | `netpoll_backend="kqueue"` |
//! | poll(2) | any other Unix | `netpoll_backend="poll"`, on any of them |
//!
//! One that is impossible is refused here. A value that is none of the three chooses nothing, and the compiler has no way to
//! say so: it keeps no list of the values that it was given.

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

#[cfg(any(
    all(netpoll_backend = "epoll", any(netpoll_backend = "kqueue", netpoll_backend = "poll")),
    all(netpoll_backend = "kqueue", netpoll_backend = "poll")
))]
compile_error!("netpoll-rt: netpoll_backend has more than one value; there is one backend in a build");

#[cfg(any(
    netpoll_backend = "epoll",
    all(
        not(any(netpoll_backend = "kqueue", netpoll_backend = "poll")),
        any(target_os = "linux", target_os = "android")
    )
))]
#[path = "sys/epoll.rs"]
mod backend;

#[cfg(any(
    netpoll_backend = "kqueue",
    all(
        not(any(netpoll_backend = "epoll", netpoll_backend = "poll")),
        any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "dragonfly",
            target_os = "netbsd",
            target_os = "openbsd"
        )
    )
))]
#[path = "sys/kqueue.rs"]
mod backend;

#[cfg(any(
    netpoll_backend = "poll",
    not(any(
        netpoll_backend = "epoll",
        netpoll_backend = "kqueue",
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))
))]
#[path = "sys/poll.rs"]
mod backend;

/// How kqueue's break is made, and how much of a key its kernel keeps.
#[cfg(all(
    not(netpoll_backend = "poll"),
    any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly")
))]
#[path = "sys/kqueue/break_user.rs"]
mod kqueue_break;
#[cfg(all(not(netpoll_backend = "poll"), any(target_os = "netbsd", target_os = "openbsd")))]
#[path = "sys/kqueue/break_pipe.rs"]
mod kqueue_break;

/// Where the kernel hands signals out as events; elsewhere a handler writes them down.
#[cfg(all(
    not(netpoll_backend = "poll"),
    any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    )
))]
#[path = "sys/kqueue/signals.rs"]
mod signal_source;
#[cfg(any(
    netpoll_backend = "poll",
    not(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))
))]
#[path = "sys/signal_pipe.rs"]
mod signal_source;

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod rdhup;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
#[path = "sys/no_rdhup.rs"]
mod rdhup;

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

#[cfg(not(target_os = "openbsd"))]
mod keepalive;
#[cfg(target_os = "openbsd")]
#[path = "sys/no_keepalive.rs"]
mod keepalive;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod libc_room;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod linux_options;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_linux_options.rs"]
pub mod linux_options;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod pipe_size;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_pipe_size.rs"]
mod pipe_size;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod copy;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_copy.rs"]
pub mod copy;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "sys/unix_linux.rs"]
mod unix_native;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/unix_other.rs"]
mod unix_native;

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
mod peer_eid;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
#[path = "sys/no_peer_eid.rs"]
mod peer_eid;

/// With the backend that runs everywhere come the calls that are everywhere.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(netpoll_backend = "poll")))]
pub mod mmsg;
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(netpoll_backend = "poll"))))]
#[path = "sys/no_mmsg.rs"]
pub mod mmsg;

#[cfg(target_arch = "x86_64")]
mod prefetch;
#[cfg(not(target_arch = "x86_64"))]
#[path = "sys/no_prefetch.rs"]
mod prefetch;

#[cfg(not(target_vendor = "apple"))]
mod socket_birth;
#[cfg(target_vendor = "apple")]
#[path = "sys/socket_dressed.rs"]
mod socket_birth;

#[cfg(not(target_vendor = "apple"))]
mod pipe_birth;
#[cfg(target_vendor = "apple")]
#[path = "sys/pipe_dressed.rs"]
mod pipe_birth;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod thread;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_thread.rs"]
mod thread;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod clock;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_clock.rs"]
mod clock;

#[cfg(netpoll_door)]
pub mod door;
#[cfg(not(netpoll_door))]
#[path = "sys/door_off.rs"]
mod door;

pub mod address;
pub mod ancillary;
pub mod append;
mod call;
pub mod datagram;
mod fork;
pub mod ip_options;
mod lack;
mod owned;
pub mod pipe;
mod ready;
pub mod signal;
pub mod socket;
mod socket_options;
mod start_thread;
pub mod translate;
pub mod unix;

pub use abstract_names::{abstract_name, from_abstract_name};
pub use address::Address;
pub use backend::{Events, FDSEQ_BITS, Poller};
pub use call::Call;
pub use clock::{coarse_lag, coarse_now, exact_now, known_instant};
pub use fork::ForkEpoch;
pub use lack::{Lack, lack};
pub use owned::{Kept, SharedFd, Source, ends_of, is_ready_now};
pub use prefetch::prefetch;
pub use ready::{Watch, has_peer_ended, is_ready, is_ready_for};
pub use start_thread::start_thread;
pub use thread::set_timer_slack;
pub use unix::is_socket;
