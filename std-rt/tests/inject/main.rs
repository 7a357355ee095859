//! The runtime while system calls fail, fall short, or are interrupted: faults are injected before the calls.
#![cfg(netpoll_door)]

mod close;
mod copy;
mod copy_random;
mod events;
mod faults;
mod incoming;
mod pool;
mod support;
mod sweep;
mod sweep_local;
mod sweep_open;
mod udp;

use test_support as common;
