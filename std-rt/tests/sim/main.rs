//! The simulation; empty without `--cfg netpoll_sim`. `cargo xtask sim` runs it.
#![cfg(netpoll_sim)]

mod hosts;
mod tcp;
mod udp;
