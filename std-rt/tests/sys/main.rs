//! The system calls and the pollers, without a runtime.

mod break_flag;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(netpoll_backend = "kqueue", netpoll_backend = "poll", netpoll_sim))
))]
mod epoll;
#[cfg(any(
    netpoll_backend = "kqueue",
    all(
        not(netpoll_backend = "poll"),
        any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "dragonfly",
            target_os = "netbsd",
            target_os = "openbsd"
        )
    )
))]
mod kqueue;
#[cfg(netpoll_backend = "poll")]
mod poll;
#[cfg(netpoll_backend = "poll")]
mod poll_sleep;
mod socket;
#[cfg(netpoll_backend = "poll")]
mod support;
mod timeouts;

use test_support as common;
